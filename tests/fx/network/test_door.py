"""What a converted network says of inputs that it cannot take, and how images are brought to a size that it takes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mass

X = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def dense():
    layers = [nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 4, 1), nn.Upsample(scale_factor=8), nn.Conv2d(4, 2, 3, 1, 1)]
    return mass.convert(nn.Sequential(*layers).eval(), X)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            X[:, :, :60],
            "height 60 of the input is not a multiple of the total stride 8; 56 or 64 would do, see mass.pad_to",
        ),
        (X[..., :5], "width 5 of the input is not a multiple of the total stride 8; 8 would do"),
        (X[0], r"expected a batch of shape \(B, 3, H, W\), got 3 axes, \(3, 64, 96\); add the batch axis"),
        (X[:, :2], "the input has 2 channels, and had 3 when the network was converted"),
    ],
)
def test_the_input_is_named(dense, x, message):
    with pytest.raises(ValueError, match=message):
        dense(x)


def test_signals(dense):
    audio = mass.convert(nn.Sequential(nn.Conv1d(1, 4, 8, 4), nn.AdaptiveAvgPool1d(1)).eval(), torch.randn(1, 1, 64))
    with pytest.raises(ValueError, match="length 63 of the input is not a multiple of the total stride 4; 60 or 64"):
        audio(torch.randn(1, 1, 63))
    assert mass.pad_to(torch.randn(1, 1, 63), audio).shape == (1, 1, 64)


def test_integers(dense):
    with pytest.raises(TypeError, match="expected floating-point values, got torch.int64"):
        dense(X.long())


def test_another_dtype_than_the_parameters(dense):
    with pytest.raises(ValueError, match=r"the input is torch.float64 and the network's parameters are torch.float32"):
        dense(X.double())


def test_errors_that_are_the_network_s_own_stay(dense):
    def fail(module, given, y):
        raise RuntimeError("out of paper")

    with dense[0].register_forward_hook(fail), pytest.raises(RuntimeError, match="out of paper"):
        dense(X)


@pytest.mark.parametrize("size", [(64, 96), (57, 90), (1, 9)])
def test_padded_and_cropped(dense, size):
    x = torch.randn(2, 3, *size)
    padded = mass.pad_to(x, dense)
    assert torch.equal(padded[:, :, : size[0], : size[1]], x) and padded.sum().isclose(x.sum(), atol=1e-4)
    y = dense(padded)
    assert mass.crop_to(y, x, dense).shape == (2, 2, *size)
    assert mass.crop_to(y[..., ::8, ::8], x, dense).shape == (2, 2, -(-size[0] // 8), -(-size[1] // 8))
    assert mass.pad_to(X, dense) is X


class Two(nn.Module):
    """Means of 4 x 4 and of 16 x 16 pixels: the first map is finer than the total stride."""

    def forward(self, x):
        return F.avg_pool2d(x, 4), F.avg_pool2d(x, 16)


@pytest.mark.parametrize("size", [(20, 32), (25, 7), (32, 48), (1, 17)])
def test_what_a_coarser_map_shows_that_was_cropped(size):
    """Every position that begins in the image is kept; of those cropped the last alone may show it, its rows before the origin."""
    network = mass.convert(Two().eval(), torch.rand(1, 1, 32, 32))
    x = torch.rand(8, 1, *size)
    padded = mass.pad_to(x, network)
    with mass.output_origins(network) as passes:
        y = network(padded)[0]
    cropped, found = mass.crop_to(y, x, network), passes[0]["[0]"]
    assert torch.equal(cropped, y[:, :, : cropped.shape[2], : cropped.shape[3]]) and found.stride == (4, 4)
    for axis in (0, 1):
        places = torch.arange(y.shape[2 + axis]).expand(8, 2, -1).transpose(1, 2)
        first = found.to_pixels(places)[..., axis]  # the first row that each position shows
        rows = (first[..., None] + torch.arange(4)) % padded.shape[2 + axis]
        kept, shown = cropped.shape[2 + axis], (rows < size[axis]).any(2)
        assert kept == -(-size[axis] // 4) and not shown[:, kept:-1].any()
        assert torch.equal(
            shown[:, -1] | (kept == y.shape[2 + axis]), (found.origin[:, axis] > 0) | (kept == y.shape[2 + axis])
        )


def test_wrong_arguments(dense):
    with pytest.raises(TypeError, match="expected a converted network"):
        mass.pad_to(X, nn.Identity())
    with pytest.raises(ValueError, match="axis -2 .* is neither a multiple nor a divisor of 64"):
        mass.crop_to(X[:, :, :50], X, dense)
    with pytest.raises(ValueError, match=r"\(2, 16\) has no rows and columns to be cropped"):
        mass.crop_to(torch.rand(2, 16), X, dense)


def test_labels_are_cropped_as_their_logits(dense):
    x = X[:, :, :57, :90]
    logits = dense(mass.pad_to(x, dense))
    assert torch.equal(mass.crop_to(logits.argmax(1), x, dense), mass.crop_to(logits, x, dense).argmax(1))
