"""The networks that are compared: what each is, and the recipes by which they are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from companion.training.recipe import Recipe


@dataclass(frozen=True)
class Arm:
    """One kind of network.

    Attributes:
        printed: its name in tables and figures.
        colour: there.
        net: the setting that names its network.
        dataset: the setting that names its images.
        transforms: which copies it is trained on; all arms of a data set see such copies, with the loss or without.
        beta: times the equivariance loss; 0 trains a plain network.
        method: a key of `companion.models.methods.METHODS`.
    """

    printed: str
    colour: str
    net: str = "net"
    dataset: str = "rotated"
    transforms: str = "r4"
    beta: float = 1.0
    method: str = "baseline-zero"


PLAIN, IEN, STEERABLE = "plain", "IEN", "steerable"
ARMS = {
    "plain": Arm(PLAIN, "#8a8a8a", beta=0.0),
    "ien": Arm(IEN, "#d1495b"),
    "steerable": Arm(STEERABLE, "#66a182", "steerable", beta=0.0),
    "plain-small": Arm("plain, fewer parameters", "#c4c4c4", "small", beta=0.0),
    "ien-small": Arm("IEN, fewer parameters", "#e9a3ad", "small"),
    "plain-mixed": Arm("plain, 31% fewer channels", "#5f5f5f", "mixed", beta=0.0),
    "ien-mixed": Arm("IEN R4-2-1, 31% fewer channels", "#8c2f39", "mixed"),
    "mass": Arm("MASS", "#1f77b4", "centred", beta=0.0, method="mass"),
    "ien-mass": Arm("IEN over MASS", "#7a5aa6", "centred", method="mass"),
    "ien-r8": Arm("IEN R8", "#edae49", "eighths", transforms="r8"),
    "plain-reflections": Arm(PLAIN, "#8a8a8a", "eighths", "reflected", "r4-reflections", 0.0),
    "ien-reflections": Arm(IEN, "#d1495b", "eighths", "reflected", "r4-reflections"),
    "plain-scales": Arm(PLAIN, "#8a8a8a", "net", "scaled", "scales", 0.0),
    "ien-scales": Arm(IEN, "#d1495b", "net", "scaled", "scales"),
    "ien-mass-scales": Arm("IEN over MASS", "#7a5aa6", "centred", "scaled", "scales", method="mass"),
}


def recipe_of(settings: Any, arm: str, seed: int) -> Recipe:
    """How one of the arms is trained: Adam and one cycle, as published."""
    of = ARMS[arm]
    return Recipe(
        net=getattr(settings, of.net),
        method=of.method,
        dataset=getattr(settings, of.dataset),
        seed=settings.seed + seed,
        epochs=settings.epochs,
        batch=settings.batch,
        lr=5e-3,
        schedule="one-cycle",
        optimizer="adam",
        weight_decay=1e-7,
        flip=False,
        precision="float32",
        transforms=of.transforms,
        beta=of.beta * settings.beta,
    )


def recipes(settings: Any) -> dict[str, list[Recipe]]:
    """All runs by arm, seed after seed."""
    return {
        arm: [
            recipe_of(settings, arm, seed)
            for seed in range(settings.more_seeds if arm in settings.more else settings.seeds)
        ]
        for arm in settings.arms
    }


def in_order(by_arm: dict[str, list[Recipe]]) -> list[Recipe]:
    """Every arm once before any is repeated."""
    longest = max(map(len, by_arm.values()))
    return [runs[seed] for seed in range(longest) for runs in by_arm.values() if seed < len(runs)]
