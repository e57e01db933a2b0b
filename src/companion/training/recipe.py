"""A recipe: all that decides the weights of a trained network.

The defaults are the paper's for CIFAR-10 (section 5.1.1); those of section 5.2 are in the study of segmentation.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from companion.core.errors import Refusal
from companion.core.study import SEEDS
from companion.data.datasets import DATASETS
from companion.data.transforms import DRAWS
from companion.models.methods import METHODS, NETS

PRECISIONS = ("float32", "bfloat16")
SCHEDULES = ("cosine", "poly", "one-cycle")
OPTIMIZERS = ("sgd", "adam")


@dataclass(frozen=True)
class Recipe:
    """One run of `companion.train`.

    Raises:
        Refusal: for a name that is not known or a number that makes no sense.
    """

    net: str = "resnet20"
    method: str = "mass"
    dataset: str = "cifar10"
    seed: int = 0
    epochs: int = 250
    iterations: int = 0  # steps in all, where these are counted instead of epochs
    batch: int = 256
    accumulate: int = 1  # parts of a batch whose gradients are added before a step
    lr: float = 0.2
    encoder_lr: float = 1.0  # times lr, for a pretrained encoder
    schedule: str = "cosine"  # of the learning rate: or 'poly', a power of 0.9; or 'one-cycle', up and down again
    optimizer: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    flip: bool = True
    size: int = 0  # side of crops, in pixels, where images are segmented
    precision: str = "bfloat16"  # of the passes; weights are float32
    transforms: str = ""  # that implicit equivariance is asked for, a key of companion.data.transforms.DRAWS
    beta: float = 0.0  # times the equivariance loss
    start: str = ""  # weights to start from, instead of random ones: a network's, or its encoder's

    def __post_init__(self) -> None:
        tables: dict[str, Collection[str]] = {"net": NETS, "method": METHODS, "dataset": DATASETS, "precision": PRECISIONS,
                  "schedule": SCHEDULES, "optimizer": OPTIMIZERS, "transforms": ("", *DRAWS)}  # fmt: skip
        for field, names in tables.items():
            if getattr(self, field) not in names:
                raise Refusal(f"There is no {field} named {getattr(self, field)!r}; known: {', '.join(names)}.")
        for field in ("epochs", "batch", "accumulate", "lr"):
            if getattr(self, field) <= 0:
                raise Refusal(f"The recipe's {field} must be positive, not {getattr(self, field)}.")
        for field in ("momentum", "weight_decay", "iterations", "encoder_lr", "size", "beta"):
            if getattr(self, field) < 0:
                raise Refusal(f"The recipe's {field} must not be negative, as {getattr(self, field)} is.")
        if self.optimizer == "adam" and self.momentum != Recipe.momentum:
            raise Refusal(f"Adam does not read the recipe's momentum, {self.momentum}: leave that out.")
        if self.seed not in SEEDS:
            raise Refusal(f"The recipe's seed must be from 0 to {SEEDS[-1]:,}, not {self.seed}.")

    @property
    def name(self) -> str:
        """The run among others: 'cifar10/resnet20/mass/250-epochs/seed-0'."""
        start = f"-from-{Path(self.start).stem}" if self.start else ""
        length = f"{self.iterations}-iterations" if self.iterations else f"{self.epochs}-epochs"
        implicit = f"-{self.transforms}-beta-{self.beta:g}" if self.transforms else ""
        return f"{self.dataset}/{self.net}/{self.method}/{length}{implicit}{start}/seed-{self.seed}"


def every(methods: Iterable[str], seeds: Iterable[int], **fields: Any) -> list[Recipe]:
    """A recipe for every method and seed, alike but for these: all methods once before any is repeated.

    >>> [f"{recipe.method} {recipe.seed}" for recipe in every(("aps", "mass"), range(2), epochs=1)]
    ['aps 0', 'mass 0', 'aps 1', 'mass 1']
    """
    methods = tuple(methods)
    return [Recipe(method=method, seed=seed, **fields) for seed in seeds for method in methods]


def _option(name: str) -> str:
    # torchrun reads the script's options too, and takes --start for its own --start-method.
    return "--start-from" if name == "start" else f"--{name.replace('_', '-')}"


def to_arguments(recipe: Recipe) -> list[str]:
    """The command line that says this recipe."""
    return [
        f"--{'' if value else 'no-'}{name}" if isinstance(value, bool) else f"{_option(name)}={value}"
        for name, value in asdict(recipe).items()
    ]


def from_arguments(description: str, arguments: Sequence[str] | None = None) -> tuple[Recipe, argparse.Namespace]:
    """A recipe from the command line, an option for every field; and what else was said."""
    parser = argparse.ArgumentParser(description=description)
    for field in fields(Recipe):
        kind, default = type(field.default), field.default
        option = _option(field.name)
        if kind is bool:
            parser.add_argument(option, action=argparse.BooleanOptionalAction, default=default)
        else:
            parser.add_argument(option, dest=field.name, type=kind, default=default, help=str(default))
    parser.add_argument("--checkpoints", type=Path, default=Path("checkpoints"), help="folder of all runs")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    given = vars(parser.parse_args(arguments))
    return Recipe(**{field.name: given.pop(field.name) for field in fields(Recipe)}), argparse.Namespace(**given)
