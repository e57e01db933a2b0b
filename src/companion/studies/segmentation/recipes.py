"""The runs behind Table 5."""

from __future__ import annotations

from typing import Any

from companion.training.recipe import Recipe


def table_5_recipes(settings: Any) -> list[Recipe]:
    """The runs behind Table 5, from the notebook's settings, by the recipe that section 5.2 names (VainF's)."""
    return [
        Recipe(
            net=settings.net,
            method=method,
            dataset=settings.dataset,
            seed=settings.seed + seed,
            epochs=1,
            iterations=settings.iterations,
            batch=settings.batch,
            lr=settings.lr,
            encoder_lr=0.1,
            schedule="poly",
            weight_decay=1e-4,
            size=settings.size,
            precision=settings.precision,
            start=settings.encoder_weights,
        )
        for seed in range(settings.seeds)
        for method in settings.methods
    ]
