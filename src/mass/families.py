"""Families: models that `convert`, `explain`, `certify` and `onnx.export` take by their parts, by whoever knows them.

A detector is no graph of tensors: lists of images go in, sets of boxes come out. What of it has positions is converted as
any network is, and the rest is done otherwise (mass.detection). A family says which models are its own, and what to do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Family:
    """One kind of models.

    Attributes:
        name: in words, as in 'a detector'.
        holds: whether a model is one of them, the plain one or what `convert` makes of it.
        convert, explain, certify: called in the place of `mass.convert`, `mass.explain` and `mass.certify`, with their arguments.
    """

    name: str
    holds: Callable[[nn.Module], bool]
    convert: Callable[..., Any]
    explain: Callable[..., Any]
    certify: Callable[..., Any]


FAMILIES: list[Family] = []


def family_of(model: object) -> Family | None:
    """The family that a model is of, if any."""
    return next((f for f in FAMILIES if isinstance(model, nn.Module) and f.holds(model)), None)
