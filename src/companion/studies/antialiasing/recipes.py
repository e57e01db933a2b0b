"""The runs of notebook 09."""

from __future__ import annotations

from typing import Any

from companion.training.recipe import Recipe, every


def recipes(settings: Any) -> list[Recipe]:
    """Every method with every seed."""
    return every(
        settings.methods,
        range(settings.seed, settings.seed + settings.seeds),
        net=settings.net,
        dataset=settings.dataset,
        epochs=settings.epochs,
        batch=settings.batch,
        lr=settings.lr,
        weight_decay=1e-4,
        precision="float32",
        start=settings.start,
    )
