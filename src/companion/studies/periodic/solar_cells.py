"""Solar cells: real images, each of one cell of a periodic module, asked at every residue of a network's total stride."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from companion.data.datasets import labelled
from companion.models.methods import METHODS
from companion.studies.periodic.asked import Asked, Rows, about, asked, over_seeds
from companion.studies.periodic.recipes import fine_tuned as recipes_fine_tuned
from companion.studies.periodic.recipes import recipes
from companion.training.sweep import run_all

_FROM_NOTHING = ("baseline-zero", "baseline", "baseline-shifts", "lpf3", "aps", "mass", "mass-lpf3")
_TUNED_STRIDE = 32
_MEASURED = {"in place": "top1", "shifted at random": "shifted_top1", "consistency": "consistency"}


def from_nothing(settings: Any, root: Path, folder: Path) -> Asked:
    """The small network, several seeds, all test images at all 64 residues; nothing where this is not run."""
    if not settings.solar_epochs:
        return Asked({})
    made = recipes(settings, _FROM_NOTHING, "solar-cells-64", epochs=settings.solar_epochs, seeds=settings.solar_seeds)
    return asked(made, root, folder)


def few_images(settings: Any, root: Path, folder: Path) -> Rows:
    """The same by the number of training images, in as many steps, all of them included; none where this is not run."""
    rows: Rows = []
    if not settings.solar_few:
        return rows
    everything = labelled("solar-cells-64", root).count
    for images in (*settings.solar_few, everything):
        name = f"solar-cells-64-{images}-images" if images < everything else "solar-cells-64"
        made = recipes(settings, _FROM_NOTHING, name, epochs=settings.solar_epochs, seeds=settings.solar_few_seeds)
        found = asked(made, root, folder)
        rows += [{"stage": "few images", "images": images} | row for row in found.rows]
    return rows


def fine_tuned(settings: Any, root: Path, folder: Path) -> tuple[Rows, Rows]:
    """MobileNetV2 from its published weights; nothing where this is not run.

    Returns:
        What the runs of all seeds were found to do (companion.training.record_run), and MASS against the others over seeds,
        where these are several.
    """
    if not settings.tuned_epochs:
        return [], []
    made = recipes_fine_tuned(settings)
    runs = run_all(made, root, folder)
    rows = [
        {"stage": "fine-tuned"} | about(recipe) | {name: run[name] for name in ("n", *_MEASURED.values())}
        for recipe, run in zip(made, runs, strict=True)
    ]
    gains = over_seeds(rows, METHODS["mass"].printed, _MEASURED)
    return rows, [{"stage": "fine-tuned, paired"} | row for row in gains if row["seeds"] > 1]


def exhaustive(settings: Any, root: Path, folder: Path) -> Asked:
    """The first seeds' answers about the first test images at all 1,024 residues; nothing where this is not run."""
    if not settings.tuned_epochs:
        return Asked({})
    seeds = range(settings.seed, settings.seed + settings.tuned_probed_seeds)
    made = [recipe for recipe in recipes_fine_tuned(settings) if recipe.seed in seeds]
    return asked(made, root, folder, settings.tuned_probed, _TUNED_STRIDE, batch=50)
