"""FLC and TIPS: each does what an obvious loop does; networks of them."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from loops import pad, sizes, strided_conv
from torch import nn

import mass
from mass.baselines.flc import FLC, convert_to_flc
from mass.baselines.tips import TIPS, convert_to_tips
from mass.fx.antialias import sample_by

X = torch.randn(2, 4, 8, 8)


@given(stride=st.tuples(st.integers(1, 3), st.integers(1, 3)), blocks=sizes)
def test_flc_is_a_projection_on_the_lowest_frequencies(stride, blocks):
    """Against a transform written as a sum over positions, frequency by frequency; a map of low ones alone is sampled."""
    height, width = blocks[0] * stride[0], blocks[1] * stride[1]
    x = torch.randn(1, 2, height, width, dtype=torch.float64)
    rows, columns = torch.arange(height, dtype=torch.float64), torch.arange(width, dtype=torch.float64)
    expected = torch.zeros(1, 2, *blocks, dtype=torch.complex128)
    for k, m in itertools.product(*(range(-(n // 2), n - n // 2) for n in blocks)):
        wave = torch.exp(-2j * torch.pi * (k * rows[:, None] / height + m * columns / width))
        amplitude = (x * wave).mean((2, 3), keepdim=True)
        expected += amplitude * wave.conj()[:: stride[0], :: stride[1]]
    assert torch.allclose(FLC(stride)(x), expected.real, atol=1e-10)


def test_flc_of_a_slow_map_is_equivariant_to_every_shift_and_a_network_of_it_is_not():
    """What an ideal filter promises of one layer, and what the next activation does to it."""
    slow = FLC(4)(torch.randn(2, 3, 64, 64, dtype=torch.float64))  # 16 x 16, and up again without new frequencies:
    spectrum = torch.fft.fft2(slow)
    fine = torch.zeros(2, 3, 32, 32, dtype=spectrum.dtype)
    inner = [*range(8), *range(9, 16)]  # without the highest, which has no sign
    fine[:, :, [k if k < 8 else k + 16 for k in inner]] = torch.zeros(()).to(fine.dtype)
    for k, m in itertools.product(inner, inner):
        fine[:, :, k if k < 8 else k + 16, m if m < 8 else m + 16] = spectrum[:, :, k, m]
    x = torch.fft.ifft2(fine).real
    half = (
        torch.fft.fft2(FLC(2)(x))
        * torch.exp(-1j * torch.pi * torch.fft.fftfreq(16, 1 / 16, dtype=torch.float64) / 16)[:, None]
    )
    assert torch.allclose(FLC(2)(x.roll(1, 2)), torch.fft.ifft2(half).real, atol=1e-10)  # moved by half a position
    model, images = (
        nn.Sequential(strided_conv(2)[0], nn.ReLU(), nn.Conv2d(6, 6, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
        torch.randn(2, 4, 32, 32),
    )
    network = convert_to_flc(model.eval(), images)
    with torch.no_grad():
        plain, moved = network(images), network(images.roll((1, 1), (2, 3)))
    assert 1e-5 < (plain - moved).norm() / plain.norm() < 0.1


def tips_by_loops(x, tips):
    """The authors' algorithm, with circular borders: means of the frame's blocks, components column by column."""
    s = tips.stride[0]
    hidden = F.relu(F.conv2d(pad(x, 1, 1), tips.conv1.weight, groups=x.shape[1]))
    weights = (F.adaptive_avg_pool2d(hidden, s) * tips.conv2.weight.view(-1, 1, 1)).flatten(2).softmax(2)
    components = [x[:, :, k % s :: s, k // s :: s] for k in range(s * s)]
    return sum(weights[:, :, k, None, None] * components[k] for k in range(s * s))


@given(stride=st.integers(1, 3), blocks=st.tuples(st.integers(2, 4), st.integers(2, 4)))
def test_tips(stride, blocks):
    x, tips = torch.randn(2, 3, blocks[0] * stride, blocks[1] * stride), TIPS(3, stride)
    assert torch.allclose(tips(x), tips_by_loops(x, tips), atol=1e-5)


def test_tips_commutes_with_no_circular_shift():
    """Not even by its stride, or half the frame: its weights are means over blocks of the frame. MASS over it is exact."""
    torch.manual_seed(0)
    tips, x = TIPS(4), torch.randn(2, 4, 16, 16)
    for parameter in tips.parameters():
        nn.init.normal_(parameter)
    with torch.no_grad():
        for by in (2, 4, 8):
            moved, expected = tips(x.roll((by, by), (2, 3))), tips(x).roll((by // 2, by // 2), (2, 3))
            assert (moved - expected).norm() / expected.norm() > 0.05
        network = mass.convert(nn.Sequential(tips, nn.ReLU(), nn.AdaptiveAvgPool2d(1)).eval(), x)
        assert torch.equal(network(x), network(x.roll((3, 5), (2, 3))))


@pytest.mark.parametrize(("convert", "keys"), [(convert_to_flc, 0), (convert_to_tips, 4)])
def test_flc_and_tips_in_any_network(convert, keys):
    model, x = (
        nn.Sequential(strided_conv(2)[0], nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(3, 2, 1)).eval(),
        torch.randn(2, 4, 16, 16),
    )
    network = convert(model, x)
    assert network(x).shape == model(x).shape
    assert [key for key in network.state_dict() if "mass_" not in key] == list(model.state_dict())
    assert len(network.state_dict()) == len(model.state_dict()) + keys


@pytest.mark.parametrize("convert", [convert_to_flc, convert_to_tips])
def test_windows_without_padding_go_on_at_the_opposite_border(convert):
    """2 x 2 windows, as VGG's and ConvNeXt's: a dense map would be a row smaller, and FLC and TIPS need one that the stride divides."""
    model = nn.Sequential(
        nn.Conv2d(4, 6, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(6, 6, 4, 2, 1), nn.Conv2d(6, 6, 2, 2)
    ).eval()
    x = torch.randn(2, 4, 16, 24)
    network = convert(model, x)
    assert network(x).shape == model(x).shape == (2, 6, 2, 3)


class _Samples(nn.Module):
    """Every s-th row and column of a map that the stride divides."""

    def __init__(self, stride):
        super().__init__()
        self.stride = stride

    def forward(self, x):
        assert x.shape[2] % self.stride[0] == 0 == x.shape[3] % self.stride[1]
        return x[:, :, :: self.stride[0], :: self.stride[1]]


@given(kernel=st.integers(1, 4), stride=st.integers(2, 3), pools=st.booleans())
def test_a_dense_window_that_wraps_samples_what_the_strided_one_saw(kernel, stride, pools):
    """In float64, and where the strided operation gives as many rows as the stride leaves; no row of it crossed the border."""
    window = nn.MaxPool2d(kernel, stride) if pools else nn.Conv2d(4, 4, kernel, stride)
    model, x = nn.Sequential(window).double().eval(), torch.randn(1, 4, 12, 18, dtype=torch.float64)
    shape = model(x).shape
    assume(shape[2:] == (12 // stride, 18 // stride))
    network = sample_by(model, x, lambda channels, stride: _Samples(stride), wraps=True)
    assert torch.allclose(network(x), model(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: FLC(0), ValueError, "stride must be at least 1"),
        (lambda: FLC(2)(X[..., 1:]), ValueError, "width 7 is not a multiple of the period 2"),
        (lambda: FLC(2)(X.int()), TypeError, "convert with x.float"),
        (lambda: TIPS(0), ValueError, "channels must be at least 1, got 0"),
        (lambda: TIPS(4, (2, 3)), ValueError, r"samples rows and columns alike, got a stride of \(2, 3\)"),
        (lambda: TIPS(4)(X[:, :, 1:]), ValueError, "height 7 is not a multiple of the period 2"),
        (lambda: convert_to_flc(nn.Conv2d(4, 4, 3), X), mass.NotEquivariantError, "nothing in this model samples"),
        (lambda: convert_to_tips(nn.Conv2d(4, 4, 3, 2, 1), X[0]), ValueError, "add the batch axis"),
    ],
)  # fmt: skip
def test_wrong_inputs_of_flc_and_tips(build, error, message):
    with pytest.raises(error, match=message):
        build()
