"""Implicit equivariance (Khetan et al., 2021): images and transformed copies classified, and pooled layers asked to move along."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from companion.core.errors import Refusal
from companion.data.transformed import Transformed
from companion.data.transforms import DRAWS, Affine, QuarterTurns, Reflections, Transforms, rotations, scalings
from companion.measures.accuracy import Prepare, accuracy, right_labels, top1_and_consistency
from companion.measures.equivariance import equivariance_errors, implicit_equivariance_loss, reading
from companion.models.implicit.group_pool import GroupPool
from companion.training.recipe import Recipe
from companion.training.tasks.classification import parts_of
from companion.training.tasks.task import Loss, Network

_SCORED = 2000  # test images of the learning curve
_STEPPED = 1000  # of accuracies by angle or scale
_SHIFTED = 5000  # of the consistency under shifts
_PROBED = 500  # of equivariance errors


def probes(kind: str, count: int) -> dict[str, Transforms]:
    """Transformations that equivariance errors are measured by, by name, each image with one of its own."""
    g = torch.Generator().manual_seed(1)
    quarter = QuarterTurns(torch.randint(1, 4, (count,), generator=g))
    eighth: Affine = rotations(45 + 90 * torch.randint(4, (count,), generator=g))
    scales = scalings(0.5 + 0.5 * torch.rand(count, generator=g))
    mirrored = Reflections(torch.randint(1, 3, (count,), generator=g))
    return {"scale": scales} if kind == "scales" else {"quarter": quarter, "eighth": eighth, "mirrored": mirrored}


@dataclass(frozen=True)
class ImplicitEquivariance:
    """The task of images that were transformed; with `beta` 0 that of plain classification, of the same images and copies."""

    reads: ClassVar[frozenset[str]] = frozenset({"transforms", "beta"})

    data: Transformed
    recipe: Recipe

    def __post_init__(self) -> None:
        if not self.recipe.transforms:
            raise Refusal(
                f"{self.recipe.dataset} is trained with transformed copies: name them (--transforms), as in r4."
            )

    @property
    def asks(self) -> str:
        return f"{self.data.classes} logits an image, or more, of groups of channels (an ien- or steerable network)"

    def fits(self, model: nn.Module, outputs: Any) -> bool:
        logits = isinstance(outputs, Tensor) and outputs.ndim == 2 and outputs.shape[1] >= self.data.classes
        return logits and hasattr(model, "groups")

    def parts(self, epoch: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        return parts_of(self.data.train, self.recipe, epoch, rank, world)

    def loss(self, network: Network, images: Tensor, labels: Tensor) -> Loss:
        """Both losses of one part of a batch and of its transformed copy, in one pass of twice the size.

        The loop seeds torch's generator ahead of every part: transformations are drawn from it.
        """
        recipe, count = self.recipe, len(images)
        seed = int(torch.randint(1 << 62, ()))
        transforms = DRAWS[recipe.transforms](count, images.shape[2], torch.Generator().manual_seed(seed))
        images = images.float()
        both, labels = torch.cat((images, transforms(images))), torch.cat((labels, labels))
        layers: Any = network.model.layers if recipe.beta else []
        with reading(network.model, layers) as features:
            logits = network(both)
        value = F.cross_entropy(logits, labels)
        if recipe.beta:
            pool = GroupPool(network.model.groups)  # type: ignore[arg-type]
            pooled = [pool(feature).float() for feature in features]
            here, there = [maps[:count] for maps in pooled], [maps[count:] for maps in pooled]
            value = value + recipe.beta * implicit_equivariance_loss(here, there, transforms)
        return Loss(value, (logits.argmax(1) == labels).sum(), torch.ones_like(labels).sum())

    def score(
        self, model: nn.Module, prepare: Prepare, autocast: Callable[[], AbstractContextManager]
    ) -> dict[str, float]:
        test = self.data.test
        batches = zip(test.images[:_SCORED].split(1000), test.labels[:_SCORED].split(1000), strict=True)
        return {"test_top1": accuracy(model, batches, prepare, autocast)}

    def measure(self, model: nn.Module, device: str) -> dict[str, Any]:
        """Percentages over the test images, and relative errors.

        Returns:
            n, top1, over all test images; shifted_top1 and consistency, by the protocol of Table 2; at_X, the accuracy on
            upright test images all turned by X degrees (or scaled to X), their mean and the worst of them; error_T_L, how far
            layer L is from equivariance under T.
        """
        data, prepare = self.data, self.data.normalize
        numbers: dict[str, Any] = {"protocol": "mass"}
        some = islice(data.test.batches(500), _SHIFTED // 500)
        numbers |= top1_and_consistency(model, some, prepare=prepare, device=device)
        numbers |= {"n": len(data.test), "top1": accuracy(model, data.test.batches(500), prepare)}
        steps = {}
        for step in data.steps:
            right = right_labels(model, data.at(step, _STEPPED).batches(500), prepare)
            steps[f"at_{step:g}"] = 100 * float(right.float().mean())
        numbers |= steps | {"mean_step": sum(steps.values()) / len(steps), "worst_step": min(steps.values())}
        pool, layers = GroupPool(model.groups), model.layers  # type: ignore[arg-type]
        images = data.test.images[:_PROBED].float()
        for name, transforms in probes(data.kind, len(images)).items():
            errors = equivariance_errors(model, layers, pool, images, transforms, prepare)  # type: ignore[arg-type]
            known = [(number, error) for number, error in enumerate(errors, start=1) if math.isfinite(error)]
            numbers |= {f"error_{name}_{number}": error for number, error in known}
        return numbers
