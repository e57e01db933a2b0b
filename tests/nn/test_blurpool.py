"""BlurPool is a convolution with binomial weights on a border that wraps, reflects or is empty, sampled; nothing else."""

import copy
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import mass
from mass.nn.blurpool import BlurPool, binomial_filter

MODES = ("circular", "reflect", "zeros")
sizes = st.tuples(st.integers(1, 3), st.integers(1, 4))  # of a map, in strides


def beyond(x, row, column, mode):
    """The pixel at a place that may lie beyond the border, image by image and channel by channel."""
    height, width = x.shape[2:]
    if mode == "circular":
        return x[:, :, row % height, column % width]
    if mode == "zeros" and not (0 <= row < height and 0 <= column < width):
        return torch.zeros_like(x[:, :, 0, 0])
    row, column = (
        place if 0 <= place < n else -place if place < 0 else 2 * (n - 1) - place
        for place, n in ((row, height), (column, width))
    )
    return x[:, :, row, column]


def blur_by_loops(x, size, stride, mode):
    """Output n is the sum over i of C(k - 1, i) / 2^(k - 1) x[s n - (k - 1) // 2 + i], and so along the columns."""
    weights = [[math.comb(k - 1, i) / 2 ** (k - 1) for i in range(k)] for k in size]
    out = torch.zeros(*x.shape[:2], *(-(-n // s) for n, s in zip(x.shape[2:], stride, strict=True)), dtype=x.dtype)
    for row, column in itertools.product(range(out.shape[2]), range(out.shape[3])):
        for i, j in itertools.product(range(size[0]), range(size[1])):
            place = row * stride[0] - (size[0] - 1) // 2 + i, column * stride[1] - (size[1] - 1) // 2 + j
            out[:, :, row, column] += weights[0][i] * weights[1][j] * beyond(x, *place, mode)
    return out


@given(
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    blocks=sizes,
)
def test_circular_is_the_convolution_on_a_torus(size, stride, blocks):
    x = torch.randn(2, 2, blocks[0] * stride[0], blocks[1] * stride[1], dtype=torch.float64)
    blur = BlurPool(2, size, stride).double()
    assert torch.allclose(blur(x), blur_by_loops(x, size, stride, "circular"), atol=1e-12, rtol=0)


@given(
    mode=st.sampled_from(MODES[1:]),
    size=st.integers(1, 7),
    stride=st.integers(1, 3),
    height=st.integers(4, 7),
    width=st.integers(4, 7),
)
def test_other_borders_give_sizes_rounded_up(mode, size, stride, height, width):
    x = torch.randn(1, 2, height, width, dtype=torch.float64)
    blur = BlurPool(2, size, stride, mode).double()
    assert torch.allclose(blur(x), blur_by_loops(x, (size, size), (stride, stride), mode), atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_against_a_direct_convolution_in_float64(dtype):
    """Whatever the precision, it is the direct float64 convolution up to that precision's rounding."""
    x = torch.randn(3, 5, 24, 36, generator=torch.Generator().manual_seed(0))
    for size, stride in itertools.product((2, 3, 5, 7), (2, 3)):
        row = torch.tensor([math.comb(size - 1, i) for i in range(size)], dtype=torch.float64) / 2 ** (size - 1)
        before = (size - 1) // 2
        padded = F.pad(x.to(dtype).double(), (before, size - 1 - before) * 2, mode="circular")
        direct = F.conv2d(padded, torch.outer(row, row).expand(5, 1, size, size), stride=stride, groups=5)
        error = (BlurPool(5, size, stride)(x.to(dtype)).double() - direct).abs().max()
        assert error <= 4 * torch.finfo(dtype).eps * x.abs().max()


@given(
    size=st.integers(1, 7), stride=st.integers(1, 3), blocks=sizes, by=st.tuples(st.integers(-9, 9), st.integers(-9, 9))
)
def test_it_commutes_with_shifts_by_its_stride(size, stride, blocks, by):
    x = torch.randn(1, 2, blocks[0] * stride, blocks[1] * stride)
    blur = BlurPool(2, size, stride)
    moved = blur(x.roll([stride * b for b in by], (2, 3)))
    assert torch.equal(moved, blur(x).roll(by, (2, 3)))


@pytest.mark.parametrize("size", range(1, 10))
def test_binomial_filters_are_exact(size):
    """They sum to 1, are symmetric, are Rect-2 with itself k - 1 times, and even bfloat16 rounds none of the usual ones."""
    row = binomial_filter(size)
    assert row.sum() == 1 and torch.equal(row, row.flip(0))
    again = torch.ones(1)
    for _ in range(size - 1):
        again = (F.pad(again, (0, 1)) + F.pad(again, (1, 0))) / 2
    assert torch.equal(row, again)
    blur = BlurPool(2, size)
    assert torch.equal(blur.filter[1, 0], torch.outer(row, row))
    if size < 8:
        assert torch.equal(copy.deepcopy(blur).bfloat16().filter.float(), blur.filter)
    assert torch.equal(blur(torch.ones(1, 2, 6, 4)), torch.ones(1, 2, 3, 2))


def test_the_first_are_those_of_the_paper():
    for size, taps in ((2, [1, 1]), (3, [1, 2, 1]), (4, [1, 3, 3, 1]), (5, [1, 4, 6, 4, 1])):
        assert torch.equal(binomial_filter(size), torch.tensor(taps) / sum(taps))


def test_it_adds_no_key():
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 2))
    blurred = nn.Sequential(plain[0], nn.Sequential(BlurPool(4), plain[1]))
    assert not BlurPool(4).state_dict() and len(blurred.state_dict()) == len(plain.state_dict())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("size", "stride"), [(1, 2), (2, 2), (3, 2), (5, 4), (3, (2, 1))])
def test_converted_it_wraps_and_is_exact(mode, size, stride):
    """In a network its origin is shared with a branch beside it."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.blur = nn.Conv2d(3, 4, 3, padding=1), BlurPool(4, size, stride, mode)
            self.beside = nn.Conv2d(4, 4, 1, stride=stride)

        def forward(self, x):
            x = self.first(x).relu()
            return (self.blur(x) + self.beside(x)).relu().mean((2, 3))

    x = torch.rand(2, 3, 16, 24)
    model = mass.convert(Net().eval(), x)
    assert mass.certify(model, x).identical.all()


def test_as_a_layer_of_its_own_it_wraps_once():
    x, pool = torch.rand(1, 2, 8, 8), mass.MassPool2d(BlurPool(2, 5))
    assert torch.equal(pool(x), BlurPool(2, 5)(mass.shift(x, mass.select_origin(x, 2))))


def test_gradients_pass_and_the_memory_format_stays():
    x = torch.rand(2, 4, 8, 8).to(memory_format=torch.channels_last).requires_grad_()
    for mode in MODES:
        y = BlurPool(4, 3, 2, mode)(x)
        y.sum().backward()
        assert x.grad.isfinite().all() and y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision_outputs_and_gradients_are_those_of_float64(dtype, autocast):
    """They are computed densely, then sampled (`mass.functional.kernels`): oneDNN has no vector code for the strided gradient."""
    exact = torch.randn(2, 4, 12, 18, generator=torch.Generator().manual_seed(0)).to(dtype).double().requires_grad_()
    for mode, size, stride in itertools.product(MODES, (2, 3, 5), ((2, 2), (1, 2), (3, 3))):
        x = exact.detach().to(torch.float32 if autocast else dtype).to(memory_format=torch.channels_last)
        x.requires_grad_()
        with torch.autocast("cpu", dtype, enabled=autocast):
            y = BlurPool(4, size, stride, mode)(x)
        double = BlurPool(4, size, stride, mode).double()(exact)
        (expected,) = torch.autograd.grad(double.sum(), exact)
        y.sum().backward()
        assert y.dtype == dtype and y.is_contiguous(memory_format=torch.channels_last)
        assert torch.allclose(
            y.double(), double, rtol=0, atol=4 * torch.finfo(dtype).eps * float(exact.detach().abs().max())
        )
        assert torch.allclose(x.grad.double(), expected, rtol=0, atol=8 * torch.finfo(dtype).eps)


X = torch.randn(2, 4, 8, 8)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: BlurPool(3, 0), ValueError, "kernel_size must be at least 1, got 0"),
        (lambda: BlurPool(3, 2.5), TypeError, "kernel_size must be an int or a pair of ints, got 2.5"),
        (lambda: BlurPool(3, (3, 0)), ValueError, r"kernel_size must be at least 1, got \(3, 0\)"),
        (lambda: BlurPool(3, (3, 3, 3)), TypeError, r"kernel_size must be an int or a pair of ints, got \(3, 3, 3\)"),
        (lambda: BlurPool(3, 3, 0), ValueError, "stride must be at least 1, got 0"),
        (lambda: BlurPool(3, 3, -2), ValueError, "stride must be at least 1, got -2"),
        (lambda: BlurPool(3, 3, True), TypeError, "stride must be an int or a pair of ints, got True"),
        (lambda: BlurPool(0), ValueError, "channels must be at least 1, got 0"),
        (lambda: BlurPool(4, padding_mode="replicate"), ValueError, "unknown padding mode 'replicate'; choose one of circular, reflect, zeros"),
        (lambda: binomial_filter(0), ValueError, "size must be at least 1, got 0"),
        (lambda: BlurPool(4)(X[:, :, 1:]), ValueError, "height 7 is not a multiple of the period 2; 6 or 8 would do"),
        (lambda: BlurPool(4, 1, 3)(X), ValueError, "height 8 is not a multiple of the period 3; 6 or 9 would do"),
        (lambda: BlurPool(4)(X[0]), ValueError, "add the batch axis"),
        (lambda: BlurPool(4)(X.int()), TypeError, "convert with x.float"),
        (lambda: BlurPool(3)(X), ValueError, "this filter is for 3 channels, the map has 4"),
        (lambda: BlurPool(5)(X), ValueError, "this filter is for 5 channels, the map has 4"),
        (lambda: BlurPool(4, 5, 2, "reflect")(X[..., :2]), ValueError, "reflects 2 rows and 2 columns beyond the border, and a map of 8 x 2 has no more than 7 and 1"),
        (lambda: BlurPool(4, 2, 2, "reflect")(X[..., :1]), ValueError, "choose a smaller kernel_size, or another padding_mode"),
        (lambda: mass.MassPool2d(BlurPool(4, padding_mode="reflect")), ValueError, "pads by 'reflect'; give it padding_mode='circular'"),
    ],
)  # fmt: skip
def test_wrong_inputs(build, error, message):
    with pytest.raises(error, match=message):
        build()
