"""The runs of notebook 09."""

from __future__ import annotations

from typing import Any

from companion.training.recipe import Recipe


def recipes(settings: Any) -> list[Recipe]:
    """Every method once before any is repeated."""
    return [
        Recipe(
            net=settings.net,
            method=method,
            dataset=settings.dataset,
            seed=settings.seed + seed,
            epochs=settings.epochs,
            batch=settings.batch,
            lr=settings.lr,
            weight_decay=1e-4,
            precision="float32",
            start=settings.start,
        )
        for seed in range(settings.seeds)
        for method in settings.methods
    ]
