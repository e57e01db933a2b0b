"""Transposed convolution on a torus, against a slow obvious reference."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import mass
from mass.functional.conv_transpose import circular_conv_transpose2d


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


SIZES = st.tuples(st.integers(1, 5), st.integers(1, 5))


def slow_conv_transpose(x, weight, bias, stride, padding, groups, dilation):
    """y[m] += x[n] w[k] wherever s n + d k - p = m, modulo the size; one product at a time."""
    batch, channels, height, width = x.shape
    y = torch.zeros(batch, weight.shape[1] * groups, height * stride[0], width * stride[1], dtype=x.dtype)
    for n, m, k, l in itertools.product(range(height), range(width), *map(range, weight.shape[2:])):
        i = (stride[0] * n + dilation[0] * k - padding[0]) % y.shape[2]
        j = (stride[1] * m + dilation[1] * l - padding[1]) % y.shape[3]
        for g in range(groups):
            a, b = slice(g * channels // groups, (g + 1) * channels // groups), weight.shape[1]
            y[:, g * b : (g + 1) * b, i, j] += x[:, a, n, m] @ weight[a, :, k, l]
    return y if bias is None else y + bias.view(-1, 1, 1)


@settings(max_examples=60)
@given(
    size=SIZES,
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    groups=st.sampled_from([1, 2]),
    bias=st.booleans(),
)
def test_transposed_convolution(size, kernel, stride, padding, dilation, groups, bias):
    x = noise(2, 4, *size, dtype=torch.float64)
    weight = noise(4, 3, *kernel, seed=1, dtype=torch.float64)
    b = noise(3 * groups, seed=2, dtype=torch.float64) if bias else None
    found = circular_conv_transpose2d(x, weight, b, stride, padding, groups, dilation)
    expected = slow_conv_transpose(x, weight, b, stride, padding, groups, dilation)
    assert torch.allclose(found, expected, atol=1e-12)
    x, weight, b = x.float()[:1], weight.float(), None if b is None else b.float()
    t = (size[0] // 2, size[1] - 1)
    moved = circular_conv_transpose2d(x.roll(t, (2, 3)), weight, b, stride, padding, groups, dilation)
    by = t[0] * stride[0], t[1] * stride[1]
    assert torch.equal(
        moved, circular_conv_transpose2d(x, weight, b, stride, padding, groups, dilation).roll(by, (2, 3))
    )


@pytest.mark.parametrize(
    ("k", "s", "p", "op", "d"), [(4, 2, 1, 0, 1), (2, 2, 0, 0, 1), (3, 2, 1, 1, 1), (8, 4, 2, 0, 1), (3, 2, 2, 1, 2)]
)
def test_transposed_convolution_is_the_plain_one_away_from_the_border(k, s, p, op, d):
    plain = nn.ConvTranspose2d(4, 6, k, s, p, op, groups=2, dilation=d)
    x = noise(1, 4, 12, 12)
    inner = slice(4 * s, 8 * s)
    circular = circular_conv_transpose2d(x, plain.weight, plain.bias, (s, s), (p, p), 2, (d, d))
    assert circular.shape == plain(x).shape
    assert torch.allclose(circular[..., inner, inner], plain(x)[..., inner, inner], atol=1e-5)


def test_transposed_convolution_learns():
    layer = nn.Sequential(nn.Conv2d(2, 2, 2, 2), nn.ConvTranspose2d(2, 2, 4, 2, 1))
    converted = mass.convert(layer, noise(1, 2, 8, 8))
    converted(noise(1, 2, 8, 8)).square().sum().backward()
    assert converted.get_submodule("1").weight.grad.abs().min() > 0
