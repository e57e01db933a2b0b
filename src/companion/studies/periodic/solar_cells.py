"""Solar cells: real images, each of one cell of a periodic module, asked at every residue of a network's total stride."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from companion.data.datasets import labelled
from companion.models.methods import METHODS
from companion.studies.periodic.asked import Asked, Rows, about, asked, corrected, over_seeds
from companion.studies.periodic.recipes import fine_tuned as recipes_fine_tuned
from companion.studies.periodic.recipes import recipes
from companion.training.recipe import Recipe
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
    for images, name in _of_few("solar-cells-64", settings.solar_few, root):
        made = recipes(settings, _FROM_NOTHING, name, epochs=settings.solar_epochs, seeds=settings.solar_seeds)
        found = asked(made, root, folder)
        rows += [{"stage": "few images", "images": images} | row for row in found.rows]
    return rows


def _of_few(name: str, few: Iterable[int], root: Path) -> list[tuple[int, str]]:
    """How many training images, and the data set of so many; all of them last."""
    return [*((count, f"{name}-{count}-images") for count in few), (labelled(name, root).count, name)]


def fine_tuned(settings: Any, root: Path, folder: Path) -> tuple[Rows, Rows]:
    """MobileNetV2 from its published weights; nothing where this is not run.

    Returns:
        What the runs of all seeds were found to do (companion.training.record_run), and MASS against the others over seeds,
        where these are several.
    """
    if not settings.tuned_epochs:
        return [], []
    return _over_seeds("fine-tuned", _found(recipes_fine_tuned(settings), root, folder))


def _over_seeds(stage: str, found: Rows) -> tuple[Rows, Rows]:
    rows = [{"stage": stage} | row for row in found]
    gains = over_seeds(rows, METHODS["mass"].printed, _MEASURED)
    return rows, [{"stage": f"{stage}, paired"} | row for row in gains if row["seeds"] > 1]


def _found(made: Sequence[Recipe], root: Path, folder: Path) -> Rows:
    runs = zip(made, run_all(made, root, folder), strict=True)
    return [about(recipe) | {name: run[name] for name in ("n", *_MEASURED.values())} for recipe, run in runs]


def fine_tuned_on_few(settings: Any, root: Path, folder: Path) -> Rows:
    """MobileNetV2 by the number of training images, in as many steps, all of them included; none where this is not run.

    Returns:
        What the runs were found to do about all test images, in place and shifted at random.
    """
    rows: Rows = []
    if not settings.tuned_few:
        return rows
    for images, name in _of_few("solar-cells", settings.tuned_few, root):
        made = recipes_fine_tuned(settings, name, epochs=settings.tuned_few_epochs, seeds=settings.tuned_few_seeds)
        about_set = {"stage": "fine-tuned, few images", "images": images}
        rows += [about_set | row for row in _found(made, root, folder)]
    return rows


def fine_tuned_cut(settings: Any, root: Path, folder: Path) -> tuple[Rows, Rows]:
    """MobileNetV2 on cells of 288 x 288 that are not scaled, in a few methods and short: as `fine_tuned`."""
    if not settings.cut_epochs:
        return [], []
    made = recipes_fine_tuned(
        settings, "solar-cells-288", epochs=settings.cut_epochs, methods=settings.cut_methods, seeds=settings.cut_seeds
    )
    return _over_seeds("fine-tuned, 288 pixels", _found(made, root, folder))


def against_shifts(rows: Rows, other: str, asked: Mapping[str, str]) -> Rows:
    """MASS less random shifts in training, over seeds, for each number of training images: one family of comparisons.

    Args:
        rows: of `few_images` or `fine_tuned_on_few`; other: the method that was shown shifts, a key of METHODS.
        asked: fields of them, in percent, by what they are called.
    """
    ours, theirs = METHODS["mass"].printed, METHODS[other].printed
    found: Rows = []
    for images in dict.fromkeys(row["images"] for row in rows):
        both = [row for row in rows if row["images"] == images and row["method"] in (ours, theirs)]
        found += [row | {"input": f"{row['input']}, {images:,} images"} for row in over_seeds(both, ours, asked)]
    return corrected(found, "seed_p")


def exhaustive(settings: Any, root: Path, folder: Path) -> Asked:
    """The first seeds' answers about the first test images at all 1,024 residues; nothing where this is not run."""
    if not settings.tuned_epochs:
        return Asked({})
    seeds = range(settings.seed, settings.seed + settings.tuned_probed_seeds)
    made = [recipe for recipe in recipes_fine_tuned(settings) if recipe.seed in seeds]
    return asked(made, root, folder, settings.tuned_probed, _TUNED_STRIDE, batch=50)
