"""Places of whole images: they move along with the image, and the network behind them sees one image."""

import pytest
import torch
from torch import nn

import mass
from companion.models.canonical import PLACES, InItsFrame, in_frame, place


@pytest.mark.parametrize("rule", PLACES)
@pytest.mark.parametrize("size", [(24, 32), (17, 12)])
def test_a_place_moves_along(rule, size):
    x = torch.rand(4, 3, *size, generator=torch.Generator().manual_seed(1))
    for shift in [(1, 0), (5, 7), (16, 11)]:
        moved = place(x.roll(shift, (2, 3)), rule)
        assert torch.equal(moved, (place(x, rule) + torch.tensor(shift)) % torch.tensor(size))
        assert torch.equal(in_frame(x.roll(shift, (2, 3)), rule), in_frame(x, rule))


@pytest.mark.parametrize("rule", PLACES)
def test_any_network_is_exact_behind_it(rule):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 5)).eval()
    x = torch.rand(2, 3, 16, 16)
    assert mass.certify(InItsFrame(network, rule), x, shifts=6)


def test_the_centre_of_one_bright_square_is_its_middle():
    x = torch.zeros(1, 1, 32, 32)
    x[..., 9:14, 27:32] = 1.0
    assert place(x, "centre").tolist() == [[11, 29]]
