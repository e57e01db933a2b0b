"""Rules of operations on single positions: each commutes with all shifts; some need a kernel that rounds alike everywhere."""

from __future__ import annotations

import math
from typing import Any

from torch import fx, nn

from mass.fx.nodes import concrete, is_in_place, name_of, nodes_in, writes_out
from mass.fx.rule import Effect, Recast, Site, operation_of_module, rule
from mass.nn.pointwise import (
    Elementwise,
    FloatPower,
    FunctionalLinear,
    LocalResponse,
    MathFunction,
    MathFunctionOfTwo,
    PixelwiseLinear,
    Power,
    PowerOf,
    ReciprocalRoot,
    ScaledSum,
)


@rule(
    modules=[nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.RReLU, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Hardshrink],
    functions=["relu", "relu6", "leaky_relu", "rrelu", "hardswish", "hardsigmoid", "hardtanh", "hardshrink"],
)
@rule(modules=[nn.Softsign, nn.Softshrink, nn.Threshold], functions=["softsign", "softshrink", "threshold"])
@rule(modules=[nn.PReLU], functions=["prelu"], arguments=("input", "weight"), weights=("weight",))
@rule(functions=["mul", "truediv", "div", "addcmul", "lerp", "maximum", "minimum"])
@rule(
    functions=[
        "logical_and",
        "logical_or",
        "logical_not",
        "logical_xor",
        "and",
        "or",
        "xor",
        "invert",
        "floordiv",
        "floor",
        "ceil",
        "round",
        "trunc",
        "frac",
        "mod",
        "fmod",
        "remainder",
        "isnan",
        "isinf",
        "isfinite",
        "nan_to_num",
    ]
)
@rule(
    functions=["neg", "positive", "abs", "sign", "sgn", "signbit", "square", "sqrt", "reciprocal", "deg2rad", "rad2deg"]
)
@rule(functions=["clamp", "clip", "clamp_min", "clamp_max", "fmax", "fmin", "copysign", "heaviside"])
@rule(functions=["zeros_like", "ones_like"])
@rule(functions=["eq", "ne", "gt", "ge", "lt", "le", "where", "masked_fill"])
@rule(
    functions=[
        "contiguous",
        "clone",
        "detach",
        "float",
        "half",
        "double",
        "bfloat16",
        "type",
        "long",
        "int",
        "short",
        "bool",
    ]
)
@rule(
    modules=[
        nn.Identity,
        nn.Dropout,
        nn.Dropout1d,
        nn.Dropout2d,
        nn.Dropout3d,
        nn.AlphaDropout,
        nn.FeatureAlphaDropout,
    ],
    functions=["dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"],
)
@rule(modules=["StochasticDepth", "DropPath"])  # they read self.training: traced through, one of the two would stay
@rule(modules=["torchvision.transforms.transforms.Normalize", "torchvision.transforms.v2._misc.Normalize"])
@rule(modules=[nn.ChannelShuffle], functions=["channel_shuffle"])
def pointwise(site: Site) -> Effect:
    return Effect(site.map)


@rule(functions=["add", "sub", "rsub"], arguments=("input", "other"))
def total(site: Site) -> Effect:
    """Sums and differences; one with a factor is two operations, each of which rounds alike everywhere."""
    alpha = concrete(site.node.kwargs.get("alpha", 1))
    if nodes_in(alpha):
        raise site.refuse("a factor alpha that is a tensor", "multiply by it instead")
    if alpha == 1 and not nodes_in(site.node.kwargs.get("alpha")):
        return Effect(site.map)
    name = name_of(site.node)
    swap = ScaledSum(alpha if name == "add" else -alpha, is_in_place(site.node), backwards=name == "rsub")
    return Effect(site.map, swap=swap, inputs=(site.given("input"), site.given("other")))


@rule(
    modules=[nn.LocalResponseNorm], functions=["local_response_norm"], arguments=("input", "size", "alpha", "beta", "k")
)
def local_response_norm(site: Site) -> Effect:
    if 1 in site.map.dims:
        raise site.refuse("local response normalisation takes positions for channels")
    defaults = {"alpha": 1e-4, "beta": 0.75, "k": 1.0}
    swap = LocalResponse(
        site.argument("size"), **{name: site.argument(name, value) for name, value in defaults.items()}
    )
    return Effect(site.map, swap=swap, inputs=(site.input,))


@rule(functions=["to", "type_as"])
def as_input(site: Site) -> Effect:
    """`x.to(y)`, `x.type_as(y)`: what x is, whatever y is."""
    return Effect(site.values.get(site.input))


