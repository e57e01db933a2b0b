"""What a model computes from the size of its input is not frozen unseen: other sizes are right, or refused in a sentence."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mass
from mass.fx.verification.verify import Gate

X, LARGER = (torch.randn(2, 3, n, n, generator=torch.Generator().manual_seed(0)) for n in (32, 64))


class Behind(nn.Module):
    """A function of a convolution's map."""

    def __init__(self, function, stride=1):
        super().__init__()
        self.conv, self.function = nn.Conv2d(3, 4, 3, stride, 1), function

    def forward(self, x):
        return self.function(self.conv(x).relu())


class Dilated(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 3, 3, 3))

    def forward(self, x):
        d = x.shape[2] // 16
        return F.conv2d(x, self.weight, padding=d, dilation=d)


def layers(*modules):
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 5, 3, 2, 1), *modules)


FROZEN = {
    "as many cells as positions (VGG)": lambda: layers(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(320, 5)),
    "the same, dense": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.AdaptiveMaxPool2d(32), nn.Conv2d(4, 4, 3)),
    "a spatial pyramid": lambda: Behind(
        lambda y: torch.cat([F.adaptive_max_pool2d(y, k).flatten(1) for k in (1, 4, 8)], 1), 2
    ),
    "a window by the size": lambda: Behind(lambda y: F.avg_pool2d(y, y.shape[2] // 4)),
    "cells by the size": lambda: Behind(lambda y: F.adaptive_avg_pool2d(y, (y.shape[2] // 4, y.shape[3] // 4))),
    "a factor by the size": lambda: Behind(lambda y: F.interpolate(y, scale_factor=64 / y.shape[2]), 2),
    "a dilation by the size": Dilated,
}


@pytest.mark.filterwarnings("ignore::mass.CoordinatesWarning")
@pytest.mark.parametrize("name", FROZEN)
def test_what_was_frozen_is_refused_at_another_size(name):
    torch.manual_seed(0)
    network = mass.convert(FROZEN[name]().eval(), X)
    assert mass.certify(network, X, shifts=8)
    for copied in (network, copy.deepcopy(network)):
        with pytest.raises(
            ValueError, match=r"holds for inputs of 32 x 32 alone, .* got 64 x 64: .* convert the model with an"
        ):
            copied(LARGER)


@pytest.mark.filterwarnings("ignore::mass.CoordinatesWarning")
@pytest.mark.parametrize(
    "build",
    [
        lambda: layers(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)),
        lambda: Behind(lambda y: F.interpolate(y, size=(2 * y.shape[2], 2 * y.shape[3]), mode="bilinear"), 2),
        lambda: Behind(lambda y: y.mean((2, 3)) + y.shape[2]),
    ],
)
def test_what_follows_the_size_is_asked_there_and_taken(build):
    torch.manual_seed(0)
    model = build().eval()
    network = mass.convert(model, X)
    assert network.mass_only_size is None and network(LARGER).shape == model(LARGER).shape
    assert mass.certify(network, LARGER, shifts=8)


@pytest.mark.filterwarnings("ignore::mass.CoordinatesWarning")
@pytest.mark.parametrize(
    "build",
    [
        lambda: layers(nn.AvgPool2d(8, stride=1)),
        lambda: layers(nn.AvgPool2d(8, stride=1), nn.Flatten()),
        lambda: layers(nn.Conv2d(5, 6, 8), nn.Flatten()),
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.ConvTranspose2d(8, 6, 4, 1, 0)),
    ],
)
def test_a_window_that_spans_its_map_leaves_one_position(build):
    """Where borders wrap it would fit at every position, and the output would have another shape than the model's."""
    torch.manual_seed(0)
    model = build().eval()
    try:
        network = mass.convert(model, X)
    except mass.NotEquivariantError as refusal:
        assert "the model returns" in str(refusal)
    else:
        assert network(X).shape == model(X).shape and mass.certify(network, X, shifts=8)


def test_where_nobody_can_judge_a_size_it_is_refused(monkeypatch):
    """The network runs at twice the size, and the plain one, by which it would be judged, does not."""
    judged = Gate._reference

    def reference(gate, inputs):
        if inputs[0].shape[2] > 32:
            raise RuntimeError("no room.")
        return judged(gate, inputs)

    monkeypatch.setattr(Gate, "_reference", reference)
    network = mass.convert(Behind(lambda y: F.avg_pool2d(y, y.shape[2] // 4).mean((2, 3))).eval(), X)
    assert network(X).shape == (2, 4)
    with pytest.raises(ValueError, match=r"it runs, and the plain network does not \(no room\)"):
        network(LARGER)
