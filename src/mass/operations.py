"""What each operation does to a lattice: its period, and the module that does the same circularly and exactly.

A rule reads one node of the traced graph (`Site`) and returns its `Effect`. An operation without a rule, or one that its
rule refuses, has the whole map as its period (mass.whole): nothing is assumed to commute with shifts. Windowed operations have their rules in
`mass.windowed`; here are those that reduce, move or mix axes, and the tables; what is left must act pixel by pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import nn

from . import fold, reduce, unpool, windowed
from .axes import pair_of
from .effects import Effect, Site, concrete, is_in_place, name_of
from .lattice import Grid
from .pixelwise import ChannelsLast, Elementwise, FunctionalLinear, GatedLinear, PixelwiseLinear, Power
from .trace import marked_period

Rule = Callable[[Site], Effect]


def _activation(cls: type[nn.Module] | None) -> Rule:
    """Activations whose vector and scalar code round differently; `cls` builds one from a functional call."""

    def rule(site: Site) -> Effect:
        if site.module is not None:
            return Effect(site.map, swap=Elementwise(site.module), inputs=(site.input,))
        options = {k: v for k, v in site.node.kwargs.items() if k not in ("input", "inplace")}
        assert cls is not None
        swap = Elementwise(cls(*site.node.args[1:], **options), is_in_place(site.node))
        return Effect(site.map, swap=swap, inputs=(site.input,))

    return rule


def _power(site: Site) -> Effect:
    exponent = site.argument(1, "exponent")
    if exponent in (1, 2, 3, 0.5):  # products and a square root: the same everywhere
        return Effect(site.map)
    return Effect(site.map, swap=Power(), inputs=(site.input, site.node.args[1]))


def _batch_norm_with_activation(site: Site) -> Effect:
    """Subclasses of BatchNorm2d that end in an activation (timm's): a leaf, for they read self.training."""
    assert site.module is not None
    for name, child in site.module.named_children():
        if _MODULES.get(type(child)) is _exponential:
            setattr(site.module, name, Elementwise(child))
    return Effect(site.map)


def _mean(site: Site) -> Effect:
    dim, keepdim = site.argument(1, "dim"), bool(site.argument(2, "keepdim", False))
    rank, name = len(site.shape), name_of(site.node)
    dims = tuple(range(rank)) if dim is None else tuple(d % rank for d in ((dim,) if isinstance(dim, int) else dim))
    spatial = set(site.map.dims) & set(dims)
    if 0 < len(spatial) < len(site.map.dims):
        raise site.refuse("a reduction over rows or columns alone leaves a map of the other axis")
    value = None if spatial else _drop_axes(site, () if keepdim else dims)
    if name in ("amax", "amin"):
        return Effect(value)
    if name not in ("mean", "sum") or site.map.batch in dims or "dtype" in site.node.kwargs:
        raise site.refuse(
            f"'{name}' over axes {dims} adds in an order that depends on the position", "use a plain mean"
        )
    swap = reduce.ExactMean(dims, keepdim) if name == "mean" else reduce.ExactSum(dims, keepdim)
    return Effect(value, swap=swap, inputs=(site.input,), change=f"exact {name}" if spatial else "")


def _drop_axes(site: Site, axes: tuple[int, ...]) -> Grid:
    return site.map.moved(lambda d: d - sum(a < d for a in axes))


def _group_norm(site: Site) -> Effect:
    if site.module is None:
        raise site.refuse("functional normalisation over positions", "use torch.nn.GroupNorm or InstanceNorm2d")
    site.image_axes(None)
    exact = _EXACT_NORMS[type(site.module)]
    return Effect(site.map, swap=windowed.recast(site.module, exact), inputs=(site.input,), change="exact statistics")


def _batch_norm(site: Site) -> Effect:
    if 1 in site.map.dims:
        raise site.refuse("batch normalisation takes positions for channels")
    return Effect(site.map)


def _layer_norm(site: Site) -> Effect:
    axes = len(as_shape(site.argument(1, "normalized_shape")))
    if max(site.map.dims) >= len(site.shape) - axes:
        raise site.refuse("layer normalisation over positions, with a weight for each", "normalise the channels alone")
    return Effect(site.map)


def as_shape(size: Any) -> tuple:
    return (size,) if isinstance(size, int) else tuple(size)


def _linear(site: Site) -> Effect:
    if len(site.shape) - 1 in site.map.dims:
        raise site.refuse("a linear layer mixes positions")
    if site.module is None:
        weight, bias = (site.argument(i, name) for i, name in ((1, "weight"), (2, "bias")))
        if site.values.get(weight):
            raise site.refuse("a linear layer whose weights are a map")
        return Effect(site.map, swap=FunctionalLinear(), inputs=(site.input, weight, bias))
    if type(site.module) is not nn.Linear:
        return Effect(site.map)
    return Effect(site.map, swap=windowed.recast(site.module, PixelwiseLinear), inputs=(site.input,))


def _reshape(site: Site) -> Effect:
    """Reshapes keep the lattice where rows and columns stay axes of their own; where they melt, the period is the map."""
    before, after = site.shape, site.node.meta["shape"]
    places = {math.prod(after[:axis]): axis for axis in reversed(range(len(after)))}
    found = []
    for d in (site.map.batch, *site.map.dims):
        axis = places.get(math.prod(before[:d]), len(after))
        while axis < len(after) and after[axis] == 1 != before[d]:  # axes of size 1 start at the same place
            axis += 1
        found += [axis] if axis < len(after) and after[axis] == before[d] else []
    if len(found) == 1 + len(site.map.dims):
        return Effect(Grid(site.map.lattice, tuple(found[1:]), batch=found[0]))
    if site.map.batch:
        raise site.refuse(f"flattening {before} to {after}, whose first axis is not that of images")
    change, breaks = "the whole map starts at its origin", "weights differ by position"
    return Effect(None, site.sizes, cells=(1, 1), change=change, breaks=breaks)


def _roll(site: Site) -> Effect:
    """A roll along positions commutes with all shifts, one along channels anyway; one of all axes as one does not."""
    if site.argument(2, "dims") in (None, ()):
        raise site.refuse("rolling a map as one long vector")
    return Effect(site.map)


def _merge_patches(site: Site) -> Effect:
    """Torchvision's Swin: 2 x 2 pixels of a map (B, H, W, C) become one of 4 C channels."""
    return Effect(site.map, (2, 2), change="origin from the features", breaks=windowed.FRAME)


def _permute(site: Site) -> Effect:
    rank = len(site.shape)
    if name_of(site.node) == "permute":
        unpacked = site.module is None and len(site.node.args) > 2  # x.permute(0, 2, 3, 1)
        dims = concrete(site.node.args[1:]) if unpacked else site.argument(1, "dims")
        order = [d % rank for d in as_shape(dims)]
    else:
        a, b = (d % rank for d in (site.argument(1, "dim0"), site.argument(2, "dim1")))
        order = list(range(rank))
        order[a], order[b] = order[b], order[a]
    return Effect(site.map.moved(order.index))


def _stack(site: Site) -> Effect:
    """A new axis, before or among the others."""
    first = site.node.args[0][0] if site.node.args else site.node.kwargs["tensors"][0]  # type: ignore[index]
    rank = len(first.meta["shape"])  # type: ignore[union-attr]
    dim = site.argument(1, "dim", 0) % (rank + 1)
    return Effect(site.map.moved(lambda d: d + (d >= dim)))


def _shuffle(site: Site) -> Effect:
    """Pixel shuffle: channels become positions, with no border to see."""
    site.image_axes()
    r = site.argument(1, "upscale_factor")
    return Effect(site.map, up=(r, r), change="moved back")


def _unshuffle(site: Site) -> Effect:
    """Pixel unshuffle: positions become channels, with the period of a stride."""
    site.image_axes()
    r = site.argument(1, "downscale_factor")
    return Effect(site.map, (r, r), change="origin from the features", breaks=windowed.FRAME)


def _along_channels(site: Site) -> Effect:
    """cat, chunk, split, softmax: on an axis that is not a position."""
    first = site.input[0] if isinstance(site.input, tuple | list) else site.input
    rank = len(first.meta["shape"])
    name = name_of(site.node)
    default = {"softmax": None, "log_softmax": None, "glu": -1}.get(name, 0)
    dim = site.argument(2 if name in ("chunk", "split", "tensor_split") else 1, "dim", default)
    value = site.values.get(first)
    taken = (value.batch, *value.dims) if isinstance(value, Grid) else (0, 2, 3)
    if dim is None or dim % rank in taken:
        raise site.refuse(f"'{name}' along axis {dim}, which is no axis of channels")
    if name == "unbind":
        return Effect(tuple(_drop_axes(site, (dim % rank,)) for _ in site.node.meta["shape"]))
    if name in ("chunk", "split", "tensor_split"):
        return Effect(tuple(site.map for _ in site.node.meta["shape"]))
    if name == "glu" or isinstance(site.module, nn.GLU):
        return Effect(site.map, swap=GatedLinear(dim), inputs=(site.input,))
    if "softmax" in name or site.module is not None:
        log = name == "log_softmax" or isinstance(site.module, nn.LogSoftmax)
        return Effect(site.map, swap=ChannelsLast(F.log_softmax if log else F.softmax, dim), inputs=(site.input,))
    return Effect(site.map)


def _getitem(site: Site) -> Effect:
    value = site.values.get(site.input)
    index: Any = concrete(site.node.args[1])
    if isinstance(value, tuple):
        return Effect(value[index])
    if value is None:
        return Effect(None)
    index = tuple(index) if isinstance(index, tuple | list) else (index,)
    if Ellipsis in index:
        at = index.index(Ellipsis)
        index = (*index[:at], *[slice(None)] * (len(site.shape) - len(index) + 1), *index[at + 1 :])
    if any(not isinstance(i, int | slice) for i in index):
        raise site.refuse(f"indexing a map by {index}", "index it with plain slices")
    period, dropped = [1, 1], []
    place = {d: which for which, d in value.axes.items()}
    for axis, i in enumerate(index):
        if axis in place and i != slice(None):
            step = getattr(i, "step", None) or 1  # of a step s all s first positions do, each its own phase
            if not isinstance(i, slice) or i.stop is not None or not 0 <= (i.start or 0) < step:
                raise site.refuse("cropping a map keeps some positions and loses others", "crop before the network")
            period[place[axis]] = step
        elif axis == value.batch and i != slice(None):
            raise site.refuse("picking images out of the batch")
        elif isinstance(i, int):
            dropped.append(axis)
    if period != [1, 1]:
        kept = _drop_axes(site, tuple(dropped))
        return Effect(kept, (period[0], period[1]), change="origin from the features", breaks=windowed.FRAME)
    return Effect(_drop_axes(site, tuple(dropped)))


def _marked(site: Site) -> Effect:
    period = marked_period(site.module) if site.module is not None else None
    assert period is not None
    return Effect(site.map, pair_of(period, len(site.map.dims)), breaks="" if period == 1 else windowed.FRAME)


def _pixelwise(site: Site) -> Effect:
    return Effect(site.map)


def _as_input(site: Site) -> Effect:
    """`x.to(y)`, `x.type_as(y)`: what x is, whatever y is."""
    return Effect(site.values.get(site.input))


def _expand(site: Site) -> Effect:
    """`y.expand_as(x)`: what is the same at all positions stays so; a map only grows channels or images."""
    if site.values.get(site.input) is None:
        return Effect(None, uniform=True)
    raise site.refuse("expanding a map", "multiply by ones instead")


def _no_tensor(site: Site) -> Effect:
    """Sizes and checks; an attribute that is a tensor (`x.T`, `x.real`) has no rule."""
    if all(isinstance(size, int) for size in site.node.meta["shape"] or (None,)):
        raise site.refuse(
            f"the attribute '{site.node.args[1]}' of a map" if len(site.node.args) > 1 else "this view of a map"
        )
    return Effect(None)


_exponential = _activation(None)
_EXACT_NORMS = {
    nn.GroupNorm: reduce.ExactGroupNorm, nn.InstanceNorm1d: reduce.ExactInstanceNorm1d,
    nn.InstanceNorm2d: reduce.ExactInstanceNorm2d, nn.InstanceNorm3d: reduce.ExactInstanceNorm3d,
}  # fmt: skip

_MODULES: dict[type[nn.Module], Rule] = {
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), windowed.conv),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), windowed.max_pool),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), windowed.avg_pool),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), windowed.adaptive_avg_pool),
    **dict.fromkeys((nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d), windowed.adaptive_max_pool),
    **dict.fromkeys((nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d), windowed.interpolate),
    **dict.fromkeys((getattr(nn, f"{kind}Pad{n}d") for n in (1, 2, 3)
                     for kind in ("Zero", "Constant", "Reflection", "Replication", "Circular")), fold.pad),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), windowed.conv_transpose),
    nn.MaxUnpool2d: unpool.max_unpool,
    nn.PixelShuffle: _shuffle, nn.PixelUnshuffle: _unshuffle,
    **dict.fromkeys(_EXACT_NORMS, _group_norm), nn.LayerNorm: _layer_norm,
    nn.Linear: _linear, nn.Flatten: _reshape, nn.Unflatten: _reshape,
    **dict.fromkeys((nn.SiLU, nn.GELU, nn.Sigmoid, nn.Mish, nn.ELU, nn.CELU, nn.SELU, nn.Softplus, nn.Tanh, nn.LogSigmoid),
                    _exponential),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm3d), _batch_norm),
    **dict.fromkeys((nn.BatchNorm2d, nn.SyncBatchNorm, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.Hardswish,
                     nn.Hardsigmoid, nn.Hardtanh, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout,
                     nn.LocalResponseNorm, nn.ChannelShuffle, nn.Softsign, nn.Threshold), _pixelwise),
    **dict.fromkeys((nn.Softmax, nn.LogSoftmax, nn.GLU), _along_channels),
}  # fmt: skip

