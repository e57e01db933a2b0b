"""How detectors are trained: alike, but for the borders, the grid, and whether training images are shifted."""

from __future__ import annotations

from typing import Any

from companion.training.recipe import Recipe


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
