"""What each operation does to a lattice: its period, and the module that does the same circularly and exactly.

A rule reads one node of the traced graph (`Site`) and returns its `Effect`. An operation without a rule is refused by
name when it meets a map: nothing is assumed to commute with shifts. Rules for windowed operations come first, then those
that reduce, move or mix axes; what is left must act pixel by pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, fx, nn

from . import layers, reduce
from .circular import circular_pad, window_pads
from .errors import NotEquivariantError, as_pair
from .kernels import conv2d, elementwise, pixelwise_linear
from .lattice import Grid, Pair, stride
from .trace import marked_period
from .upsample import MODES, CircularUpsample


@dataclass
class Effect:
    """What an operation does.

    Attributes:
        value: what it returns: a `Grid`, None for anything without positions, a tuple of these.
        period: the period with which it commutes with shifts; (1, 1) with all.
        swap: the module to call instead, or None to leave the operation as it is.
        inputs: the nodes given to `swap`, the map first.
        change, breaks: what conversion changes, and what breaks the plain model, in words.
        up: the factor by which it enlarges the map.
    """

    value: Any
    period: Pair = (1, 1)
    swap: nn.Module | None = None
    inputs: tuple = ()
    change: str = ""
    breaks: str = ""
    up: Pair = (1, 1)


@dataclass
class Site:
    """A node with what a rule wants to know of it."""

    node: fx.Node
    module: nn.Module | None
    values: dict[fx.Node, Any]
    image: Pair  # height and width of the network's input

    def __post_init__(self) -> None:
        self.map: Any = next((self.values.get(n) for n in self.node.all_input_nodes if self.values.get(n)), None)

    def refuse(self, reason: str, remedy: str = "") -> NotEquivariantError:
        return NotEquivariantError(self.node.name, reason, remedy)

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """An argument of a functional call; of a module, the attribute of that name."""
        if self.module is not None:
            return getattr(self.module, name, default)
        args, kwargs = self.node.args, self.node.kwargs
        value = args[position] if len(args) > position else kwargs.get(name, default)
        return value.meta.get("value", value) if isinstance(value, fx.Node) and name in ("dim", "size") else value

    @property
    def input(self) -> fx.Node:
        return self.node.args[0] if self.node.args else next(iter(self.node.kwargs.values()))  # type: ignore[return-value]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.input.meta["shape"]

    @property
    def sizes(self) -> Pair:
        """Height and width of the map that goes in, when every border wraps: the input's over the total stride."""
        total = stride(self.map.lattice)
        return self.image[0] // total[0], self.image[1] // total[1]

    def image_axes(self) -> None:
        """Windowed operations work on axes 2 and 3: refuse a map whose positions lie elsewhere."""
        if not isinstance(self.map, Grid) or self.map.dims != (2, 3) or len(self.shape) != 4:
            raise self.refuse(f"a windowed operation on a map whose rows and columns are not axes 2 and 3 of {self.shape}")


_FRAME = "samples the frame's grid"
_BORDER = "padding marks the border"


def _windowed(site: Site, period: Pair, padded: bool, swap: nn.Module, inputs: tuple = ()) -> Effect:
    site.image_axes()
    breaks = [why for broken, why in ((period != (1, 1), _FRAME), (padded, _BORDER)) if broken]
    change = [what for done, what in ((period != (1, 1), "origin from the features"), (padded, "circular border")) if done]
    return Effect(site.map, period, swap, inputs or (site.input,), ", ".join(change), ", ".join(breaks))


def _recast(module: nn.Module, cls: type[nn.Module]) -> nn.Module:
    """The same module (parameters, hooks, training flag) with another forward."""
    new = cls.__new__(cls)
    new.__dict__ = module.__dict__
    return new


class FunctionalConv2d(nn.Module):
    """`F.conv2d` with circular borders, for weights that the network computes."""

    def __init__(self, kernel_size: Pair, stride: Pair, padding: Any, dilation: Pair, groups: int) -> None:
        super().__init__()
        self.stride, self.dilation, self.groups = stride, dilation, groups
        self.pads = window_pads(kernel_size, stride, padding, dilation)

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return conv2d(circular_pad(x, self.pads), weight, bias, self.stride, self.dilation, self.groups)

    def extra_repr(self) -> str:
        return f"stride={self.stride}, dilation={self.dilation}, groups={self.groups}, pads={self.pads}"


