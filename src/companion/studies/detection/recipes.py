"""How detectors are trained: alike, but for the borders, the grid, and whether training images are shifted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from companion.training.recipe import Recipe
from companion.training.record_run import trained
from companion.training.sweep import run_all


def recipes(settings: Any) -> list[Recipe]:
    """Those of the settings, seed by seed: Adam, one cycle, no decay."""
    return [
        Recipe(
            net=settings.net, method=method, dataset=settings.dataset, seed=settings.seed + number, epochs=settings.epochs,
            batch=settings.batch, lr=settings.lr, schedule="one-cycle", optimizer="adam", weight_decay=0.0, size=settings.size,
            precision=settings.precision,
        )
        for number in range(settings.seeds)
        for method in settings.methods
    ]  # fmt: skip


def networks(made: Sequence[Recipe], root: Path, checkpoints: Path) -> dict[Recipe, nn.Module]:
    """By recipe, what comes of it, in eval mode; those that are missing are trained."""
    run_all(made, root, checkpoints)
    return {recipe: trained(checkpoints / recipe.name)[0] for recipe in made}


def mask_recipes(settings: Any) -> list[Recipe]:
    """A small Mask R-CNN by each of the methods: the same, but in float32, four images at a time."""
    return [
        Recipe(
            net="mask-rcnn-vias", method=method, dataset="periodic-instances", seed=settings.seed, epochs=settings.mask_epochs,
            batch=4, lr=0.003, schedule="one-cycle", optimizer="adam", weight_decay=0.0, precision="float32",
        )
        for method in settings.mask_methods
    ]  # fmt: skip
