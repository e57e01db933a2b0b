"""Which task a recipe is: that of its data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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

TASKS: dict[type, Callable[[Any, Recipe], Task]] = {
    Labelled: Classification,
    Transformed: ImplicitEquivariance,
    Segmented: Segmentation,
    BoxedSet: Detection,
    InstanceSet: InstanceSegmentation,
}


def task_of(data: object, recipe: Recipe) -> Task:
    """How a network is trained and measured on a data set by a recipe."""
    if type(data) not in TASKS:
        raise Refusal(f"Nothing is known of training on {type(data).__name__}: add its task to TASKS.")
    return TASKS[type(data)](data, recipe)
