"""Derivatives by torch.func and dual numbers are those of `backward()`: the same gradients, and <w, J v> = <J^T w, v>."""

import pytest
import torch
import torch.autograd.forward_ad as dual
from torch import nn

import mass
from mass.baselines import APS, FLC, LPS, TIPS, DDAC2d, PolyphaseScores
from mass.functional.conv import circular_conv
from mass.functional.exact import exact_mean
from mass.functional.origin.symmetrise import symmetrise
from mass.functional.padding import circular_pad
from mass.nn.conv import CircularConv2d
from mass.nn.conv_transpose import CircularConvTranspose2d
from mass.nn.exact import ExactGroupNorm

ORIGIN = torch.tensor([[1, 2], [7, 0]])
SYMMETRIC = torch.rand(2, 1, 4, 8, generator=torch.Generator().manual_seed(8)).repeat(1, 1, 2, 1)
KERNEL = torch.randn(3, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(9))


def unpooled(x):
    pool, back = mass.MassMaxPool2d(2), mass.MassMaxUnpool2d(2)
    return back(*pool.with_indices(x))


class Lps(nn.Module):
    def __init__(self):
        super().__init__()
        self.scores, self.sample = PolyphaseScores(4, 2), LPS(2)

    def forward(self, x):
        return self.sample(x, self.scores(x))


FUNCTIONS = {
    "shift": lambda x: mass.shift(x, ORIGIN),
    "shift of videos": lambda x: mass.shift(x.unflatten(1, (2, 2)), ORIGIN),
    "shift, channels last": lambda x: mass.shift(x.movedim(1, -1).contiguous().movedim(-1, 1), ORIGIN),
    "restore": lambda x: mass.restore(x, ORIGIN),
    "circular_pad": lambda x: circular_pad(x, (3, 1, 0, 2)),
    "circular_pad at an origin": lambda x: circular_pad(x, (3, 1, -1, 2), ORIGIN),
    "exact_mean": exact_mean,
    "exact_mean of all": lambda x: exact_mean(x, (0, 1, 2, 3)),
    "canvas": lambda x: mass.canvas(x, 12, "mean", (3, 1)),
    "signals": lambda x: circular_conv(x[:, :, 0], KERNEL, None, 2, 1),
    "unpooling": unpooled,
    "symmetrise": lambda x: symmetrise(x, SYMMETRIC.to(x.dtype)),
}
MODULES = {
    "MassConv2d": lambda: mass.MassConv2d(4, 3, 3, 2, 1),
    "MassConv2d 1 x 1": lambda: mass.MassConv2d(4, 3, 1, 2),
    "MassConv2d, depthwise": lambda: mass.MassConv2d(4, 4, 3, 2, 1, groups=4),
    "MassMaxPool2d": lambda: mass.MassMaxPool2d(3, 2, 1),
    "MassAvgPool2d": lambda: mass.MassAvgPool2d(2),
    "MassPool2d": lambda: mass.MassPool2d(nn.LPPool2d(2, 3, 2)),
    "CircularConv2d": lambda: CircularConv2d(4, 3, 3, 1, 1),
    "CircularConv2d 1 x 1": lambda: CircularConv2d(4, 3, 1),
    "CircularConvTranspose2d": lambda: CircularConvTranspose2d(4, 3, 3, 2, 1),
    "BlurPool": lambda: mass.BlurPool(4),
    "BlurPool, reflected": lambda: mass.BlurPool(4, padding_mode="reflect"),
    "APS": APS,
    "LPS": Lps,
    "FLC": FLC,
    "DDAC2d": lambda: DDAC2d(4, groups=2),
    "TIPS": lambda: TIPS(4),
    "ExactGroupNorm": lambda: ExactGroupNorm(2, 4),
}


