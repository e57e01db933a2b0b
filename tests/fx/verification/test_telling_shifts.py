"""The gate asks under shifts that move every map by an odd number of positions: a wrong period of two is not missed by chance."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import mass
from mass.fx.verification.shifts import Lattice, between, telling

SIZE = 48


@mass.mark_leaf
class EverySecondRow(nn.Module):
    """It says that it commutes with all shifts, and commutes with even ones."""

    def forward(self, x):
        return x * (1 + torch.arange(x.shape[2]) % 2).view(-1, 1).to(x.dtype)


class EveryFourthColumn(nn.Module):
    """It says that its period is 2, and it is 4."""

    def forward(self, x):
        return x * (1 + (torch.arange(x.shape[3]) % 4 == 0)).to(x.dtype)


mass.mark_leaf(EveryFourthColumn, period=2)


@pytest.mark.parametrize("leaf", [EverySecondRow, EveryFourthColumn])
@pytest.mark.parametrize("seed", range(8))
def test_a_wrong_mark_behind_a_stride_is_refused_by_one_image(leaf, seed):
    torch.manual_seed(seed)
    x = torch.rand(1, 3, 32, 32)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), leaf(), nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ).eval()  # fmt: skip
    with pytest.raises(mass.NotEquivariantError, match="does not commute with shifts as its rule or mark says"):
        mass.convert(model, x)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 2), st.integers(0, 2**31))
def test_every_lattice_moves_by_an_odd_number_of_positions(strides, batch, seed):
    """The first sample of the shifted input is the first at or behind t: as many steps on as there are samples before t."""
    generator, stride, lattices = torch.Generator().manual_seed(seed), 1, []
    origin = torch.zeros(batch, 2, dtype=torch.int64)
    for s in strides:
        if SIZE % (stride * s) or SIZE // (stride * s) < 2:
            break
        origin = origin + stride * torch.randint(s, (batch, 2), generator=generator)
        stride *= s
        lattices.append(Lattice(origin, (stride, stride), (1, 1), (SIZE // stride,) * 2))
    shifts = telling(lattices, (SIZE, SIZE), (stride, stride))
    for lattice in lattices:
        for axis in (0, 1):
            first = [o[axis].item() for o in lattice.origin]
            steps = [len(range(o, t[axis], lattice.stride[axis])) for t in shifts for o in first]
            assert len(shifts) == 3 or any(step % 2 for step in steps)


def test_without_maps_it_lies_between_the_samples():
    assert telling([], (32, 32), (8, 8)) == [between((32, 32), (8, 8))] == [(13, 1)]


def test_an_axis_as_long_as_rows_and_columns_is_not_both():
    """Read off the whole map, a list of 16 numbers stays where it is; it is no map of 16 x 16 because the image is."""

    class Sorted(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, 1, 1)

        def forward(self, x):
            y = self.conv(x)
            return y.cumsum(2)[:, :3, 5], y.mean((2, 3))

    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with pytest.warns(mass.CoordinatesWarning):
        converted = mass.convert(Sorted().eval(), x)
    assert mass.certify(converted, x, shifts=8)
