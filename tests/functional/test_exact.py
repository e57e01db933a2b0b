"""Means over positions give the same bits in any order, and the right value."""

import operator
from functools import reduce

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mass.functional.exact import exact_mean, power_of_two_scale
from mass.nn.exact import ExactGroupNorm, ExactInstanceNorm2d


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    spread=st.integers(0, 6),
    seed=st.integers(0, 99),
)
def test_any_order_gives_the_same_bits(size, dtype, spread, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, *size, generator=generator) * 10 ** (
        spread * torch.rand(2, 3, *size, generator=generator) - spread / 2
    )
    x = x.to(dtype)
    order = torch.randperm(size[0] * size[1], generator=generator)
    shuffled = x.flatten(2)[..., order].view(x.shape)
    assert torch.equal(exact_mean(x), exact_mean(shuffled))
    reference = x.double().mean((2, 3))
    tolerance = torch.finfo(dtype).eps * x.double().abs().amax((2, 3))
    assert ((exact_mean(x).double() - reference).abs() <= tolerance).all()


def test_cancellation_that_defeats_float64():
    """Large values that cancel, and what remains: a float64 sum depends on the order, the exact mean does not."""
    values = torch.cat((torch.full((30,), 2.0**60), torch.full((30,), -(2.0**60)), torch.full((4,), 1.0)))
    floats, exact = set(), set()
    for seed in range(50):
        x = values[torch.randperm(64, generator=torch.Generator().manual_seed(seed))].view(1, 1, 8, 8)
        floats.add(reduce(operator.add, x.double().flatten().tolist()))  # Python's own sum compensates from 3.12 on
        exact.add(exact_mean(x).item())
    assert len(floats) > 1 and len(exact) == 1


@pytest.mark.parametrize("value", [0.0, 1e-45, 1e-38, 3e38, -1.0])
def test_constants_and_extremes(value):
    x = torch.full((1, 2, 7, 7), value)
    assert torch.allclose(exact_mean(x), x[:, :, 0, 0], rtol=1e-7, atol=0)


def test_nan_and_infinity_stay():
    x = torch.ones(2, 1, 4, 4)
    x[0, 0, 0, 0], x[1, 0, 0, 0] = torch.nan, torch.inf
    assert not exact_mean(x).isfinite().any()


def test_gradients():
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    # Rounding to integers makes finite differences step, so compare with the plain mean's gradient.
    weight = torch.randn(2, 3, dtype=torch.float64)
    (ours,) = torch.autograd.grad((exact_mean(x) * weight).sum(), x)
    (plain,) = torch.autograd.grad((x.mean((2, 3)) * weight).sum(), x)
    assert torch.equal(ours, plain)


def test_scale_is_a_power_of_two():
    largest = torch.tensor([1e-30, 0.3, 0.5, 1.0, 7.0, 2.0**100])
    scaled = largest.double() * power_of_two_scale(largest, 15)
    assert ((scaled >= 2**14) & (scaled < 2**15)).all()
    assert (torch.frexp(power_of_two_scale(largest, 15)).mantissa == 0.5).all()


@pytest.mark.parametrize(
    ("plain", "exact"),
    [
        (nn.GroupNorm(4, 8), ExactGroupNorm(4, 8)),
        (nn.GroupNorm(2, 8, affine=False), ExactGroupNorm(2, 8, affine=False)),
        (nn.InstanceNorm2d(8, affine=True), ExactInstanceNorm2d(8, affine=True)),
        (nn.InstanceNorm2d(8, track_running_stats=True), ExactInstanceNorm2d(8, track_running_stats=True)),
    ],
)
def test_normalisation(plain, exact):
    if plain.state_dict():
        for p in plain.parameters():
            nn.init.normal_(p)
        exact.load_state_dict(plain.state_dict())
    x = torch.randn(2, 8, 6, 10) * 3 + 1
    assert torch.allclose(plain(x), exact(x), atol=1e-5)
    for a, b in zip(plain.buffers(), exact.buffers(), strict=True):
        assert torch.allclose(a, b)
    assert torch.equal(exact(x.roll((2, 3), (2, 3))), exact(x).roll((2, 3), (2, 3)))
    exact.load_state_dict(plain.state_dict())  # the two calls above moved its running statistics on
    assert torch.allclose(plain.eval()(x), exact.eval()(x), atol=1e-5)