def numbers(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def made(name, dtype):
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    torch.manual_seed(0)
    return MODULES[name]().eval().to(dtype).requires_grad_(False)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", [*FUNCTIONS, *MODULES])
def test_forward_is_reverse(name, dtype):
    """By torch.func.jvp and by dual numbers; the value is what it is without."""
    if name == "signals" and dtype == torch.float32:
        pytest.skip("its kernel is float64")
    function, x, v = made(name, dtype), numbers(2, 4, 8, 8, dtype=dtype), numbers(2, 4, 8, 8, seed=1, dtype=dtype)
    expected = function(x)
    w = numbers(*expected.shape, seed=2, dtype=dtype)
    (transposed,) = torch.autograd.grad(function(again := x.clone().requires_grad_()), again, w)
    with dual.dual_level():
        by_dual = dual.unpack_dual(function(dual.make_dual(x, v)))
    for value, tangent in (torch.func.jvp(function, (x,), (v,)), by_dual):
        assert torch.allclose(value, expected, rtol=1e-5, atol=1e-6) and tangent.abs().max() > 1e-4
        assert torch.allclose(
            (w * tangent).sum(), (transposed * v).sum(), rtol=1e-3 if dtype == torch.float32 else 1e-9
        )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", [*FUNCTIONS, *MODULES])
def test_gradients_of_torch_func(name, dtype):
    """By torch.func.grad and vjp, and by grad for every image under vmap."""
    if name == "signals" and dtype == torch.float32:
        pytest.skip("its kernel is float64")
    function, x = made(name, dtype), numbers(2, 4, 8, 8, dtype=dtype)
    w = numbers(*function(x).shape, seed=2, dtype=dtype)
    (expected,) = torch.autograd.grad((w * function(again := x.clone().requires_grad_())).sum(), again)
    tolerances = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {}
    assert torch.allclose(torch.func.grad(lambda x: (w * function(x)).sum())(x), expected, **tolerances)
    assert torch.allclose(torch.func.vjp(function, x)[1](w)[0], expected, **tolerances)
    many = torch.vmap(torch.func.grad(lambda x, factor: factor * (w * function(x)).sum()), (None, 0))
    found = many(x, torch.tensor([1.0, -2.0], dtype=dtype))
    assert torch.allclose(found, torch.stack((expected, -2 * expected)), **tolerances)


@pytest.mark.parametrize("name", [*FUNCTIONS, "MassConv2d", "MassMaxPool2d", "BlurPool", "APS", "ExactGroupNorm"])
def test_under_vmap(name):
    """Many tangents of one map, as torch.func.jacfwd has them, and many maps with a tangent each."""
    function, x, tangents = made(name, torch.float64), numbers(2, 4, 8, 8), numbers(3, 2, 4, 8, 8, seed=1)

    def tangent(x, v):
        return torch.func.jvp(function, (x,), (v,))[1]

    many = torch.vmap(tangent, (None, 0))(x, tangents)
    assert torch.allclose(many, torch.stack([tangent(x, v) for v in tangents]))
    maps = tangents.flip(0)
    many = torch.vmap(tangent)(maps, tangents)
    assert torch.allclose(many, torch.stack([tangent(x, v) for x, v in zip(maps, tangents, strict=True)]))


@pytest.mark.parametrize("name", ["shift", "circular_pad at an origin", "exact_mean", "MassConv2d", "MassMaxPool2d"])
def test_compiled(name):
    """Forward mode inside what is compiled, and around it, also where it was compiled without."""
    torch.compiler.reset()
    function, x, v = made(name, torch.float64), numbers(2, 4, 8, 8), numbers(2, 4, 8, 8, seed=1)
    expected = torch.func.jvp(function, (x,), (v,))[1]
    inside = torch.compile(lambda x, v: torch.func.jvp(function, (x,), (v,))[1], backend="aot_eager")
    assert torch.allclose(inside(x, v), expected)
    compiled = torch.compile(function, backend="aot_eager")
    assert torch.allclose(compiled(x), function(x))
    with dual.dual_level():
        assert torch.allclose(dual.unpack_dual(compiled(dual.make_dual(x, v))).tangent, expected)


def test_hessians():
    """torch.func.hessian: forward mode over torch.func's reverse mode."""

    def energy(x):
        return exact_mean(circular_pad(mass.shift(x, ORIGIN), (1, 0, 2, 0)).pow(3)).pow(2).sum()

    x = numbers(2, 1, 3, 4)
    assert torch.allclose(torch.func.hessian(energy)(x), torch.autograd.functional.hessian(energy, x))


def test_forward_over_reverse():
    """A product with a Hessian, by dual numbers through a backward pass that wraps its map again."""
    conv, norm = made("MassConv2d", torch.float64).requires_grad_(True), made("ExactGroupNorm", torch.float64)
    x, v = numbers(2, 4, 8, 8), numbers(2, 4, 8, 8, seed=1)

    def gradient(x, graph):
        return torch.autograd.grad(conv(norm(x)).pow(4).sum(), (x, conv.weight), create_graph=graph)

    leaf = x.clone().requires_grad_()
    seen = numbers(*conv.weight.shape, seed=3)
    of_x, of_weight = gradient(leaf, True)
    (expected,) = torch.autograd.grad((of_x * v).sum() + (of_weight * seen).sum(), leaf)
    with dual.dual_level():
        along = dual.make_dual(x.clone().requires_grad_(), v)
        got_x, got_weight = (dual.unpack_dual(g).tangent for g in gradient(along, False))
    (transposed,) = torch.autograd.grad((gradient(leaf, True)[1] * seen).sum(), leaf)
    assert torch.allclose((got_weight * seen).sum(), (transposed * v).sum())
    assert torch.allclose(got_x + transposed, expected)
