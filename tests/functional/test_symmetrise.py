"""Inputs with a translation symmetry: equal up to it, and equal with symmetrise."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mass
from mass.functional.origin.symmetrise import symmetrise


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class Dense(nn.Module):
    """A decoder with a skip and pyramid bins of periods that are no multiples of each other."""

    def __init__(self):
        super().__init__()
        self.a, self.up = nn.Conv2d(3, 6, 3, 2, 1), nn.ConvTranspose2d(6, 4, 4, 2, 1)
        self.mix = nn.Conv2d(18, 6, 3, 1, 1)

    def forward(self, x):
        y = self.a(x).relu()
        bins = [F.interpolate(F.adaptive_max_pool2d(y, n), y.shape[2:]) for n in (2, 3)]
        return self.up(self.mix(torch.cat([y, *bins], 1)))


@pytest.mark.parametrize("period", [(1, 1), (3, 1), (2, 3), (4, 6), (12, 6)])
def test_symmetric_inputs(period):
    """Equal up to one symmetry of the input, which the certificate names; with symmetrise, equal."""
    size = (24, 36)
    x = noise(1, 3, *period).repeat(1, 1, size[0] // period[0], size[1] // period[1])
    model = Dense().eval()
    certificate = mass.certify(mass.convert(model, x), x, 12)
    assert certificate, certificate
    if not certificate.identical.all():
        g = certificate.symmetry[0]
        assert g is not None and torch.equal(x.roll(g, (2, 3)), x) and math.gcd(*g) != 0
    certificate = mass.certify(mass.convert(model, x, symmetrise=True), x, 12)
    assert certificate.identical.all(), certificate


def test_symmetry_of_coarser_outputs():
    """A map at a quarter of the resolution moves by a symmetry, too: on its own lattice."""
    x = noise(1, 3, 3, 3).repeat(1, 1, 8, 8)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 2, 2), nn.Conv2d(4, 4, 2, 2), nn.Conv2d(4, 4, 2, 2), nn.ConvTranspose2d(4, 4, 2, 2)
    ).eval()
    certificate = mass.certify(mass.convert(model, x), x, 24)
    assert certificate, certificate


def test_symmetrise_joins_what_a_symmetry_joins_and_nothing_else():
    """Each channel and orbit by itself: large and infinite values elsewhere take no digit away."""
    y, alone = torch.rand(1, 2, 8, 8), torch.rand(1, 1, 8, 8)
    y[0, 0, 0, 0], y[0, 0, 1, 1] = -torch.inf, 1e30
    assert torch.equal(symmetrise(y, alone), y)
    periodic = torch.rand(1, 1, 4, 8).repeat(1, 1, 2, 1)
    mean = symmetrise(y, periodic)
    assert mean[0, 0, 0, 0] == mean[0, 0, 4, 0] == -torch.inf and mean.isinf().sum() == 2
    assert torch.equal(mean[0, 1], ((y + y.roll(4, 2)) / 2)[0, 1])
    y[0, 1, 2, 3] = torch.nan
    assert symmetrise(y, periodic).isnan().nonzero().tolist() == [[0, 1, 2, 3], [0, 1, 6, 3]]
