"""The runs behind Table 2, and those that go on from published weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from companion.training.recipe import Recipe


def table_2_recipes(settings: Any) -> list[Recipe]:
    """The runs behind Table 2, from the notebook's settings: every method once before any is repeated."""
    return [
        Recipe(
            net=net,
            method=method,
            dataset=settings.dataset,
            seed=settings.seed + seed,
            epochs=settings.epochs,
            batch=settings.batch,
            precision=settings.precision,
        )
        for seed in range(max(settings.seeds, settings.compared_seeds))
        for net in settings.nets
        for method in settings.methods
        if seed < (settings.compared_seeds if method in settings.compared else settings.seeds)
    ]


def fine_tuned(settings: Any, methods: Sequence[str]) -> list[Recipe]:
    """The runs that go on from published weights, at a small learning rate."""
    return [
        Recipe(
            net=settings.trained_net,
            method=method,
            dataset=settings.dataset,
            seed=settings.seed,
            epochs=settings.finetune_epochs,
            batch=settings.batch,
            lr=settings.finetune_lr,
            precision=settings.precision,
            start=settings.trained_weights,
        )
        for method in methods
    ]
