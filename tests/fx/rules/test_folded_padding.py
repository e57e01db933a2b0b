"""Padding that stands apart from its window is part of it: 'same' padding, zero padding modules, option-A shortcuts."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import mass

X = torch.randn(2, 3, 24, 36, generator=torch.Generator().manual_seed(0))


class Padded(nn.Module):
    """A pad before a window."""

    def __init__(self, pad, window):
        super().__init__()
        self.pad, self.window = pad, window

    def forward(self, x):
        return self.window(self.pad(x) if isinstance(self.pad, nn.Module) else F.pad(x, *self.pad))


def roll_reference(conv, x, top, left):
    """A convolution that reads from `top` rows above and `left` columns before, one tap at a time, modulo the size."""
    y = 0
    for i in range(conv.kernel_size[0]):
        for j in range(conv.kernel_size[1]):
            tap = x.roll((top - i * conv.dilation[0], left - j * conv.dilation[1]), (2, 3))
            y = y + torch.einsum("bchw,oc->bohw", tap, conv.weight[..., i, j])
    return (y + conv.bias.view(-1, 1, 1))[:, :, :: conv.stride[0], :: conv.stride[1]]


@settings(max_examples=40)
@given(
    pads=st.tuples(*[st.integers(0, 4)] * 4),
    own=st.integers(0, 2),
    kernel=st.integers(1, 5),
    stride=st.sampled_from([1, 2, 3, 4]),
    dilation=st.sampled_from([1, 2]),
    mode=st.sampled_from(["constant", "reflect", "replicate", "circular"]),
)
def test_a_pad_is_part_of_the_convolution(pads, own, kernel, stride, dilation, mode):
    conv = nn.Conv2d(3, 2, kernel, stride, own, dilation).double()
    x = X[:1].double()
    model = Padded((pads, mode), conv).eval()
    reference = roll_reference(conv, x, pads[2] + own, pads[0] + own)
    with torch.no_grad():
        found = mass.convert(model, x, origin="zero")(x)
        assert torch.allclose(found, reference, atol=1e-10)
        assert mass.certify(mass.convert(model, x), x, 3).max_difference.max() < 1e-10


@pytest.mark.parametrize(
    "pad",
    [nn.ZeroPad2d((1, 2, 0, 1)), nn.ConstantPad2d(1, -1.0), nn.ReflectionPad2d(1), nn.ReplicationPad2d(2), nn.CircularPad2d(1), ([0, 1, 0, 1],)],
    ids=lambda p: type(p).__name__,
)  # fmt: skip
@pytest.mark.parametrize(
    "window", [nn.Conv2d(3, 4, 3, 2), nn.MaxPool2d(3, 2), nn.AvgPool2d(2)], ids=lambda m: type(m).__name__
)
def test_modules(pad, window):
    converted = mass.convert(Padded(pad, window).eval(), X)
    assert converted(X).shape[2:] == (12, 18)
    assert mass.certify(converted, X).identical.all()


def test_same_padding_of_tensorflow():
    """Computed from sizes, asymmetric, around a stride; the module's own borders are the ones that count."""

    class Same(nn.Conv2d):
        def forward(self, x):
            h, w = x.shape[-2:]
            rows, columns = (max((-(-n // 2) - 1) * 2 + 3 - n, 0) for n in (h, w))
            if rows > 0 or columns > 0:
                x = F.pad(x, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])
            return F.conv2d(x, self.weight, self.bias, 2)

    model = nn.Sequential(Same(3, 4, 3), nn.ReLU(), Same(4, 4, 3)).eval()
    converted = mass.convert(model, X)
    assert mass.certify(converted, X).identical.all()
    zero = mass.convert(model, X, origin="zero")
    assert torch.allclose(zero(X)[..., 1:-2, 1:-2], model(X)[..., 1:-2, 1:-2], atol=1e-5)
    assert mass.certify(converted, torch.randn(1, 3, 32, 16), 4).identical.all()


def test_channels_are_padded_pixel_by_pixel():
    """The parameter-free shortcut of CIFAR ResNets (He et al., 2015, option A)."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 9, 3, 2, 1)

        def forward(self, x):
            return self.conv(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 3, 3))

    model = Block().eval()
    assert mass.certify(mass.convert(model, X), X).identical.all()
    zero = mass.convert(model, X, origin="zero")
    assert torch.allclose(zero(X)[..., 1:, 1:], model(X)[..., 1:, 1:], atol=1e-5)


def test_padding_by_nothing():
    """U-Nets pad by the difference of sizes: nothing, where borders wrap."""

    class Fit(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, 2, 1)

        def forward(self, x):
            y = F.interpolate(self.conv(x), scale_factor=2)
            rows, columns = x.size()[2] - y.size()[2], x.size()[3] - y.size()[3]
            return x + F.pad(y, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])

    converted = mass.convert(Fit().eval(), X)
    assert mass.certify(converted, X).identical.all()
    assert mass.certify(converted, torch.randn(1, 3, 10, 14), 3).identical.all()


def test_explain_says_what_becomes_of_the_border():
    table = mass.explain(Padded((([1, 1, 1, 1]), "reflect"), nn.Conv2d(3, 4, 3)).eval(), X)
    assert "reflecting padding wraps" in table.summary and "circular border" in table.summary
    up = nn.Sequential(nn.Conv2d(3, 4, 2, 2), nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True))
    assert "half-pixel centres, moved back, corners no longer aligned" in mass.explain(up.eval(), X).summary


class Call(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.conv = function, nn.Conv2d(3, 3, 3)

    def forward(self, x):
        return self.function(self, x)


def called_twice(net, x):
    return net.conv(F.pad(x, (1, 1, 1, 1))) + net.conv(F.pad(x, (2, 0, 2, 0)))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda net, x: F.pad(x, (1, 1, 1, 1)), "padding that is not the border of a window"),
        (lambda net, x: F.pad(x, (1, 1, 1, 1)).relu(), "padding that is not the border of a window"),
        (called_twice, "called with another padding before it"),
    ],
)
def test_refusals(function, message):
    with pytest.raises(mass.NotEquivariantError, match=message):
        mass.convert(Call(function).eval(), X)
