"""Which task a recipe is: that of its data."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from companion.core.errors import Refusal
from companion.data.boxed import BoxedSet
from companion.data.instances import InstanceSet
from companion.data.labelled import Labelled
from companion.data.segmented import Segmented
from companion.data.transformed import Transformed
from companion.training.recipe import Recipe
from companion.training.tasks.classification import Classification
from companion.training.tasks.detection import Detection
from companion.training.tasks.implicit_equivariance import ImplicitEquivariance
from companion.training.tasks.instances import InstanceSegmentation
from companion.training.tasks.segmentation import Segmentation
from companion.training.tasks.task import Task
from mass.nn.evaluating import evaluating


class Kind(Protocol):
    """A class of tasks."""

    reads: frozenset[str]

    def __call__(self, data: Any, recipe: Recipe) -> Task: ...


TASKS: dict[type, Kind] = {
    Labelled: Classification,
    Transformed: ImplicitEquivariance,
    Segmented: Segmentation,
    BoxedSet: Detection,
    InstanceSet: InstanceSegmentation,
}


def task_of(data: object, recipe: Recipe) -> Task:
    """How a network is trained and measured on a data set by a recipe.

    Raises:
        Refusal: where the recipe sets what training on such data does not read, or lacks what it does.
    """
    if type(data) not in TASKS:
        raise Refusal(f"Nothing is known of training on {type(data).__name__}: add its task to TASKS.")
    kind = TASKS[type(data)]
    others = frozenset[str]().union(*(other.reads for other in TASKS.values())) - kind.reads
    unread = [name for name in sorted(others) if getattr(recipe, name) != getattr(Recipe, name)]
    if unread:
        told = ", ".join(f"{name} {getattr(recipe, name)!r}" for name in unread)
        raise Refusal(f"Training on {recipe.dataset} does not read {told}: leave that out.")
    return kind(data, recipe)


def require_fit(model: nn.Module, task: Task) -> None:
    """Ask a network what it makes of an image, ahead of training it.

    Raises:
        Refusal: where its outputs are not what the task asks for: of too few classes, say, or of another kind.
    """
    with evaluating(model):
        outputs = model(torch.zeros(1, task.data.channels, 64, 64))
    if not task.fits(model, outputs):
        gives = f"{tuple(outputs.shape)} of an image of 64 x 64" if isinstance(outputs, Tensor) else "no tensor"
        raise Refusal(
            f"{task.recipe.net} is no network for {task.recipe.dataset}: that asks for {task.asks}, and it gives {gives}."
        )
