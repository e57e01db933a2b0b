"""Rules of losses: labels move with their image, every position is compared alike, and what is added is added exactly."""

from __future__ import annotations

import functools
from typing import Any

import torch.nn.functional as F
from torch import fx, nn

from mass.fx.lattice import Grid
from mass.fx.nodes import name_of
from mass.fx.rule import Effect, Recast, Site, rule
from mass.nn.loss import ExactCrossEntropyLoss, ExactNLLLoss, FunctionalCrossEntropy, PairwiseLoss

_REDUCED = ("size_average", "reduce", "reduction")
_CHANGE = "exact reduction"


def _compared(site: Site) -> tuple[Grid, Grid, fx.Node]:
    """The map, what it is compared with, and the node of that."""
    target: Any = site.node.args[1] if len(site.node.args) > 1 else site.node.kwargs.get("target")
    grids: list[Any] = [site.values.get(site.input), site.values.get(target)]
    if not all(isinstance(grid, Grid) for grid in grids):
        raise site.refuse(f"'{site.kind}' of a map and of something that does not move with it")
    if any(grid.batch != 0 for grid in grids):
        raise site.refuse(f"'{site.kind}' of a map whose first axis is not that of images")
    return grids[0], grids[1], target


def _reduction(site: Site) -> str:
    if site.argument("size_average") is not None or site.argument("reduce") is not None:
        raise site.refuse("size_average and reduce, which PyTorch has given up", "say reduction= instead")
    found = site.argument("reduction", "mean")
    if found not in ("none", "mean", "sum"):
        raise site.refuse(f"reduction {found!r}", "use 'none', 'mean' or 'sum'")
    return found


@rule(modules=[nn.CrossEntropyLoss], becomes=ExactCrossEntropyLoss)
@rule(modules=[nn.NLLLoss], becomes=ExactNLLLoss)
@rule(
    functions=["cross_entropy"],
    arguments=("input", "target", "weight", "size_average", "ignore_index", "reduce", "reduction", "label_smoothing"),
    weights=("weight",),
)
@rule(
    functions=["nll_loss"],
    arguments=("input", "target", "weight", "size_average", "ignore_index", "reduce", "reduction"),
    weights=("weight",),
)
def cross_entropy(site: Site) -> Effect:
    """Of classes on axis 1."""
    grid, labels, target = _compared(site)
    left = grid.without((1,))
    if 1 in grid.dims or labels.dims not in (grid.dims, left.dims):
        raise site.refuse("cross-entropy of a map whose classes are not on axis 1")
    reduction = _reduction(site)
    effect = Effect(left if reduction == "none" else None, change=_CHANGE)
    if site.module is not None:
        effect.swap, effect.inputs = Recast(site.becomes), (site.input, target)
        return effect
    options: dict[str, Any] = {"reduction": reduction, "ignore_index": site.argument("ignore_index", -100)}
    if name_of(site.node) == "nll_loss":
        options["logarithms"] = True
    else:
        options["label_smoothing"] = site.argument("label_smoothing", 0.0)
    effect.swap, effect.inputs = FunctionalCrossEntropy(**options), (site.input, target, site.given("weight"))
    return effect


# What is given beside input and target: tensors, and numbers with their defaults.
_TENSORS = {"binary_cross_entropy": ("weight",), "binary_cross_entropy_with_logits": ("weight", "pos_weight")}
_NUMBERS: dict[str, dict[str, Any]] = {"smooth_l1_loss": {"beta": 1.0}, "huber_loss": {"delta": 1.0}}
_NAMES = {
    nn.MSELoss: "mse_loss",
    nn.L1Loss: "l1_loss",
    nn.SmoothL1Loss: "smooth_l1_loss",
    nn.HuberLoss: "huber_loss",
    nn.BCELoss: "binary_cross_entropy",
    nn.BCEWithLogitsLoss: "binary_cross_entropy_with_logits",
}


@rule(modules=[nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss])
@rule(functions=["mse_loss", "l1_loss"], arguments=("input", "target", *_REDUCED))
@rule(functions=["smooth_l1_loss"], arguments=("input", "target", *_REDUCED, "beta"))
@rule(functions=["huber_loss"], arguments=("input", "target", "reduction", "delta"))
@rule(
    functions=["binary_cross_entropy"],
    arguments=("input", "target", "weight", *_REDUCED),
    weights=("weight",),
)
@rule(
    functions=["binary_cross_entropy_with_logits"],
    arguments=("input", "target", "weight", *_REDUCED, "pos_weight"),
    weights=("weight", "pos_weight"),
)
def pairwise_loss(site: Site) -> Effect:
    """Value by value."""
    grid, other, target = _compared(site)
    if grid.dims != other.dims or site.shape != target.meta["shape"]:
        raise site.refuse(f"'{site.kind}' of shapes {site.shape} and {target.meta['shape']}", "give both one shape")
    name = name_of(site.node) if site.module is None else _NAMES[type(site.module)]
    reduction = _reduction(site)
    numbers = {key: site.argument(key, default) for key, default in _NUMBERS.get(name, {}).items()}
    tensors = tuple(key for key in _TENSORS.get(name, ()) if site.given(key) is not None)
    function = functools.partial(getattr(F, name), **numbers) if numbers else getattr(F, name)
    swap = PairwiseLoss(function, reduction, tensors)
    inputs = (site.input, target, *map(site.given, tensors))
    return Effect(grid if reduction == "none" else None, swap=swap, inputs=inputs, change=_CHANGE)


@rule(modules=[nn.BCELoss, nn.BCEWithLogitsLoss])
def weighted_loss(site: Site) -> Effect:
    """Their weights are buffers of theirs, if they have any: these are called by hand."""
    assert site.module is not None
    if any(True for _ in site.module.buffers()):
        name = _NAMES[type(site.module)]
        raise site.refuse(f"{site.kind} with weights", f"call torch.nn.functional.{name} with them")
    return pairwise_loss(site)
