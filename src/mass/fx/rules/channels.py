"""Rules of operations along channels: they join, part and normalise them, each position for itself."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from mass.fx.lattice import Grid
from mass.fx.nodes import name_of
from mass.fx.rule import Effect, Site, rule
from mass.nn.pointwise import ChannelsLast, GatedLinear


def _axis(site: Site, default: int | None) -> int:
    """The axis along which it works, if that is one of channels."""
    first = site.input[0] if isinstance(site.input, tuple | list) else site.input
    rank, value = len(first.meta["shape"]), site.values.get(first)
    dim = site.argument("dim", default)
    taken = (value.batch, *value.dims) if isinstance(value, Grid) else (0, 2, 3)
    if dim is None or dim % rank in taken:
        along_batch = isinstance(value, Grid) and dim is not None and dim % rank == value.batch
        remedy = "call the layers once for each of the images, not once for all in one batch" if along_batch else ""
        raise site.refuse(f"'{name_of(site.node)}' along axis {dim}, which is no axis of channels", remedy)
    return dim


@rule(functions=["cat", "concatenate"], arguments=("tensors", "dim"))
def cat(site: Site) -> Effect:
    _axis(site, 0)
    return Effect(site.map)


@rule(functions=["stack"], arguments=("tensors", "dim"))
def stack(site: Site) -> Effect:
    """A new axis, before or among the others."""
    first = site.given("tensors")[0]
    dim = site.argument("dim", 0) % (len(first.meta["shape"]) + 1)
    return Effect(site.map.moved(lambda d: d + (d >= dim)))


@rule(functions=["chunk", "split", "tensor_split"], arguments=("input", "chunks", "dim"))
def split(site: Site) -> Effect:
    _axis(site, 0)
    return Effect(tuple(site.map for _ in site.node.meta["shape"]))


@rule(functions=["unbind"], arguments=("input", "dim"))
def unbind(site: Site) -> Effect:
    dim = _axis(site, 0) % len(site.shape)
    return Effect(tuple(site.map.without((dim,)) for _ in site.node.meta["shape"]))


@rule(modules=[nn.Softmax], functions=["softmax"], arguments=("input", "dim"))
def softmax(site: Site) -> Effect:
    return Effect(site.map, swap=ChannelsLast(F.softmax, _axis(site, None), _dtype(site)), inputs=(site.input,))


@rule(modules=[nn.Softmin], functions=["softmin"], arguments=("input", "dim"))
def softmin(site: Site) -> Effect:
    return Effect(site.map, swap=ChannelsLast(F.softmin, _axis(site, None), _dtype(site)), inputs=(site.input,))


@rule(modules=[nn.Softmax2d])
def softmax2d(site: Site) -> Effect:
    return Effect(site.map, swap=ChannelsLast(F.softmax, -3), inputs=(site.input,))


@rule(modules=[nn.LogSoftmax], functions=["log_softmax"], arguments=("input", "dim"))
def log_softmax(site: Site) -> Effect:
    return Effect(site.map, swap=ChannelsLast(F.log_softmax, _axis(site, None), _dtype(site)), inputs=(site.input,))


def _dtype(site: Site) -> dict[str, object]:
    node = site.node
    given = (
        () if site.module is not None else (node.kwargs.get("dtype"), *node.args[1:])
    )  # torch.softmax takes it by place
    dtype = next((value for value in given if isinstance(value, torch.dtype)), None)
    return {} if dtype is None else {"dtype": dtype}


@rule(modules=[nn.GLU], functions=["glu"], arguments=("input", "dim"))
def glu(site: Site) -> Effect:
    return Effect(site.map, swap=GatedLinear(_axis(site, -1)), inputs=(site.input,))
