"""The questions of notebook 11 about generated structures, each a list of rows; what is trained stays in its checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from companion.data.datasets import labelled
from companion.data.generated.periodic_sets import SIDE, TRAINED
from companion.models.methods import METHODS
from companion.studies.periodic import selection
from companion.studies.periodic.asked import Rows, asked, networks
from companion.studies.periodic.recipes import recipes


def fractions(settings: Any, root: Path, folder: Path) -> dict[str, nn.Module]:
    """The compared methods, trained within a pixel of the camera's place, by their printed names; first seed; none where not run."""
    if not settings.fractions:
        return {}
    made = networks(recipes(settings, settings.compared, "periodic-fractions"), root, folder)
    return {METHODS[recipe.method].printed: network for recipe, network in made.items()}


def pitches(settings: Any, root: Path, folder: Path) -> Rows:
    """Worst case, margin at the first origin, and answers under noise, by pitch; all seeds."""
    rows = []
    for cells in settings.cells:
        name = "periodic" if cells == SIDE // 8 else f"periodic-{cells}-cells"
        data, made = labelled(name, root), recipes(settings, settings.compared, name, seeds=settings.seeds)
        found = asked(made, root, folder, settings.probed).rows
        for network, row in zip(networks(made, root, folder).values(), found, strict=True):
            noisy = selection.under_noise(network, data, settings.noise, settings.probed)
            shares: dict[str, Any] = {key: noisy[key] for key in ("changed_by_noise", "moved_origins") if key in noisy}
            if "moved_origins" in noisy:
                shares["margin"] = selection.first_margin(network, data, settings.probed)
            rows.append({"pitch": SIDE / cells} | row | shares | {"noise": settings.noise})
    return rows


def lengths(settings: Any, root: Path, folder: Path) -> Rows:
    """Worst case by training steps: shifts in training, against MASS without; all seeds."""
    rows = []
    for epochs in settings.lengths:
        made = recipes(settings, ("baseline-shifts", "mass"), epochs=epochs, seeds=settings.seeds)
        same = {"stage": "length", "input": f"{epochs} epochs", "steps": epochs * (TRAINED // made[0].batch)}
        rows += [same | row for row in asked(made, root, folder, settings.probed).rows]
    return rows


def few(settings: Any, root: Path, folder: Path) -> Rows:
    """Worst case by the number of training images, in as many steps; all seeds."""
    rows = []
    for images in (*settings.few, TRAINED) if settings.few else ():
        name = "periodic" if images == TRAINED else f"periodic-{images}-images"
        made = recipes(settings, (*settings.compared, "baseline-shifts"), name, seeds=settings.seeds)
        same = {"stage": "few images", "images": images}
        rows += [same | row for row in asked(made, root, folder, settings.probed).rows]
    return rows
