"""The runs behind Table 5."""

from __future__ import annotations

from typing import Any

from companion.training.recipe import Recipe, every


def table_5_recipes(settings: Any) -> list[Recipe]:
    """The runs behind Table 5, from the notebook's settings, by the recipe that section 5.2 names (VainF's)."""
    return every(
        settings.methods,
        range(settings.seed, settings.seed + settings.seeds),
        net=settings.net,
        dataset=settings.dataset,
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