class PixelwiseLinear(nn.Linear):
    """`nn.Linear` over the pixels of a channels-last map, by a position-independent kernel."""

    def forward(self, input: Tensor) -> Tensor:
        return pixelwise_linear(input, self.weight, self.bias)


class Elementwise(nn.Module):
    """An activation computed by whole vectors, so that its rounding does not depend on the position."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return elementwise(self.function, x)


def _conv(site: Site) -> Effect:
    if site.map is None:
        return Effect(None)
    if site.module is not None:
        conv = site.module
        return _windowed(site, conv.stride, conv.padding not in ((0, 0), "valid"), _recast(conv, layers.CircularConv2d))
    weight, bias = site.argument(1, "weight"), site.argument(2, "bias")
    if site.values.get(weight):
        raise site.refuse("a convolution whose kernel is a map")
    stride, padding = as_pair(site.argument(3, "stride", 1), "stride"), site.argument(4, "padding", 0)
    padding = padding if isinstance(padding, str | tuple | list) else (padding, padding)
    dilation, groups = as_pair(site.argument(5, "dilation", 1), "dilation"), site.argument(6, "groups", 1)
    swap = FunctionalConv2d(weight.meta["shape"][2:], stride, padding, dilation, groups)
    return _windowed(site, stride, bool(any(swap.pads)), swap, (site.input, weight, bias))


def _pool(plain: type[nn.Module], circular: type[nn.Module]) -> Callable[[Site], Effect]:
    names = ["kernel_size", "stride", "padding", "dilation" if plain is nn.MaxPool2d else "ceil_mode"]

    def rule(site: Site) -> Effect:
        if site.map is None:
            return Effect(None)
        given = {name: site.argument(i + 1, name) for i, name in enumerate(names)}
        if site.argument(5, "return_indices", False) and plain is nn.MaxPool2d:
            raise site.refuse("max pooling that returns indices", "unpool by upsampling instead")
        pool = circular(**{k: v for k, v in given.items() if v is not None and k != "ceil_mode"})
        if plain is nn.AvgPool2d:
            pool.divisor_override = site.argument(6, "divisor_override")
        return _windowed(site, as_pair(pool.stride, "stride"), pool.padding not in (0, (0, 0)), pool)

    return rule


def _adaptive_pool(average: bool) -> Callable[[Site], Effect]:
    def rule(site: Site) -> Effect:
        if site.map is None:
            return Effect(None)
        site.image_axes()
        size = site.argument(1, "output_size")
        out = tuple(have if want is None else want for have, want in zip(site.sizes, as_target(size), strict=True))
        if out == (1, 1):
            return Effect(None, swap=reduce.ExactMean() if average else None, inputs=(site.input,),
                          change="exact mean" if average else "")  # fmt: skip
        if out == site.sizes:
            return Effect(site.map, swap=nn.Identity(), inputs=(site.input,))
        if site.sizes[0] % out[0] or site.sizes[1] % out[1]:
            raise site.refuse(f"adaptive pooling of {site.sizes} to {out} has windows of unequal size")
        period = site.sizes[0] // out[0], site.sizes[1] // out[1]
        return _windowed(site, period, False, (layers.CircularAvgPool2d if average else layers.CircularMaxPool2d)(period))

    return rule


def as_target(size: Any) -> tuple:
    return (size, size) if size is None or isinstance(size, int) else tuple(size)


def _activation(cls: type[nn.Module] | None) -> Callable[[Site], Effect]:
    """Activations whose vector and scalar code round differently; `cls` builds one from a functional call."""

    def rule(site: Site) -> Effect:
        if not isinstance(site.map, Grid):
            return Effect(site.map)
        if site.module is not None:
            return Effect(site.map, swap=Elementwise(site.module), inputs=(site.input,))
        options = {k: v for k, v in site.node.kwargs.items() if k not in ("input", "inplace")}
        assert cls is not None
        return Effect(site.map, swap=Elementwise(cls(*site.node.args[1:], **options)), inputs=(site.input,))

    return rule


def _mean(site: Site) -> Effect:
    if site.map is None:
        return Effect(None)
    dim, keepdim = site.argument(1, "dim"), bool(site.argument(2, "keepdim", False))
    rank = len(site.shape)
    dims = tuple(range(rank)) if dim is None else tuple(d % rank for d in ((dim,) if isinstance(dim, int) else dim))
    spatial = set(site.map.dims) & set(dims)
    if not spatial:
        return Effect(_drop_axes(site, () if keepdim else dims))
    if len(spatial) == 1:
        raise site.refuse("a reduction over rows or columns alone leaves a map of the other axis")
    name = name_of(site.node)
    if name in ("amax", "amin"):
        return Effect(None)
    if name != "mean" or 0 in dims:
        raise site.refuse(f"'{name}' over positions {dims} adds them in an order that a shift changes", "use a mean over (H, W)")
    return Effect(None, swap=reduce.ExactMean(dims, keepdim), inputs=(site.input,), change="exact mean")


def _interpolate(site: Site) -> Effect:
    if site.map is None:
        return Effect(None)
    site.image_axes()
    before, after = site.shape[2:], site.node.meta["shape"][2:]
    mode = site.argument(3, "mode", "nearest")
    if after[0] % before[0] or after[1] % before[1]:
        raise site.refuse(f"interpolation from {before} to {after} is not by an integer factor")
    if mode not in MODES:
        raise site.refuse(f"interpolation by '{mode}'", f"use one of {', '.join(MODES)}")
    factor = after[0] // before[0], after[1] // before[1]
    change = "wraps, half-pixel centres, moved back" if mode != "nearest" else "moved back"
    return Effect(site.map, up=factor, swap=CircularUpsample(factor, mode), inputs=(site.input,), change=change,
                  breaks="" if mode == "nearest" else "repeats the border")  # fmt: skip


def _drop_axes(site: Site, axes: tuple[int, ...]) -> Grid:
    rows, columns = (d - sum(a < d for a in axes) for d in site.map.dims)
    return Grid(site.map.lattice, (rows, columns))


def _group_norm(site: Site) -> Effect:
    if site.map is None:
        return Effect(None)
    if site.module is None:
        raise site.refuse("functional normalisation over positions", "use torch.nn.GroupNorm or InstanceNorm2d")
    site.image_axes()
    exact = reduce.ExactGroupNorm if isinstance(site.module, nn.GroupNorm) else reduce.ExactInstanceNorm2d
    return Effect(site.map, swap=_recast(site.module, exact), inputs=(site.input,), change="exact statistics")


def _layer_norm(site: Site) -> Effect:
    if site.map is None:
        return Effect(None)
    axes = len(as_shape(site.argument(1, "normalized_shape")))
    if max(site.map.dims) >= len(site.shape) - axes:
        raise site.refuse("layer normalisation over positions, with a weight for each", "normalise the channels alone")
    return Effect(site.map)


def as_shape(size: Any) -> tuple:
    return (size,) if isinstance(size, int) else tuple(size)


def _linear(site: Site) -> Effect:
    if site.map is None:
        return Effect(None)
    if len(site.shape) - 1 in site.map.dims:
        raise site.refuse("a linear layer mixes positions")
    if site.module is None:
        raise site.refuse("a functional linear layer over pixels", "use torch.nn.Linear or a 1 x 1 convolution")
    if type(site.module) is not nn.Linear:
        return Effect(site.map)
    return Effect(site.map, swap=_recast(site.module, PixelwiseLinear), inputs=(site.input,))


def _reshape(site: Site) -> Effect:
    """Reshapes keep the lattice where rows and columns stay axes of their own; where they melt, the period is the map."""
    if site.map is None:
        return Effect(None)
    before, after = site.shape, site.node.meta["shape"]
    places = {math.prod(after[:axis]): axis for axis in reversed(range(len(after)))}
    found = [places.get(math.prod(before[:d])) for d in site.map.dims]
    for i, d in enumerate(site.map.dims):  # among axes of size 1 several start at the same place
        while found[i] is not None and after[found[i]] == 1 != before[d]:
            found[i] = found[i] + 1 if found[i] + 1 < len(after) else None
    if all(f is not None and after[f] == before[d] for f, d in zip(found, site.map.dims, strict=True)):
        return Effect(Grid(site.map.lattice, (found[0], found[1])))
    if site.sizes == (1, 1):
        return Effect(None)
    if site.map.dims != (2, 3) or len(before) != 4:
        raise site.refuse(f"flattening {before} to {after} mixes positions with channels")
    return Effect(None, site.sizes, change="the whole map starts at its origin", breaks="weights differ by position")


def _permute(site: Site) -> Effect:
    if site.map is None:
        return Effect(None)
    rank = len(site.shape)
    if name_of(site.node) == "permute":
        order = site.argument(1, "dims") if site.module is not None or len(site.node.args) == 2 else site.node.args[1:]
        order = [d % rank for d in as_shape(order)]
    else:
        a, b = (d % rank for d in (site.argument(1, "dim0"), site.argument(2, "dim1")))
        order = list(range(rank))
        order[a], order[b] = order[b], order[a]
    return Effect(Grid(site.map.lattice, (order.index(site.map.dims[0]), order.index(site.map.dims[1]))))


def _along_channels(site: Site) -> Effect:
    """cat, chunk, split, softmax: on an axis that is not a position."""
    if site.map is None:
        return Effect(None)
    first = site.input[0] if isinstance(site.input, tuple | list) else site.input
    rank = len(first.meta["shape"])
    name = name_of(site.node)
    dim = site.argument(2 if name in ("chunk", "split") else 1, "dim", 0)
    if dim is None or dim % rank in site.map.dims:
        raise site.refuse(f"'{name}' along axis {dim}, a position axis of the map")
    shape = site.node.meta["shape"]
    return Effect(tuple(site.map for _ in shape) if name in ("chunk", "split") else site.map)


def _getitem(site: Site) -> Effect:
    value = site.values.get(site.input)
    index = site.node.args[1]
    if isinstance(value, tuple):
        return Effect(value[index])
    if value is None:
        return Effect(None)
    index = index if isinstance(index, tuple) else (index,)
    if Ellipsis in index:
        at = index.index(Ellipsis)
        index = (*index[:at], *[slice(None)] * (len(site.shape) - len(index) + 1), *index[at + 1 :])
    if any(not isinstance(i, int | slice) for i in index):
        raise site.refuse(f"indexing a map by {index}", "index it with plain slices")
    period, dropped = [1, 1], []
    for axis, i in enumerate(index):
        if axis in value.dims and i != slice(None):
            if not isinstance(i, slice) or i.stop is not None or i.start not in (None, 0) or (i.step or 1) < 1:
                raise site.refuse("cropping a map keeps some positions and loses others", "crop before the network")
            period[value.dims.index(axis)] = i.step or 1
        elif isinstance(i, int):
            dropped.append(axis)
    if period != [1, 1]:
        site.image_axes()
        return Effect(value, (period[0], period[1]), change="origin from the features", breaks=_FRAME)
    return Effect(_drop_axes(site, tuple(dropped)))


def _marked(site: Site) -> Effect:
    period = marked_period(site.module) if site.module is not None else None
    assert period is not None
    return Effect(site.map, (period, period), breaks="" if period == 1 else _FRAME)


def _pixelwise(site: Site) -> Effect:
    if isinstance(site.map, tuple):
        raise site.refuse("an operation on a tuple of maps")
    return Effect(site.map)


def _same_for_all(site: Site) -> Effect:
    return Effect(None)


_MODULES: dict[type[nn.Module], Callable[[Site], Effect]] = {
    nn.Conv2d: _conv,
    nn.MaxPool2d: _pool(nn.MaxPool2d, layers.CircularMaxPool2d),
    nn.AvgPool2d: _pool(nn.AvgPool2d, layers.CircularAvgPool2d),
    nn.AdaptiveAvgPool2d: _adaptive_pool(True),
    nn.AdaptiveMaxPool2d: _adaptive_pool(False),
    **dict.fromkeys((nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d), _interpolate),
    nn.GroupNorm: _group_norm, nn.InstanceNorm2d: _group_norm, nn.LayerNorm: _layer_norm,
    nn.Linear: _linear, nn.Flatten: _reshape, nn.Unflatten: _reshape,
    **dict.fromkeys((nn.SiLU, nn.GELU, nn.Sigmoid, nn.Mish, nn.ELU, nn.CELU, nn.SELU, nn.Softplus, nn.Tanh, nn.LogSigmoid),
                    _activation(None)),
    **dict.fromkeys((nn.BatchNorm2d, nn.SyncBatchNorm, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.Hardswish,
                     nn.Hardsigmoid, nn.Hardtanh, nn.Identity, nn.Dropout, nn.Dropout2d, nn.AlphaDropout,
                     nn.LocalResponseNorm, nn.ChannelShuffle, nn.Softsign, nn.Threshold), _pixelwise),
    **dict.fromkeys((nn.Softmax, nn.LogSoftmax, nn.GLU), _along_channels),
}  # fmt: skip

_FUNCTIONS: dict[str, Callable[[Site], Effect]] = {
    "conv2d": _conv,
    "max_pool2d": _pool(nn.MaxPool2d, layers.CircularMaxPool2d),
    "avg_pool2d": _pool(nn.AvgPool2d, layers.CircularAvgPool2d),
    "adaptive_avg_pool2d": _adaptive_pool(True),
    "adaptive_max_pool2d": _adaptive_pool(False),
    "interpolate": _interpolate,
    "group_norm": _group_norm, "instance_norm": _group_norm, "layer_norm": _layer_norm, "linear": _linear,
    "silu": _activation(nn.SiLU), "gelu": _activation(nn.GELU), "sigmoid": _activation(nn.Sigmoid),
    "mish": _activation(nn.Mish), "elu": _activation(nn.ELU), "softplus": _activation(nn.Softplus), "tanh": _activation(nn.Tanh),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "std", "var"), _mean),
    **dict.fromkeys(("flatten", "view", "reshape", "unflatten", "squeeze", "unsqueeze"), _reshape),
    **dict.fromkeys(("permute", "transpose", "swapaxes"), _permute),
    **dict.fromkeys(("cat", "concat", "concatenate", "chunk", "split", "softmax", "log_softmax", "glu"), _along_channels),
    **dict.fromkeys(("size", "getattr", "dim", "numel", "_assert", "eq", "ne", "is_floating_point"), _same_for_all),
    "getitem": _getitem,
    **dict.fromkeys(("add", "sub", "mul", "truediv", "div", "neg", "abs", "square", "sqrt", "rsqrt", "pow", "clamp", "clip",
                     "relu", "relu6", "leaky_relu", "prelu", "hardswish", "hardsigmoid", "hardtanh", "maximum", "minimum",
                     "rsub", "reciprocal", "sign", "where", "contiguous", "clone", "detach", "to", "float", "half", "type",
                     "type_as", "batch_norm", "local_response_norm", "channel_shuffle", "lerp", "addcmul"), _pixelwise),
}  # fmt: skip

_DISPATCHED = {F.max_pool2d: "max_pool2d", F.adaptive_max_pool2d: "adaptive_max_pool2d"}  # their __name__ is 'fn'
_ALIASES = {"iadd": "add", "imul": "mul", "isub": "sub", "itruediv": "truediv", "concat": "cat"}


def name_of(node: fx.Node) -> str:
    """The plain name of a called function or method: 'add' for +, += and torch.add_."""
    if node.op == "call_method":
        name = str(node.target)
    else:
        name = _DISPATCHED.get(node.target) or getattr(node.target, "__name__", str(node.target))  # type: ignore[arg-type]
    name = name if name.startswith("_") else name.rstrip("_")
    return _ALIASES.get(name, name)


def rule_for(site: Site) -> Callable[[Site], Effect]:
    """The rule of an operation that meets a map; raises NotEquivariantError, naming it, where there is none."""
    if site.node.op == "call_module":
        if marked_period(site.module) is not None:  # type: ignore[arg-type]
            return _marked
        kind = type(site.module).__name__
        if kind in ("StochasticDepth", "DropPath"):
            return _pixelwise
        rule = _MODULES.get(type(site.module))  # type: ignore[arg-type]
    else:
        kind = name_of(site.node)
        rule = _FUNCTIONS.get(kind)
    if rule is None:
        remedy = "if it does, say so with mass.mark_leaf(its class, period=…)" if site.module is not None else ""
        raise site.refuse(f"{kind} is not known to commute with shifts", remedy)
    return rule

