"""Submodules in which something is refused stay whole, and what reads several levels of a pyramid reads them in one position."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import mass

X = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Coordinates(nn.Module):
    """Coordinate attention: rows and columns go through one convolution, as one sequence."""

    def __init__(self, looks_at_values=False):
        super().__init__()
        self.rows, self.columns = nn.AdaptiveAvgPool2d((None, 1)), nn.AdaptiveAvgPool2d((1, None))
        self.mix, self.looks_at_values = nn.Conv2d(4, 4, 1), looks_at_values

    def forward(self, x):
        if self.looks_at_values and x.isnan().any():
            raise ValueError
        y = self.mix(torch.cat([self.rows(x), self.columns(x).transpose(2, 3)], 2))
        rows, columns = y.split([x.shape[2], x.shape[3]], 2)
        return x * rows.sigmoid() * columns.transpose(2, 3).sigmoid()


class Deformable(nn.Module):
    """Offsets that are computed by a convolution with a stride, and read by another with the same."""

    def __init__(self):
        super().__init__()
        self.offsets, self.conv = nn.Conv2d(4, 18, 3, 2, 1), torchvision.ops.DeformConv2d(4, 4, 3, 2, 1)

    def forward(self, x):
        return self.conv(x, 4 * self.offsets(x))


def around(block):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), block, nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1)).eval()


def seeded(make, *args):
    torch.manual_seed(1)
    return make(*args)


def test_a_submodule_in_which_something_is_refused_stays_whole():
    model = around(seeded(Coordinates))
    network = mass.convert(model, X)
    assert mass.certify(network, X, shifts=8)
    untraceable = mass.convert(around(seeded(Coordinates, True)), X)  # which stays whole for another reason
    assert torch.equal(network(X), untraceable(X))
    explained = mass.explain(model, X)
    assert (
        explained.convertible
        and "'1' stays whole: it joins maps whose positions lie on different axes (node 'cat')" in str(explained)
    )


def test_only_the_innermost_stays_whole():
    """And of a class, only those that need it."""

    class Block(nn.Module):
        def __init__(self, attends):
            super().__init__()
            self.conv, self.attention = nn.Conv2d(4, 4, 3, 1, 1), seeded(Coordinates) if attends else nn.Identity()

        def forward(self, x):
            return x + self.attention(self.conv(x))

    network = mass.convert(around(nn.Sequential(Block(False), Block(True))), X)
    called = {str(n.target) for n in network.graph.nodes if n.op == "call_module"}
    assert {"1.0.conv", "1.1.conv", "1.1.attention"} <= called and "1.1" not in called


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize(
    "turned", [lambda y: y.transpose(2, 3), lambda y: y.flip(3), lambda y: y @ y.mT, lambda y: y + y.mT]
)
def test_what_does_not_move_with_its_maps_does_not_stay_whole(turned, stride):
    """On square maps it would be moved back along axes that are others: with the model's borders nothing else would tell."""

    class Turned(nn.Module):
        def __init__(self, function):
            super().__init__()
            self.conv, self.attention, self.function = nn.Conv2d(4, 4, 3, 1, 1), seeded(Coordinates), function

        def forward(self, x):
            y = torch.cat([self.attention.rows(x), self.attention.columns(x).transpose(2, 3)], 2)
            return self.function(self.conv(x).relu()) * y.mean((2, 3), keepdim=True)

    torch.manual_seed(0)
    downsampling = nn.Conv2d(3, 4, stride + 1, stride, 1)
    assert mass.certify(mass.convert(nn.Sequential(downsampling, Turned(lambda y: y)).eval(), X), X, shifts=4)
    with pytest.raises(mass.NotEquivariantError, match="positions lie on different axes"):
        mass.convert(nn.Sequential(downsampling, Turned(turned)).eval(), X)


def test_what_has_a_way_out_is_refused_as_before():
    class OfOnePosition(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 16, 16)

        def forward(self, x):
            return x + self.conv(x)

    with pytest.raises(mass.NotEquivariantError, match="'add': .* bring both to one size first"):
        mass.convert(around(OfOnePosition()), X)
    with pytest.raises(mass.NotEquivariantError, match="different axes; a module of its own, .* would be tried"):
        mass.convert(Coordinates().eval(), torch.rand(2, 4, 16, 16))


def test_a_deformable_convolution_with_a_stride():
    network = mass.convert(around(seeded(Deformable)), X)
    assert network.total_stride == (8, 8) and mass.certify(network, X, shifts=8)


class Fused(nn.Module):
    """What looks at values, and reads two levels, by themselves or in a list."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, maps):
        if maps[0].isnan().any():
            raise ValueError
        return self.function(*maps)


class Pyramid(nn.Module):
    """A function of the levels of strides 2 and 8, in either order."""

    def __init__(self, function, reverse):
        super().__init__()
        self.levels = nn.ModuleList([nn.Conv2d(3, 4, 3, 2, 1, padding_mode="circular"), nn.Conv2d(4, 4, 4, 4)])
        self.fused, self.reverse = Fused((lambda a, b: function(b, a)) if reverse else function), reverse

    def forward(self, x):
        fine = self.levels[0](x).relu()
        maps = [fine, self.levels[1](fine)]
        return self.fused(maps[::-1] if self.reverse else maps)


LEVELS = {
    "of the image's size": lambda fine, coarse: F.interpolate(fine, size=(32, 32)) + F.interpolate(coarse, size=(32, 32)),
    "of the finer's": lambda fine, coarse: fine + F.interpolate(coarse, size=fine.shape[2:]),
    "of the coarser's": lambda fine, coarse: F.avg_pool2d(fine, 4) + coarse,
    "tokens": lambda fine, coarse: torch.cat([fine.flatten(2), coarse.flatten(2)], 2).softmax(2).amax(2),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::mass.CoordinatesWarning")
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", LEVELS)
def test_code_that_cannot_be_traced_may_read_several_levels(name, reverse):
    """It is what the plain network gives at one of all origins, all levels seen from there."""
    torch.manual_seed(0)
    model = Pyramid(LEVELS[name], reverse).eval()
    network = mass.convert(model, X)
    assert mass.certify(network, X, shifts=8)
    with torch.no_grad():
        found = network(X[:1])
        origins = [(i, j) for i in range(32) for j in range(32)]
        plain = model(torch.cat([X[:1].roll((-i, -j), (2, 3)) for i, j in origins]))
    if found.ndim == 4:  # moved back by whole positions
        s = 32 // found.shape[2]
        plain = torch.stack([y.roll((i // s, j // s), (1, 2)) for y, (i, j) in zip(plain, origins, strict=True)])
    assert (plain - found).abs().flatten(1).amax(1).min() < 1e-5 < (plain - found).abs().max()