_FUNCTIONS: dict[str, Rule] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), windowed.conv),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), windowed.conv_transpose),
    **dict.fromkeys((f"max_pool{n}d{name}" for n in (1, 2, 3) for name in ("", "_with_indices")), windowed.max_pool),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), windowed.avg_pool),
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"), windowed.adaptive_avg_pool),
    **dict.fromkeys(("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"), windowed.adaptive_max_pool),
    "interpolate": windowed.interpolate,
    "pad": fold.pad, "max_unpool2d": unpool.max_unpool,
    "pixel_shuffle": _shuffle, "pixel_unshuffle": _unshuffle, "stack": _stack,
    "group_norm": _group_norm, "instance_norm": _group_norm, "layer_norm": _layer_norm, "linear": _linear,
    "silu": _activation(nn.SiLU), "gelu": _activation(nn.GELU), "sigmoid": _activation(nn.Sigmoid),
    "mish": _activation(nn.Mish), "elu": _activation(nn.ELU), "softplus": _activation(nn.Softplus), "tanh": _activation(nn.Tanh),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "std", "var"), _mean),
    **dict.fromkeys(("flatten", "view", "reshape", "unflatten", "squeeze", "unsqueeze"), _reshape),
    **dict.fromkeys(("permute", "transpose", "swapaxes"), _permute),
    **dict.fromkeys(("cat", "concat", "concatenate", "chunk", "split", "tensor_split", "unbind", "softmax", "log_softmax", "glu"), _along_channels),
    **dict.fromkeys(("size", "getattr", "dim", "numel", "_assert", "is_floating_point"), _no_tensor),
    "getitem": _getitem, "pow": _power, "roll": _roll, "_patch_merging_pad": _merge_patches,
    **dict.fromkeys(("to", "type_as"), _as_input), **dict.fromkeys(("expand", "expand_as"), _expand),
    **dict.fromkeys(("add", "sub", "mul", "truediv", "div", "neg", "abs", "square", "sqrt", "rsqrt", "clamp", "clip",
                     "relu", "relu6", "leaky_relu", "prelu", "hardswish", "hardsigmoid", "hardtanh", "maximum", "minimum",
                     "rsub", "reciprocal", "sign", "where", "masked_fill", "contiguous", "clone", "detach", "float", "half", "type",
                      "eq", "ne", "gt", "ge", "lt", "le", "batch_norm", "local_response_norm", "channel_shuffle", "lerp", "addcmul"), _pixelwise),
}  # fmt: skip


def rule_for(site: Site) -> Rule:
    """The rule of an operation that meets a map; raises NotEquivariantError, naming it, where there is none."""
    if isinstance(site.map, tuple) and name_of(site.node) != "getitem":
        raise site.refuse("an operation on a tuple of maps", "take them out of the tuple first")
    if site.module is not None:
        if marked_period(site.module) is not None:
            return _marked
        kind = type(site.module).__name__
        if kind in ("StochasticDepth", "DropPath"):
            return _pixelwise
        if isinstance(site.module, nn.BatchNorm2d) and type(site.module) is not nn.BatchNorm2d:
            return _batch_norm_with_activation
        rule = _MODULES.get(type(site.module))
    else:
        kind = name_of(site.node)
        rule = _FUNCTIONS.get(kind)
    if rule is None:
        remedy = "if it does, say so with mass.mark_leaf(its class, period=…)" if site.module is not None else ""
        raise site.refuse(f"{kind} is not known to commute with shifts", remedy)
    return rule