@rule(modules=[nn.SiLU], functions=["silu"], becomes=nn.SiLU)
@rule(modules=[nn.GELU], functions=["gelu"], becomes=nn.GELU)
@rule(modules=[nn.Sigmoid], functions=["sigmoid"], becomes=nn.Sigmoid)
@rule(modules=[nn.Mish], functions=["mish"], becomes=nn.Mish)
@rule(modules=[nn.ELU], functions=["elu"], becomes=nn.ELU)
@rule(modules=[nn.Softplus], functions=["softplus"], becomes=nn.Softplus)
@rule(modules=[nn.Tanh], functions=["tanh"], becomes=nn.Tanh)
@rule(modules=[nn.Tanhshrink], functions=["tanhshrink"], becomes=nn.Tanhshrink)
@rule(modules=[nn.CELU], functions=["celu"], becomes=nn.CELU)
@rule(modules=[nn.SELU], functions=["selu"], becomes=nn.SELU)
@rule(modules=[nn.LogSigmoid], functions=["logsigmoid"], becomes=nn.LogSigmoid)
@rule(functions=["rsqrt"], becomes=ReciprocalRoot)
def exponential(site: Site) -> Effect:
    """Activations built on exp, and others whose vector and scalar code round differently."""
    if site.module is not None:
        return Effect(site.map, swap=Elementwise(site.module), inputs=(site.input,))
    options = _options(site, "input", "inplace")
    swap = Elementwise(site.becomes(*site.node.args[1:], **options), is_in_place(site.node))
    return Effect(site.map, swap=swap, inputs=(site.input,))


@rule(
    functions=[
        "exp",
        "exp2",
        "expm1",
        "log",
        "log2",
        "log10",
        "log1p",
        "logit",
        "erf",
        "erfc",
        "erfinv",
        "lgamma",
        "digamma",
    ]
)
@rule(functions=["sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "sinc", "i0"])
def transcendental(site: Site) -> Effect:
    """Functions whose vector and scalar code round differently."""
    options = _options(site, "input")
    function = MathFunction(name_of(site.node), *site.node.args[1:], **options)
    return Effect(site.map, swap=Elementwise(function, is_in_place(site.node)), inputs=(site.input,))


@rule(functions=["atan2", "hypot", "logaddexp", "logaddexp2", "xlogy"], arguments=("input", "other"))
def transcendental_of_two(site: Site) -> Effect:
    if is_in_place(site.node):
        raise site.refuse("it writes to a tensor that it is given", "call it without out=, and not in place")
    return Effect(
        site.map, swap=MathFunctionOfTwo(name_of(site.node)), inputs=(site.given("input"), site.given("other"))
    )


def _options(site: Site, *but: str) -> dict[str, Any]:
    """What a call is given by name beside its map; numbers alone."""
    if writes_out(site.node):
        raise site.refuse("it writes to a tensor that it is given", "call it without out=")
    options = {k: v for k, v in site.node.kwargs.items() if k not in (*but, "out")}
    if nodes_in((site.node.args[1:], options)):
        raise site.refuse(f"an argument of '{name_of(site.node)}' is computed in the network", "give it a number")
    return options


@rule(subclasses=[nn.BatchNorm2d])
def batch_norm_with_activation(site: Site) -> Effect:
    """Subclasses of BatchNorm2d that end in an activation (timm's); they read self.training."""
    assert site.module is not None
    operations = {name: (child, operation_of_module(child)) for name, child in site.module.named_children()}
    parts = {
        name: Elementwise(child)
        for name, (child, operation) in operations.items()
        if operation is not None and operation.rule is exponential
    }
    return Effect(site.map, parts=parts)


@rule(functions=["pow"], arguments=("input", "exponent"))
def power(site: Site) -> Effect:
    exponent, base = site.given("exponent"), site.given("input", site.given("self"))
    if isinstance(exponent, fx.Node) and site.values.get(exponent):
        if isinstance(base, fx.Node) and math.prod(base.meta["shape"] or (1,)) > 1:
            raise site.refuse("a map to the power of a map")
        return Effect(site.map, swap=PowerOf(), inputs=(base, exponent))
    if site.argument("exponent") in (1, 2, 3, 0.5):  # products and a square root: the same everywhere
        return Effect(site.map)
    return Effect(site.map, swap=Power(), inputs=(site.input, site.given("exponent")))


@rule(functions=["float_power"], arguments=("input", "exponent"))
def float_power(site: Site) -> Effect:
    if site.values.get(site.given("exponent")):
        raise site.refuse("float_power with a map for its exponent", "use ** instead")
    return Effect(site.map, swap=FloatPower(), inputs=(site.input, site.given("exponent")))


@rule(
    modules=[nn.Linear],
    functions=["linear"],
    arguments=("input", "weight", "bias"),
    weights=("weight", "bias"),
    becomes=PixelwiseLinear,
)
def linear(site: Site) -> Effect:
    if len(site.shape) - 1 in site.map.dims:
        raise site.refuse("a linear layer mixes positions")
    if site.module is not None:
        return Effect(site.map, swap=Recast(site.becomes), inputs=(site.input,))
    weight, bias = site.argument("weight"), site.argument("bias")
    if site.values.get(weight):
        raise site.refuse("a linear layer whose weights are a map")
    return Effect(site.map, swap=FunctionalLinear(), inputs=(site.input, weight, bias))
