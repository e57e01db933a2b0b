"""Rules of reductions, orders and sums along channels: what is left keeps its rows and columns, each for itself.

Where such an operation runs over positions as well, or flattens them, it has the whole map as its period.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from mass.fx.lattice import Grid
from mass.fx.nodes import name_of, writes_out
from mass.fx.rule import Effect, Site, across_images, rule
from mass.nn.pointwise import ChannelsLast

_REDUCTION = ("input", "dim", "keepdim")


def _channels(site: Site, dims: Any) -> tuple[int, ...]:
    """The axes of an argument, if none of them is of images or positions."""
    if dims is None or not isinstance(site.map, Grid):
        raise site.refuse(f"'{name_of(site.node)}' over all axes")
    rank = len(site.shape)
    axes = tuple(d % rank for d in ((dims,) if isinstance(dims, int) else dims))
    if site.map.batch in axes:
        raise across_images(site)
    if not axes or set(site.map.dims) & set(axes):
        raise site.refuse(f"'{name_of(site.node)}' over axes {axes}, not all of them channels")
    return axes


def _left(site: Site, axes: tuple[int, ...]) -> Grid:
    return site.map.without(() if site.argument("keepdim", False) else axes)


@rule(functions=["argmax", "argmin", "any", "all"], arguments=_REDUCTION)
def reduction(site: Site) -> Effect:
    """What does not round."""
    return Effect(_left(site, _channels(site, site.argument("dim"))))


@rule(functions=["max", "min", "median", "mode", "kthvalue"], arguments=_REDUCTION)
def extreme_with_index(site: Site) -> Effect:
    """Values and their places among the channels; of two maps, the larger of each position."""
    shape = site.node.meta["shape"]
    if not shape or not isinstance(shape, tuple) or not isinstance(shape[0], tuple):
        if any(site.values.get(n) for n in site.node.all_input_nodes[1:]):
            return Effect(site.map)  # torch.max(a, b)
        raise site.refuse(f"'{name_of(site.node)}' over all axes")
    left = _left(site, _channels(site, site.argument("dim", -1)))
    return Effect((left, left))


@rule(functions=["topk"], arguments=("input", "k", "dim"))
@rule(functions=["sort"], arguments=("input", "dim"))
def order(site: Site) -> Effect:
    """Values in order, and their places among the channels."""
    _channels(site, site.argument("dim", -1))
    return Effect((site.map, site.map))


@rule(functions=["argsort", "cumsum", "cumprod", "flip"], arguments=("input", "dim"))
def cumulation(site: Site) -> Effect:
    _channels(site, site.argument("dim", site.given("dims") if name_of(site.node) == "flip" else -1))
    return Effect(site.map)


@rule(functions=["logsumexp"], arguments=_REDUCTION)
@rule(functions=["std", "var"], arguments=_REDUCTION)
@rule(functions=["norm", "linalg_vector_norm"], arguments=("input", "p", "dim", "keepdim"))
def rounded_reduction(site: Site) -> Effect:
    """Reductions that round: computed position by position in the same order."""
    axes = _channels(site, site.argument("dim"))
    if writes_out(site.node):
        raise site.refuse("it writes to a tensor that it is given", "call it without out=")
    if len(axes) > 1:
        raise site.refuse(f"'{name_of(site.node)}' over several axes")
    name, options = (
        name_of(site.node),
        {k: v for k, v in site.node.kwargs.items() if k in ("unbiased", "correction", "p", "ord", "dtype")},
    )
    if name in ("norm", "linalg_vector_norm"):
        order = next((p for p in (options.get("ord"), site.argument("p")) if p is not None), 2)
        options = {"ord": order} | {k: v for k, v in options.items() if k == "dtype"}
    elif name in ("std", "var") and len(site.node.args) > 2:
        raise site.refuse(f"'{name}' with more arguments by position", "name them")
    function = {"norm": torch.linalg.vector_norm, "linalg_vector_norm": torch.linalg.vector_norm}.get(name) or getattr(
        torch, name
    )
    keepdim = bool(site.argument("keepdim", False))
    swap = ChannelsLast(function, axes[0], options | {"keepdim": keepdim}, keeps=keepdim)
    return Effect(_left(site, axes), swap=swap, inputs=(site.input,))


@rule(functions=["normalize"], arguments=("input", "p", "dim", "eps"))
def normalize(site: Site) -> Effect:
    """`F.normalize`: each position by its own norm."""
    axes = _channels(site, site.argument("dim", 1))
    options = {"p": site.argument("p", 2.0), "eps": site.argument("eps", 1e-12)}
    return Effect(site.map, swap=ChannelsLast(F.normalize, axes[0], options), inputs=(site.input,))


@rule(functions=["one_hot"])
def one_hot(site: Site) -> Effect:
    """A new last axis."""
    return Effect(site.map)
