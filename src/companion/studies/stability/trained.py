"""Does training bring stability back? The published ResNet-20 of CIFAR-10, tuned as four networks, with noise and without.

Every network starts from the published weights and takes the same steps on the same images, flips and noise; batch
statistics stay as published (companion.training.tune). A tuned network is plain weights: what was tuned as MASS, which
chooses, can be used blended, which costs nothing in training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from companion.data.labelled import Split
from companion.measures.noise import Noisy, add_noise
from companion.measures.paired_images import compare, mcnemar
from companion.studies.stability.answers import ONE_LEVEL, Answers
from companion.studies.stability.measures import share
from companion.studies.stability.networks import BLENDED, CIRCULAR, MASS, PLAIN
from companion.training.tune import Epochs, Tuning, fine_tune, in_memory


@dataclass(frozen=True)
class Arm:
    """One training: of which network, and by how many grey levels of noise on its images."""

    method: str
    noise: float

    def used(self, method: str = "") -> str:
        """Its name, where it is used as another network too.

        >>> Arm("MASS", 2.0).used("MASS, blended")
        'MASS, tuned with noise, used blended'
        """
        name = f"{self.method}, tuned{' with noise' if self.noise else ''}"
        return name if method in ("", self.method) else f"{name}, used blended"


def arms(noise: float) -> list[Arm]:
    """All trainings."""
    return [Arm(method, levels) for levels in (0.0, noise) for method in (PLAIN, CIRCULAR, MASS, BLENDED)]


def noisy(epochs: Epochs, levels: float, seed: int = 0) -> Epochs:
    """The same batches with Gaussian noise of so many grey levels, drawn anew in every epoch and alike for all networks."""

    def epoch(number: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Tensor, Tensor, int]]:
        generator = torch.Generator().manual_seed((1_000_003 * seed + number) * world + rank)
        for images, labels, count in epochs(number, rank, world):
            yield add_noise(images, levels, 1, generator), labels, count

    return epoch


def tuned(network: nn.Module, train: Split, steps: int, tuning: Tuning, noise: float) -> list[float]:
    """Tune a network in place on images drawn from `train`, in one pass of so many steps; its mean loss."""
    chosen = torch.randperm(len(train), generator=tuning.generator(-1))[: steps * tuning.batch]
    epochs = in_memory(train.images[chosen], train.labels[chosen], tuning)
    return fine_tune(network, noisy(epochs, noise, tuning.seed) if noise else epochs, tuning)


def rows(said: Mapping[str, Answers]) -> list[dict[str, Any]]:
    """Per network, as published or tuned: accuracy, consistency under circular shifts, and what noise and one grey level do."""
    return [
        {
            "method": name,
            "n": len(a.true),
            "top1": share(a.right),
            "consistency": share(a.consistent("circular")),
            "changed_by_noise": share(a.differ("noise 2")),
            "largest_jump": a.jump[ONE_LEVEL].max().item(),
            "mean_jump": a.jump[ONE_LEVEL].mean().item(),
        }
        for name, a in said.items()
    ]


def frozen_row(found: Noisy) -> dict[str, Any]:
    """What noise changes where the origins stay those of the clean image: what is left is not the choice's doing; and a paired test."""
    assert found.moved is not None
    paired = mcnemar(found.changed, found.changed_when_frozen)
    shares = {"moved_origins": share(found.moved), "changed_when_frozen": share(found.changed_when_frozen)}
    return shares | {f"frozen_{name}": paired[name] for name in ("difference", "low", "high", "p")}


def pairs(noise: float) -> list[tuple[str, str]]:
    """The comparisons: what tuning, noise in it and blending do, and where that leads beside the plain network."""
    alone, with_noise = ({m: Arm(m, levels) for m in (PLAIN, CIRCULAR, MASS, BLENDED)} for levels in (0.0, noise))
    found = [(kind[MASS].used(BLENDED), kind[MASS].used()) for kind in (alone, with_noise)]
    for method in (PLAIN, CIRCULAR, MASS, BLENDED):
        found += [(alone[method].used(), method), (with_noise[method].used(), alone[method].used())]
    for kind in (alone, with_noise):
        found += [
            (name, kind[PLAIN].used()) for name in (kind[MASS].used(), kind[MASS].used(BLENDED), kind[BLENDED].used())
        ]
    return [*found, (with_noise[BLENDED].used(), PLAIN)]


def compared(said: Mapping[str, Answers], noise: float) -> list[dict[str, Any]]:
    """Two families of comparisons, image by image: labels changed by noise, and right labels."""
    changed = {name: a.differ("noise 2") for name, a in said.items()}
    right = {name: a.right for name, a in said.items()}
    return [
        {"stage": stage} | row
        for stage, outcomes in (("changed by noise, paired", changed), ("top-1, paired", right))
        for row in compare(outcomes, [pair for pair in pairs(noise) if set(pair) <= said.keys()])
    ]
