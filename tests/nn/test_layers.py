"""Layers: a strided operation on a map moved to its own origin is equivariant, and otherwise untouched."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import mass


def same_up_to_a_shift(y, z):
    return any(torch.equal(y.roll((i, j), (2, 3)), z) for i in range(y.shape[2]) for j in range(y.shape[3]))


class SoftPool(nn.Module):
    """Softmax-weighted pooling (Stergiou et al., 2021), as an example of a pooling of the user's own."""

    def __init__(self, stride):
        super().__init__()
        self.stride = stride

    def forward(self, x):
        weight = x.exp()
        pool = nn.functional.avg_pool2d
        return pool(x * weight, self.stride) / pool(weight, self.stride)


class GatedPool(nn.Module):
    """A learned mixture of max and average (Lee et al., 2016)."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Parameter(torch.tensor(0.3))

    def forward(self, x):
        maximum, mean = nn.functional.max_pool2d(x, 2), nn.functional.avg_pool2d(x, 2)
        return self.gate.sigmoid() * maximum + (1 - self.gate.sigmoid()) * mean


LAYERS = {
    "conv": lambda: mass.MassConv2d(4, 6, 3, stride=2, padding=1),
    "conv stride 4": lambda: mass.MassConv2d(4, 6, 4, stride=4),
    "conv stride 2 x 3": lambda: mass.MassConv2d(4, 6, 3, stride=(2, 3), padding=1, groups=2),
    "conv dilated": lambda: mass.MassConv2d(4, 6, 3, stride=2, padding=5, dilation=4),
    "conv stride 1": lambda: mass.MassConv2d(4, 6, 3, padding="same"),
    "max": lambda: mass.MassMaxPool2d(3, 2, 1),
    "average": lambda: mass.MassAvgPool2d(2),
    "lp": lambda: mass.MassPool2d(nn.LPPool2d(2, 3, stride=2)),
    "convolution": lambda: mass.MassPool2d(nn.Conv2d(4, 4, 3, 2, padding_mode="circular")),
    "soft": lambda: mass.MassPool2d(SoftPool(2)),
    "gated": lambda: mass.MassPool2d(GatedPool(), stride=2),
    "aps": lambda: mass.APS(2),
}


@pytest.mark.parametrize("name", LAYERS)
@given(t=st.tuples(st.integers(0, 11), st.integers(0, 23)), seed=st.integers(0, 50))
def test_equivariance(name, t, seed):
    torch.manual_seed(seed)
    layer = LAYERS[name]()
    x = torch.randn(1, 4, 12, 24)
    assert same_up_to_a_shift(layer(x), layer(x.roll(t, (2, 3))))


@pytest.mark.parametrize("name", LAYERS)
def test_output_size_and_gradient(name):
    layer = LAYERS[name]()
    x = torch.randn(2, 4, 12, 24, requires_grad=True)
    y = layer(x)
    stride = getattr(layer, "stride", 2)
    stride = (stride, stride) if isinstance(stride, int) else stride
    assert y.shape[2:] == (12 // stride[0], 24 // stride[1])
    y.sum().backward()
    assert x.grad.abs().sum() > 0


def test_pretrained_weights_load():
    plain = nn.Conv2d(3, 8, 3, 2, 1)
    layer = mass.MassConv2d(3, 8, 3, 2, 1)
    layer.load_state_dict(plain.state_dict())
    x = torch.randn(1, 3, 16, 16)
    origin = torch.zeros(1, 2, dtype=torch.int64)
    assert torch.allclose(layer(x, origin)[..., 1:, 1:], plain(x)[..., 1:, 1:], atol=1e-6)


def test_parallel_branches_share_an_origin():
    """The sum of two branches that leave one map: equivariant with one origin, not with two (docs/design.md, "Lattices")."""
    left, right = mass.MassConv2d(4, 4, 3, 2, 1), mass.MassConv2d(4, 4, 1, 2)
    squeeze = nn.Conv2d(4, 4, 1)
    broken = 0
    for seed in range(20):
        x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
        moved = x.roll((1, 1), (2, 3))

        def shared(x):
            return left(squeeze(x), o := mass.select_origin(x, 2)) + right(x, o)

        def alone(x):
            return left(squeeze(x)) + right(x)

        def close(y, z):
            return any(torch.allclose(y.roll((i, j), (2, 3)), z, atol=1e-5) for i in range(4) for j in range(4))

        assert close(shared(x), shared(moved))
        broken += not close(alone(x), alone(moved))
    assert broken > 0


def test_aps_shares_its_index():
    aps, x = mass.APS(2), torch.randn(2, 3, 8, 8)
    y, index = aps(x, return_index=True)
    assert torch.equal(y, mass.shift(x, index)[:, :, ::2, ::2])
    assert torch.equal(aps(-x, index=index), -y)
    norms = torch.stack([x[:, :, i::2, j::2].square().sum((1, 2, 3)) for i in (0, 1) for j in (0, 1)], 1)
    assert torch.equal(index[:, 0] * 2 + index[:, 1], norms.argmax(1))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: mass.MassMaxPool2d(2, return_indices=True), ValueError, "return_indices=True is not supported"),
        (
            lambda: mass.MassConv2d(3, 4, 3, 2, padding_mode="reflect"),
            ValueError,
            "padding_mode 'reflect' has no borders",
        ),
        (lambda: mass.MassConv2d(3, 4, 3, rule="l3"), ValueError, "unknown rule 'l3'"),
        (lambda: mass.MassMaxPool2d(2, rule="l3"), ValueError, "unknown rule 'l3'"),
        (
            lambda: mass.MassPool2d(nn.MaxPool2d(2, return_indices=True)),
            ValueError,
            "return_indices=True is not supported",
        ),
        (lambda: mass.MassPool2d(nn.MaxPool2d(2), rule="l3"), ValueError, "unknown rule 'l3'"),
        (lambda: mass.MassPool2d(GatedPool()), ValueError, "GatedPool does not tell its stride"),
        (lambda: mass.MassPool2d(nn.AvgPool2d(3, 2, padding=1)), ValueError, "give it padding=0"),
        (lambda: mass.APS(0), ValueError, "stride must be at least 1"),
        (lambda: mass.MassConv2d(3, 4, 3, 2)(torch.randn(1, 3, 7, 8)), ValueError, "height 7 is not a multiple"),
        (lambda: mass.APS(2)(torch.randn(1, 3, 8, 7)), ValueError, "width 7 is not a multiple"),
        (lambda: mass.MassConv2d(3, 4, 3, 2)(torch.ones(1, 3, 8, 8).int()), TypeError, "torch.int32"),
    ],
)
def test_wrong_inputs(build, error, message):
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize("layer", [
    mass.MassConv2d(3, 4, 3, 2, 1), mass.MassMaxPool2d(2), mass.MassAvgPool2d(2),
])  # fmt: skip
def test_sizes_that_the_stride_does_not_divide_are_refused(layer):
    with pytest.raises(ValueError, match="not a multiple of"):
        layer(torch.rand(1, 3, 7, 8), torch.zeros(1, 2, dtype=torch.int64))


def test_on_the_fixed_grid_as_well():
    network = mass.convert(nn.Conv2d(3, 4, 3, 2, 1).eval(), torch.rand(1, 3, 16, 16), origin="zero")
    with pytest.raises(ValueError, match="height 15 of the input is not a multiple of the total stride 2"):
        network(torch.rand(1, 3, 15, 16))


def test_a_pool_of_wide_steps_wraps_as_far_as_it_reads():
    pool = mass.MassPool2d(nn.MaxPool2d(2, stride=2, dilation=3))
    x = torch.randn(1, 3, 16, 16, dtype=torch.float64)
    y, moved = pool(x), pool(x.roll((-1, -3), (2, 3)))
    assert y.shape == (1, 3, 8, 8)
    assert any(torch.equal(y.roll((i, j), (2, 3)), moved) for i in range(-3, 4) for j in range(-3, 4))


def test_there_is_no_way_back_from_a_dilated_pooling():
    with pytest.raises(ValueError, match="MassMaxUnpool2d knows no dilation"):
        mass.MassMaxPool2d(2, dilation=2).with_indices(torch.rand(1, 3, 16, 16))


LAYERS_WITH_ORIGINS = {
    "convolution": mass.MassConv2d(8, 8, 3, 2, 1),
    "that only samples": mass.MassConv2d(8, 8, 1, 2),
    "depthwise": mass.MassConv2d(8, 8, 3, 2, 1, groups=8),
    "max pooling": mass.MassMaxPool2d(2),
    "average pooling": mass.MassAvgPool2d(2),
    "any pooling": mass.MassPool2d(nn.LPPool2d(2, 2, 2)),
}


@pytest.mark.parametrize("grad", [torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize("name", LAYERS_WITH_ORIGINS)
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (torch.Tensor.int, TypeError, "origin must be int64, got torch.int32"),
        (torch.Tensor.float, TypeError, "origin must be int64, got torch.float32"),
        (lambda origin: origin[:1], ValueError, r"shape \(2, 2\), one \(row, column\) per image, got \(1, 2\)"),
        (torch.Tensor.tolist, TypeError, "got list; use torch.tensor"),
    ],
)
def test_origins_that_are_none_are_refused(change, error, message, name, grad):
    with grad(), pytest.raises(error, match=message):
        LAYERS_WITH_ORIGINS[name](torch.rand(2, 8, 8, 8), change(torch.tensor([[1, 0], [0, 1]])))


@pytest.mark.parametrize("name", LAYERS_WITH_ORIGINS)
def test_one_origin_serves_all_images(name):
    x, layer = torch.rand(2, 8, 8, 8), LAYERS_WITH_ORIGINS[name]
    assert torch.equal(layer(x, torch.tensor([1, 0])), layer(x, torch.tensor([[1, 0], [1, 0]])))


def test_whatever_device_new_tensors_are_made_on_by_default():
    x, origin = torch.rand(2, 8, 8, 8), torch.tensor([[1, 0], [0, 1]])
    for layer in LAYERS_WITH_ORIGINS.values():
        with torch.no_grad():
            expected = layer(x, origin), mass.shift(x, origin), mass.select_origin(x, 2)
            with torch.device("meta"):
                found = layer(x, origin), mass.shift(x, origin), mass.select_origin(x, 2)
        assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


def test_a_transposed_convolution_has_one_size_on_a_torus():
    from mass.nn.conv_transpose import CircularConvTranspose2d

    layer, x = CircularConvTranspose2d(3, 4, 2, 2), torch.rand(1, 3, 8, 8)
    assert layer(x, output_size=(16, 16)).shape[2:] == (16, 16)
    with pytest.raises(ValueError, match=r"output_size must be \[16, 16\]"):
        layer(x, output_size=(17, 17))
