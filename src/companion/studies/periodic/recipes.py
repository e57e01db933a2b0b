"""The trainings of notebook 11: one small network from nothing, and MobileNetV2 from its published weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from companion.training.recipe import Recipe, every

TUNED = "mobilenet_v2-2-classes"


def recipes(
    settings: Any, methods: Iterable[str], dataset: str = "periodic", *, net: str = "periodic", epochs: int = 0,
    seeds: int = 1,
) -> list[Recipe]:  # fmt: skip
    """A run of every method with every seed; SGD in steps of 16 images, nothing augmented but by the method."""
    return every(
        methods,
        range(settings.seed, settings.seed + seeds),
        net=net,
        dataset=dataset,
        epochs=epochs or settings.epochs,
        batch=16,
        lr=0.05,
        flip=False,
        precision="float32",
    )


def fine_tuned(
    settings: Any, dataset: str = "solar-cells", *, epochs: int = 0, methods: Iterable[str] = (), seeds: int = 0
) -> list[Recipe]:
    """MobileNetV2 on solar cells, from its published weights, by the recipe of notebook 09 in `reduced`."""
    return every(
        methods or settings.tuned_methods,
        range(settings.seed, settings.seed + (seeds or settings.tuned_seeds)),
        net=TUNED,
        dataset=dataset,
        epochs=epochs or settings.tuned_epochs,
        batch=32,
        lr=0.01,
        weight_decay=1e-4,
        precision="float32",
        start="data/mobilenet_v2/mobilenet_v2-b0353104.pth",
    )
