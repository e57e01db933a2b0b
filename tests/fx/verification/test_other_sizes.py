"""What a model computes from the size of its input is not frozen unseen: other sizes are right, or refused in a sentence."""

import copy
from functools import partial

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
@pytest.mark.parametrize("seed", range(4))
def test_cells_of_one_position_are_none_of_two_elsewhere(seed):
    """At twice the size the plain network moves in steps twice as long, and says nothing under shorter ones."""
    torch.manual_seed(seed)
    x = torch.randn(2, 3, 16, 16)
    model = layers(nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(80, 5)).eval()
    network = mass.convert(model, x)
    assert mass.certify(network, x, shifts=8)
    with pytest.raises(ValueError, match=r"16 x 16 alone, .* got 32 x 16: at twice the example's height, the output"):
        network(torch.randn(2, 3, 32, 16))
    assert mass.certify(mass.convert(model, LARGER), LARGER, shifts=8)


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


class Frames(nn.Module):
    """A function of a video's map."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.function = nn.Conv3d(3, 4, 3, (1, 2, 2), 1), function

    def forward(self, x):
        return self.function(self.conv(x).relu())


class Logarithm(nn.Module):
    def forward(self, x):
        return x.log()


def noise(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


VIDEO, LONGER = noise(1, 3, 4, 8, 8), noise(1, 3, 8, 8, 8)
FROZEN_ALONG = {  # what is frozen, and an input of another size
    "a window as wide as the map is high": (lambda: Behind(lambda y: F.avg_pool2d(y, y.shape[2]).amax((2, 3)), 2), noise(2, 3, 32, 64)),
    "both sides by one": (lambda: Behind(lambda y: F.interpolate(y, size=2 * y.shape[2]), 2), noise(2, 3, 96, 32)),
    "sides exchanged": (lambda: Behind(lambda y: y.view(y.shape[0], y.shape[1], y.shape[3], y.shape[2]) * 1.0, 2), noise(2, 3, 32, 64)),
    "a window cut to the map": (lambda: Behind(lambda y: F.avg_pool2d(y, 40, ceil_mode=True).amax((2, 3))), noise(2, 3, 96, 96)),
    "a crop": (lambda: Behind(lambda y: y[:, :, :16, :16] * 1.0, 2), LARGER),
    "behind a logarithm": (
        lambda: nn.Sequential(Logarithm(), Behind(lambda y: F.max_pool2d(y, y.shape[2] // 4).mean((2, 3)), 2)), noise(2, 3, 64, 64)
    ),
}  # fmt: skip
FROZEN_IN_TIME = {
    "a window by the frames": lambda: Frames(lambda y: F.max_pool3d(y, (y.shape[2] // 2, 1, 1)).mean((2, 3, 4))),
    "a number of frames": lambda: Frames(lambda y: F.interpolate(y, size=(8, 8, 8))),
}


@pytest.mark.filterwarnings("ignore::mass.CoordinatesWarning")
@pytest.mark.parametrize("name", FROZEN_ALONG)
def test_what_was_frozen_along_one_side_is_refused(name):
    torch.manual_seed(0)
    build, other = FROZEN_ALONG[name]
    x = noise(2, 3, 32, 32)
    try:
        network = mass.convert(build().eval(), x)
    except mass.NotEquivariantError:
        return
    assert network(x).isfinite().all()
    with pytest.raises(
        ValueError,
        match="holds for inputs of 32 x 32 alone|by the factor of the example|otherwise for this input|the whole map for",
    ):
        network(other)


def test_copies_of_a_map_are_right_at_all_sizes():
    torch.manual_seed(0)
    network = mass.convert(Behind(lambda y: y.repeat(1, 1, 2, 2), 2).eval(), X)
    assert network.mass_only_size is None and mass.certify(network, LARGER, shifts=8)


@pytest.mark.parametrize("name", FROZEN_IN_TIME)
def test_what_was_frozen_in_time_is_refused(name):
    torch.manual_seed(0)
    network = mass.convert(FROZEN_IN_TIME[name]().eval(), VIDEO)
    assert mass.certify(network, VIDEO, shifts=8)
    with pytest.raises(ValueError, match="holds for inputs of 4 x 8 x 8 alone, .* got 8 x 8 x 8"):
        network(LONGER)


@pytest.mark.parametrize(
    ("function", "example", "other"),
    [
        (lambda y: torch.stack([p.amax((2, 3)) for p in y.split(8, 2)], 1).mean(1), noise(2, 3, 32, 32), noise(2, 3, 64, 32)),
        (lambda y: torch.cat([p.mean((2, 3)) for p in y.split(1)]), noise(2, 3, 32, 32), noise(3, 3, 32, 32)),
        (lambda y: sum(p.amax((1, 2, 3)) for p in y.unbind(0)), noise(2, 3, 32, 32), noise(3, 3, 32, 32)),
    ],
)  # fmt: skip
def test_as_many_parts_as_for_the_example(function, example, other):
    """A loop over parts of a tensor is unrolled: other inputs must have as many."""
    torch.manual_seed(0)
    try:
        network = mass.convert(Behind(function, 2).eval(), example)
    except mass.NotEquivariantError:
        return
    with pytest.raises(ValueError, match="otherwise for this input|holds for inputs") as refused:
        network(other)
    assert len(str(refused.value)) < 300


def test_a_branch_of_zeros_is_asked_as_if_it_were_learned():
    """Its gate is 0, and what it computes from the size shows in nothing, until it is trained."""
    torch.manual_seed(0)

    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.gate = nn.Conv2d(3, 4, 3, 2, 1), nn.Parameter(torch.zeros(1))

        def forward(self, x):
            y = self.conv(x)
            return y + self.gate * F.interpolate(F.avg_pool2d(y, y.shape[2] // 4), size=y.shape[2:])

    network = mass.convert(Gated().eval(), X)
    assert network.gate.item() == 0 and mass.certify(network, X, shifts=8)
    with pytest.raises(ValueError, match="holds for inputs of 32 x 32 alone"):
        network(LARGER)


def test_the_size_is_told_of_the_image_in_whatever_order():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, 2, 1)

        def forward(self, x, t):
            y = self.conv(x).relu()
            return F.max_pool2d(y, y.shape[2] // 4).mean((2, 3)) + t[:, None]

    network, t = mass.convert(Two().eval(), (X, torch.ones(2))), torch.ones(2)
    assert torch.equal(network(t=t, x=X), network(X, t))
    with pytest.raises(ValueError, match="holds for inputs of 32 x 32 alone"):
        network(t=t, x=LARGER)


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
        lambda: layers(nn.Conv2d(5, 6, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
        lambda: layers(nn.Conv2d(5, 6, 8), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(6, 5)),
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
        assert "the model returns" in str(refusal) or "spans its map" in str(refusal)
    else:
        assert network(X).shape == model(X).shape and mass.certify(network, X, shifts=8)
        if not isinstance(model[-1], nn.ConvTranspose2d):  # of the plain network, its window stays what it was
            for layer in model.modules():
                if isinstance(layer, nn.Conv2d) and layer.padding == (1, 1):
                    layer.padding_mode = "circular"
            assert torch.allclose(mass.convert(model, X, origin="zero")(X), model(X), atol=1e-5)


@pytest.mark.filterwarnings("ignore::mass.CoordinatesWarning")
@pytest.mark.parametrize(
    "function", [lambda y: y.flatten(2).softmax(2), lambda y: (y.flatten(2).softmax(2) * y.flatten(2)).sum(2)]
)
def test_one_position_tells_nothing_about_more(function):
    """Spread over another axis, a single position needs no origin; several would, so that larger images are refused."""
    torch.manual_seed(0)
    model = Behind(function, 8).eval()
    network = mass.convert(model, torch.randn(1, 3, 8, 8))
    assert mass.certify(network, torch.randn(2, 3, 8, 8))
    with pytest.raises(ValueError, match=r"inputs of 8 x 8 alone, .* 'flatten.*' spreads is one position"):
        network(torch.randn(1, 3, 16, 16))


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


def test_nothing_is_printed_where_a_larger_size_does_not_fit(capfd):
    """`torch.fx` prints where a graph fails when it is called."""

    class Squares(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, 2, 1)

        def forward(self, x):
            y = self.conv(x)
            return torch.maximum(y, y.transpose(2, 3))

    network = mass.convert(Squares().eval(), X)
    assert mass.certify(network, X, shifts=8)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("size", [(None, 1), (None, None)])
@pytest.mark.parametrize("functional", [False, True])
def test_as_many_cells_as_one_position_are_none_at_other_sizes(size, functional):
    """`None` keeps an axis: of one position in the example, and of all that a larger image has."""
    torch.manual_seed(0)
    model = Behind((lambda y: F.adaptive_avg_pool2d(y, size)) if functional else nn.AdaptiveAvgPool2d(size), 16).eval()
    network = mass.convert(model, torch.randn(2, 3, 16, 16))
    with pytest.raises(ValueError, match="inputs of 16 x 16 alone"):
        network(torch.randn(2, 3, 48, 16))


@pytest.mark.parametrize("mode", ["nearest", "trilinear"])
@pytest.mark.parametrize("options", [{}, {"recompute_scale_factor": True}])
@pytest.mark.parametrize("factor", [0.5, 1.5, 1.1, 3])
def test_any_number_of_frames_is_interpolated_as_by_the_model(factor, options, mode):
    """PyTorch rounds their number down, and places them by the factor; the example has one number of frames."""
    for make in (
        lambda: nn.Upsample(scale_factor=(factor, 1, 1), mode=mode, **options),
        lambda: Calling(partial(F.interpolate, scale_factor=(factor, 2, 2), mode=mode, **options)),
    ):
        model = nn.Sequential(nn.Conv3d(1, 2, 1), make()).eval()
        network = mass.convert(model, torch.rand(1, 1, 4, 8, 8))
        for frames in range(2, 10):
            x = torch.rand(1, 1, frames, 8, 8)
            expected, found = model(x), network(x)
            assert found.shape == expected.shape
            assert torch.allclose(found[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-5)


class Calling(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize("pool", [nn.AvgPool2d, nn.MaxPool2d])
def test_a_window_that_is_cut_to_its_map_covers_no_larger_one(pool):
    network = mass.convert(nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), pool(72, ceil_mode=True)).eval(), X)
    assert network(LARGER).shape == (2, 4, 1, 1)
    with pytest.raises(
        ValueError, match=r"windows of \(72, 72\) cover the whole map for the example .* not this one of \(96, 96\)"
    ):
        network(torch.rand(1, 3, 96, 96))
