"""An example out of which finite numbers come: where NaN comes out, what differs is not seen, for NaN is NaN."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mass.errors import NotEquivariantError
from mass.fx.tracing.example import Example, Inputs
from mass.fx.verification.probes import Probes
from mass.nn.evaluating import drawing_alike
from mass.structure import leaves


def in_range(model: nn.Module, example: Example) -> Example:
    """The example, or noise in [0, 1) in its place where its own, or noise like it, gives a model mostly NaN or infinity.

    A logarithm or a root takes no negative numbers; images are given as zeros, ones or normal noise all the same.

    Raises:
        NotEquivariantError: where nothing finite comes out of either.
    """
    probes = Probes(example.values)
    try:
        ours = copy.deepcopy(model).eval()  # a model may count its calls
    except RuntimeError:  # said where it is traced
        return example
    shares = [_finite(ours, example, values) for values in (probes.moving(), probes.noise())]
    if min(shares) >= 0.5:
        return example
    positive = replace(example, values=probes.uniform())
    found = _finite(ours, positive, positive.values)
    if found > min(shares):
        return positive
    if not any(shares):
        reason = "NaN or infinity alone comes out of the example, of noise like it and of noise in [0, 1), and so nothing can be compared"
        raise NotEquivariantError("", reason, "give an example of values that the model takes")
    return example


def _finite(ours: nn.Module, example: Example, values: Inputs) -> float:
    """The share of finite numbers in what the model returns; 1 where it fails, which is not the question, or returns none."""
    with torch.no_grad(), drawing_alike(values):
        try:
            returned: Any = example.call(ours, tuple(x.clone() if isinstance(x, Tensor) else x for x in values))
        except Exception:  # noqa: BLE001 - said where it is traced
            return 1.0
    numbers = [
        y.isfinite() for _, y in leaves(returned) if isinstance(y, Tensor) and y.is_floating_point() and y.numel()
    ]
    return min((y.double().mean().item() for y in numbers), default=1.0)
