"""The trainings of notebook 11: one small network, one recipe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from companion.training.recipe import Recipe


def recipes(
    settings: Any, methods: Iterable[str], dataset: str = "periodic", *, net: str = "periodic", epochs: int = 0,
    seeds: int = 1,
) -> list[Recipe]:  # fmt: skip
    """A run of every method with every seed; SGD in steps of 16 images, nothing augmented but by the method."""
    return [
        Recipe(
            net=net,
            method=method,
            dataset=dataset,
            seed=settings.seed + seed,
            epochs=epochs or settings.epochs,
            batch=16,
            lr=0.05,
            flip=False,
            precision="float32",
        )
        for seed in range(seeds)
        for method in methods
    ]
