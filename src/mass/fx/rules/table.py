"""What each operation does to a lattice: its period, and the module that does the same circularly and exactly.

A rule reads one node of the traced graph (`Site`) and returns its `Effect`. An operation without a rule, or one that its
rule refuses, has the whole map as its period (mass.fx.rules.whole_map): nothing is assumed to commute with shifts. Windowed operations have their rules in
`mass.fx.rules.window`; here are those that reduce, move or mix axes, and the tables; what is left must act pixel by pixel.
"""

from __future__ import annotations

from torch import nn

from mass.fx.rule import Effect, Rule, Site, name_of
from mass.fx.rules.conv import conv, conv_transpose
from mass.fx.rules.normalisation import EXACT_NORMS, _batch_norm, _group_norm, _layer_norm
from mass.fx.rules.padding import pad
from mass.fx.rules.pointwise import _activation, _as_input, _exponential, _linear, _marked, _pixelwise, _power
from mass.fx.rules.pooling import adaptive_avg_pool, adaptive_max_pool, avg_pool, max_pool
from mass.fx.rules.reduction import _mean
from mass.fx.rules.resize import _shuffle, _unshuffle, interpolate
from mass.fx.rules.shape import (
    _along_channels,
    _expand,
    _getitem,
    _merge_patches,
    _no_tensor,
    _permute,
    _reshape,
    _roll,
    _stack,
)
from mass.fx.rules.unpooling import max_unpool
from mass.marks import marked_period
from mass.nn.pointwise import Elementwise


def _batch_norm_with_activation(site: Site) -> Effect:
    """Subclasses of BatchNorm2d that end in an activation (timm's): a leaf, for they read self.training."""
    assert site.module is not None
    for name, child in site.module.named_children():
        if _MODULES.get(type(child)) is _exponential:
            setattr(site.module, name, Elementwise(child))
    return Effect(site.map)


_MODULES: dict[type[nn.Module], Rule] = {
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), conv),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), max_pool),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), avg_pool),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), adaptive_avg_pool),
    **dict.fromkeys((nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d), adaptive_max_pool),
    **dict.fromkeys((nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d), interpolate),
    **dict.fromkeys((getattr(nn, f"{kind}Pad{n}d") for n in (1, 2, 3)
                     for kind in ("Zero", "Constant", "Reflection", "Replication", "Circular")), pad),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), conv_transpose),
    nn.MaxUnpool2d: max_unpool,
    nn.PixelShuffle: _shuffle, nn.PixelUnshuffle: _unshuffle,
    **dict.fromkeys(EXACT_NORMS, _group_norm), nn.LayerNorm: _layer_norm,
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
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), conv),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), conv_transpose),
    **dict.fromkeys((f"max_pool{n}d{name}" for n in (1, 2, 3) for name in ("", "_with_indices")), max_pool),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d", "avg_pool3d"), avg_pool),
    **dict.fromkeys(("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"), adaptive_avg_pool),
    **dict.fromkeys(("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"), adaptive_max_pool),
    "interpolate": interpolate,
    "pad": pad, "max_unpool2d": max_unpool,
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
