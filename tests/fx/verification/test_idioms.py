"""How published models are written: converted and bit-identical, or refused with a way out that works."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mass

X = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Returns(nn.Module):
    """A map at the image's size, folded from patches, and what a function makes of it."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.function = nn.Conv2d(3, 16, 4, 4), function

    def forward(self, x):
        return self.function(F.fold(self.conv(x).flatten(2), x.shape[-2:], 4, stride=4))


@pytest.mark.parametrize(
    "function",
    [lambda y: (y, y.amax((1, 2, 3))), lambda y: {"map": y, "same": y, "score": (y * 2).mean((1, 2, 3))}],
    ids=["maximum", "mean"],
)
def test_a_map_is_returned_beside_a_score_of_it(function):
    """As anomaly detectors do: the map moves along, the score is computed where the map was."""
    converted = mass.convert(Returns(function).eval(), X)
    assert mass.certify(converted, X, 12).identical.all()
    y = converted(X.roll((3, 5), (2, 3)))
    returned, before = (list(v.values()) if isinstance(v, dict) else list(v) for v in (y, converted(X)))
    assert torch.equal(returned[0], before[0].roll((3, 5), (2, 3))) and torch.equal(returned[-1], before[-1])


def test_a_map_without_channels_is_told_how():
    with pytest.raises(mass.NotEquivariantError, match=r"return it with an axis of channels, y\[:, None\]"):
        mass.convert(Returns(lambda y: y.squeeze(1)).eval(), X)
    assert mass.certify(mass.convert(Returns(lambda y: y.squeeze(1)[:, None]).eval(), X), X, 6).identical.all()


class Untraceable(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x) if bool(x.isfinite().all()) else None


def test_several_values_of_a_part_that_cannot_be_traced():
    def four(y):
        return y.mean((1, 2, 3)), y.amax((1, 2, 3)), None, y.std((1, 2, 3))

    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), Untraceable(four)).eval()
    assert mass.certify(mass.convert(model, X), X, 6).identical.all()
    maps = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), Untraceable(lambda y: (y.mean((2, 3)), y, y, y))).eval()
    with pytest.raises(mass.NotEquivariantError, match="it returns several tensors .*unpack them in forward"):
        mass.convert(maps, X)


class Frozen(nn.Module):
    """A part that `forward` sets to eval mode."""

    def __init__(self):
        super().__init__()
        self.backbone, self.head = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8)), nn.Linear(8, 4)

    def forward(self, x):
        self.backbone.eval()
        return self.head(self.backbone(x).mean((2, 3)))


def test_a_part_that_forward_freezes_is_converted_for_evaluation():
    converted = mass.convert(Frozen().eval(), X)
    assert mass.certify(converted, X, 6).identical.all()
    with pytest.raises(mass.NotEquivariantError, match="converted for evaluation alone"):
        converted.train()
    with pytest.raises(mass.NotEquivariantError, match="on noise in train mode"):
        mass.convert(Frozen().train(), X)


class ImagePooling(nn.Module):
    """A pyramid's branch over the whole image, whose batch norm takes no single image in training (PSPNet, ASPP)."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8))
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.last = nn.Conv2d(16, 2, 1)

    def forward(self, x):
        y = self.stem(x).relu()
        return self.last(torch.cat([y, F.interpolate(self.pool(y), y.shape[-2:], mode="bilinear")], 1))


class Windows(nn.Module):
    """Attention windows and back, with the batch's size computed as Swin's code does."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x):
        y = self.conv(x).permute(0, 2, 3, 1)
        height, width = y.shape[1:3]
        windows = y.view(y.shape[0], height // 4, 4, width // 4, 4, 8).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, 4, 8)
        batch = int(windows.shape[0] / (height * width / 4 / 4))
        y = windows.view(batch, height // 4, width // 4, 4, 4, -1).permute(0, 1, 3, 2, 4, 5)
        return y.reshape(batch, height, width, -1).permute(0, 3, 1, 2)


@pytest.mark.parametrize("build", [ImagePooling, Windows])
@pytest.mark.parametrize("training", [False, True])
def test_an_example_of_one_image_tells_as_much_as_one_of_two(build, training):
    converted = mass.convert(build().train(training), X[:1])
    assert converted.mass_evaluation_only == ""
    assert mass.certify(converted, X[:1], 6).identical.all()


@pytest.mark.parametrize(
    "draw",
    [
        lambda y: F.dropout(y, 0.5, training=True),
        lambda y: y + torch.randn_like(y),
        lambda y: y + 0.1 * torch.randn(y.shape),
    ],
    ids=["dropout", "randn_like", "randn"],
)
def test_random_numbers_drawn_in_evaluation_are_drawn_alike(draw):
    """A network that samples in eval mode converts; under one seed it is invariant."""

    class Samples(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(8, 4)

        def forward(self, x):
            return self.head(draw(self.conv(x).relu().mean((2, 3))))

    state = torch.get_rng_state()
    converted = mass.convert(Samples().eval(), X)
    torch.set_rng_state(state)
    found = []
    for x in (X, X.roll((3, 5), (2, 3))):
        torch.manual_seed(0)
        found.append(converted(x))
    assert torch.equal(*found) and not torch.equal(found[0], converted(X))


def test_data_is_read_as_a_detached_map():
    class Shuffles(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, 2, 1)

        def forward(self, x):
            y = self.conv(x)
            batch, channels, height, width = y.data.size()
            return y.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(y.shape).mean((2, 3))

    converted = mass.convert(Shuffles().eval(), X)
    assert converted.total_stride == (2, 2) and mass.certify(converted, X, 6).residues == (4, 4)
