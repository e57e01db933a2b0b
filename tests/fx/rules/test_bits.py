"""f(shift(x)) == shift(f(x)), to the bit, of every operation with a pointwise rule: dtypes, layouts, threads, odd sizes."""

import copy

import numpy
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mass
from mass.fx.rule import _FUNCTIONS, _MODULES
from mass.fx.rules import pointwise

# By the rule's name of what is called. What is written as a method or an operator too goes by the same rule.
ONE = {name: getattr(torch, name) for name in ["sigmoid", "tanh", "floor", "ceil", "round", "trunc", "frac", "isnan", "isinf", "isfinite", "nan_to_num", "neg", "abs", "sign", "square", "reciprocal", "logical_not", "clone", "detach", "positive", "sgn", "signbit", "deg2rad", "rad2deg", "zeros_like", "ones_like"]}  # fmt: skip
ONE |= {name: getattr(torch, name) for name in ["exp", "exp2", "expm1", "erf", "erfc", "sin", "cos", "tan", "atan", "sinh", "cosh", "asinh", "sinc"]}  # fmt: skip
ONE |= {name: (lambda x, name=name: getattr(torch, name)(x.abs() + 1.1)) for name in ["log", "log2", "log10", "log1p", "acosh", "lgamma", "digamma", "i0"]}  # fmt: skip
ONE |= {name: (lambda x, name=name: getattr(torch, name)(x * 0.1)) for name in ["asin", "acos", "atanh", "erfinv"]}
ONE |= {name: (lambda x, name=name: getattr(F, name)(x, 0.3, False)) for name in ["dropout", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"]}  # fmt: skip
ONE |= {name: getattr(F, name) for name in ["softsign", "hardshrink", "softshrink", "tanhshrink", "celu", "selu", "logsigmoid", "rrelu"]}  # fmt: skip
ONE |= {name: getattr(F, name) for name in ["relu", "relu6", "leaky_relu", "hardswish", "hardsigmoid", "hardtanh", "silu", "gelu", "mish", "elu", "softplus"]}  # fmt: skip
ONE |= {name: (lambda x, name=name: getattr(x, name)()) for name in ["contiguous", "float", "half", "double", "bfloat16", "long", "int", "short", "bool"]}  # fmt: skip
ONE |= {cls.__name__: cls() for cls in (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Softsign, nn.SiLU, nn.GELU, nn.Sigmoid,
    nn.Mish, nn.ELU, nn.Softplus, nn.Tanh, nn.CELU, nn.SELU, nn.LogSigmoid, nn.Identity, nn.Dropout,
    nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.RReLU, nn.Hardshrink, nn.Softshrink, nn.Tanhshrink)}  # fmt: skip
ONE |= {
    "Threshold": nn.Threshold(0.1, 0.2),
    "PReLU": nn.PReLU(3),
    "ChannelShuffle": nn.ChannelShuffle(3),
    "LocalResponseNorm": nn.LocalResponseNorm(2),
    "prelu": lambda x: F.prelu(x, torch.tensor([0.3], dtype=x.dtype)),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 3),
    "local_response_norm": lambda x: F.local_response_norm(x, 5, 0.3, 0.7),
    "sqrt": lambda x: x.abs().sqrt(),
    "rsqrt": lambda x: (x.abs() + 0.1).rsqrt(),
    "clamp": lambda x: x.clamp(-0.3, 0.5),
    "clip": lambda x: x.clip(-0.3, 0.5),
    "clamp_min": lambda x: x.clamp_min(-0.3),
    "clamp_max": lambda x: torch.clamp_max(x, 0.3),
    "threshold": lambda x: F.threshold(x, 0.1, 0.2),
    "logit": lambda x: torch.logit(x, 1e-3),
    "xlogy by a number": lambda x: torch.xlogy(x, 3.0),
    "hypot with what is pooled": lambda x: torch.hypot(x, x.mean((2, 3), keepdim=True)),
    "exp in place": lambda x: (x * 1.0).exp_(),
    "masked_fill": lambda x: x.masked_fill(x > 0, 0.1),
    "invert": lambda x: ~(x > 0),
    "type": lambda x: x.type(torch.float32),
    "to": lambda x: x.to(torch.float32),
    "float_power": lambda x: x.abs().float_power(1.7),
    "gelu of tanh": lambda x: F.gelu(x, approximate="tanh"),
    "add a number": lambda x: torch.add(x, 0.7, alpha=0.3),
    "sub a number": lambda x: torch.sub(x, 0.7, alpha=0.3),
    "rsub from a number": lambda x: torch.rsub(x, 0.7, alpha=0.3),
    "a number minus": lambda x: 1.3 - x,
    "a number over": lambda x: 0.3 / x,
    "add what is pooled": lambda x: torch.add(x, x.mean((2, 3), keepdim=True), alpha=0.3),
    "to the power of a map": lambda x: torch.pow(2.0, x),
    **{f"pow {exponent}": lambda x, exponent=exponent: x.abs() ** exponent for exponent in (-2, -1, -0.5, 0.5, 2, 3, 4, 1.7)},
    "batch's statistics": nn.BatchNorm2d(3, track_running_stats=False),
    "running statistics": nn.BatchNorm2d(3),
}  # fmt: skip
TWO = {name: getattr(torch, name) for name in ["add", "sub", "rsub", "mul", "div", "maximum", "minimum", "fmod", "remainder", "eq", "ne", "gt", "ge", "lt", "le", "logical_and", "logical_or", "logical_xor", "atan2", "hypot", "logaddexp", "logaddexp2", "fmax", "fmin", "copysign", "heaviside"]}  # fmt: skip
TWO |= {
    "truediv": lambda x, y: x / y,
    "xlogy": lambda x, y: torch.xlogy(x, y.abs() + 0.1),
    "floordiv": lambda x, y: x // y,
    "mod": lambda x, y: x % y,
    "and": lambda x, y: (x > 0) & (y > 0),
    "or": lambda x, y: (x > 0) | (y > 0),
    "xor": lambda x, y: (x > 0) ^ (y > 0),
    "addcmul": lambda x, y: torch.addcmul(x, y, y, value=0.3),
    "lerp": lambda x, y: torch.lerp(x, y, 0.3),
    "where": lambda x, y: torch.where(x > 0, x, y),
    "type_as": lambda x, y: x.type_as(y),
    "add alpha": lambda x, y: torch.add(x, y, alpha=0.3),
    "sub alpha": lambda x, y: torch.sub(x, y, alpha=0.3),
    "rsub alpha": lambda x, y: torch.rsub(x, y, alpha=0.3),
    "add alpha in place": lambda x, y: (x * 1.0).add_(y, alpha=0.3),
    "div floor": lambda x, y: torch.div(x, y, rounding_mode="floor"),
}
# Of other libraries, or with tests of their own.
ELSEWHERE = {"Dropout1d", "dropout1d", "StochasticDepth", "DropPath", "pow", "Linear", "linear"}
SMALL, LARGE = (
    ((1, 3, 3, 1), (2, 3, 5, 7)),
    ((1, 3, 75, 77), (3, 3, 61, 95)),
)  # ATen shares the large ones among threads


class Call(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *maps):
        return self.function(*maps)


ELSEWHERE |= {"torchvision.transforms.transforms.Normalize", "torchvision.transforms.v2._misc.Normalize"}


def test_every_pointwise_operation_is_here():
    rules = {
        value
        for value in vars(pointwise).values()
        if callable(value) and getattr(value, "__module__", "") == pointwise.__name__
    }
    known = [
        getattr(key, "__name__", key)
        for table in (_FUNCTIONS, _MODULES)
        for key, operation in table.items()
        if operation.rule in rules
    ]
    assert set(known) <= {*ONE, *TWO, *ELSEWHERE}


def as_given(values, layout):
    if layout == "channels last":
        return values.contiguous(memory_format=torch.channels_last)
    if layout == "from numpy":
        return (
            torch.from_numpy(numpy.ascontiguousarray(values.permute(0, 2, 3, 1).float().numpy()))
            .permute(0, 3, 1, 2)
            .to(values.dtype)
        )
    return values


@pytest.mark.parametrize(
    ("function", "count"),
    [(function, 1) for function in ONE.values()] + [(function, 2) for function in TWO.values()],
    ids=[*ONE, *(f"{name} of two" for name in TWO)],
)
def test_it_rounds_alike_everywhere(function, count):
    model = (function if isinstance(function, nn.Module) else Call(function)).eval()
    wrong = []
    for shape, layout, most in [(s, "channels first", 1) for s in SMALL] + list(
        zip(LARGE, ("channels last", "from numpy"), (6, 6), strict=True)
    ):
        maps = [torch.randn(shape) for _ in range(count)]
        converted = mass.convert(model, tuple(maps), verify=False)
        t = shape[2] // 2, shape[3] // 3 + 1
        for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
            run, given = copy.deepcopy(converted).to(dtype), [as_given(x.to(dtype), layout) for x in maps]
            for threads in range(1, most + 1):
                torch.set_num_threads(threads)
                with torch.no_grad():
                    y, moved = run(*given), run(*(x.roll(t, (2, 3)) for x in given))
                if not torch.equal(y.roll(t, (2, 3)).nan_to_num(7.0), moved.nan_to_num(7.0)):
                    wrong.append((str(dtype), shape, layout, threads))
    assert not wrong


@pytest.mark.parametrize(
    "name", ["gelu of tanh", "rsqrt", "LocalResponseNorm", "local_response_norm", "batch's statistics"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_its_values_stay(name, dtype):
    x = torch.randn(2, 3, 9, 11)
    model = (ONE[name] if isinstance(ONE[name], nn.Module) else Call(ONE[name])).eval()
    converted = mass.convert(model, x).to(dtype)
    model = copy.deepcopy(model).to(dtype)
    assert torch.allclose(converted(x.to(dtype)), model(x.to(dtype)), rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
@pytest.mark.parametrize("name", ["add alpha", "sub alpha", "rsub alpha", "add alpha in place"])
def test_sums_with_a_factor_keep_values_and_dtype(name, dtype):
    function = {
        **TWO,
        "add alpha in place": lambda x, y: x.add_(y, alpha=2),
        "rsub alpha": lambda x, y: torch.rsub(x, y, alpha=2),
    }[name]
    if dtype == torch.int64:
        function = {
            "add alpha": lambda x, y: torch.add(x, y, alpha=2),
            "sub alpha": lambda x, y: torch.sub(x, y, alpha=2),
        }.get(name, function)
    model = Call(lambda x, y: function(x.to(dtype), y.to(dtype)))
    x, y = torch.randn(2, 3, 4, 6) * 9, torch.randn(2, 3, 4, 6) * 9
    expected, found = model(x, y), mass.convert(model, (x, y), verify=False)(x, y)
    assert found.dtype == expected.dtype == dtype
    assert torch.allclose(found.double(), expected.double(), rtol=1e-6, atol=0.2 if dtype == torch.bfloat16 else 1e-6)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(32, 48), (64, 64)])
def test_an_image_from_numpy_is_the_image(channels, size):
    """Its channels lie together in memory until `roll` takes them apart: other kernels would be chosen, of other bits."""
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(channels, 16, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(16, 24, 3, 2, 1),
        nn.SiLU(),
        nn.Conv2d(24, 40, 3, padding=1),
    ]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, 9)).eval()
    image = numpy.random.default_rng(0).random((1, *size, channels), numpy.float32)
    x = torch.from_numpy(image).permute(0, 3, 1, 2)
    converted = mass.convert(model, x)
    with torch.no_grad():
        expected = converted(x)
        for t in ((1, 0), (0, 1), (5, 7), (17, 30)):
            assert torch.equal(converted(x.roll(t, (2, 3))), expected)
            assert torch.equal(converted(mass.shift(x, torch.tensor(t))), expected)
        assert torch.equal(converted(x.contiguous()), expected)
        assert torch.equal(converted(x[:, :, :, :].contiguous(memory_format=torch.channels_last)), expected)
