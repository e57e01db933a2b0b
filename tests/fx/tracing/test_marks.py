"""Marked leaves: a class that commutes with shifts, by its mark; a false mark is found."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mass
from mass.marks import marked_period

X = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def test_marked_leaf():
    class Twice(nn.Module):
        def forward(self, x):
            return x * 2 if x.amax() > 0 else x

    class Crop(nn.Module):
        def forward(self, x):
            return x * torch.arange(x.shape[3]) if x.shape[3] > 0 and bool(x.isfinite().all()) else x

    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), Twice(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    unmarked = mass.explain(model, X).rows[1]  # it cannot be traced: the whole map is its period
    assert unmarked["kind"] == "Twice" and unmarked["period"] == "32 x 48"
    mass.mark_leaf(Twice)
    assert len(mass.explain(model, X).rows) == 2  # it commutes with all shifts
    assert mass.certify(mass.convert(model, X), X, shifts=5).identical.all()
    mass.mark_leaf(Crop)  # a false claim: verify names the node
    false = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), Crop(), nn.AdaptiveAvgPool2d(1)).eval()
    with pytest.raises(mass.NotEquivariantError, match="node '1': after a circular shift of the input"):
        mass.convert(false, X)
    for wrong in (3, "Twice", Twice()):
        with pytest.raises(TypeError, match="subclass of torch.nn.Module"):
            mass.mark_leaf(wrong)
    with pytest.raises(ValueError, match="period must be an int of at least 1"):
        mass.mark_leaf(Twice, 0)


class Extremes(nn.Module):
    def forward(self, x):
        return F.max_pool2d(x, 2), -F.max_pool2d(-x, 2), x.amax((2, 3))


mass.mark_leaf(Extremes, 2)


@pytest.mark.parametrize(
    "read",
    [lambda y: y[0] - y[1], lambda y: sum(y[:2]), lambda y: y[0] * y[2][:, :, None, None]],
    ids=["two", "sum", "maxima"],
)
def test_a_marked_leaf_may_return_a_tuple(read):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.extremes, self.last = nn.Conv2d(3, 4, 3, 2, 1), Extremes(), nn.Conv2d(4, 5, 3, 2, 1)

        def forward(self, x):
            return self.last(read(self.extremes(self.conv(x)))).amax((2, 3))

    x = torch.randn(2, 3, 32, 32)
    converted = mass.convert(Net().eval(), x)
    assert converted.total_stride == (8, 8) and mass.certify(converted, x)


def test_the_mark_of_the_nearest_class_counts():
    class Base(nn.Module):
        pass

    class Special(Base):
        pass

    mass.mark_leaf(Base, 1)
    mass.mark_leaf(Special, 2)
    assert (marked_period(Base()), marked_period(Special())) == (1, 2)
