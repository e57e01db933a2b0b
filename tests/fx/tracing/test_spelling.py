"""What PyTorch lets one write in several ways is one operation, whichever way it is written."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mass

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Behind(nn.Module):
    """A function of a convolution's map."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.function = nn.Conv2d(3, 8, 3, 2, 1), function

    def forward(self, x):
        return self.function(self.conv(x))


def of(function):
    torch.manual_seed(0)
    return mass.convert(Behind(function).eval(), X)


ALIKE = {
    "values by name": (lambda y: y.max(1).values, lambda y: y.max(1)[0]),
    "indices by name": (lambda y: torch.sort(y, dim=1).indices, lambda y: torch.sort(y, dim=1)[1]),
    "both": (lambda y: sum(y.topk(2, 1)[:1]), lambda y: y.topk(2, dim=1).values),
    "axes one by one": (
        lambda y: y.unflatten(1, (2, 4)).flip(1, 2).mean((3, 4)), lambda y: y.unflatten(1, (2, 4)).flip((1, 2)).mean((3, 4))
    ),
    "one axis": (lambda y: y.flip(1).mean((2, 3)), lambda y: torch.flip(y, dims=(1,)).mean((2, 3))),
    "keepdims": (lambda y: y.mean((2, 3), keepdims=True), lambda y: y.mean((2, 3), keepdim=True)),
    "tensors by name": (lambda y: torch.cat(dim=1, tensors=[y, -y]), lambda y: torch.cat([y, -y], 1)),
    "stacked": (lambda y: torch.stack(dim=1, tensors=[y, -y]), lambda y: torch.stack([y, -y], 1)),
    "a tuple joined": (lambda y: torch.cat(y.chunk(2, 1), 1), lambda y: torch.cat(list(y.chunk(2, 1)), 1)),
    "in another order": (lambda y: torch.cat(y.split(4, 1)[::-1], dim=1), lambda y: torch.cat([y[:, 4:], y[:, :4]], 1)),
    "a tuple stacked": (lambda y: torch.stack(y.unbind(1), 1), lambda y: torch.stack(list(y.unbind(1)), 1)),
    "input by name": (lambda y: F.avg_pool2d(kernel_size=2, input=y), lambda y: F.avg_pool2d(y, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", ALIKE)
def test_two_spellings_are_one_operation(name):
    one, other = (of(function) for function in ALIKE[name])
    assert torch.equal(one(X), other(X)) and one.total_stride == other.total_stride
    assert mass.certify(one, X, shifts=8)


def test_axes_of_positions_are_seen_in_whatever_place():
    """Turned rows do not commute with shifts: from the whole map, as without channels among the axes."""
    with pytest.warns(mass.CoordinatesWarning):
        network = of(lambda y: y.flip(1, 2).mean((2, 3)))
    assert mass.certify(network, X, shifts=8)


@pytest.mark.parametrize("factor", [2.02, (2, 2.02)])
def test_an_interpolation_by_a_factor_between_sizes_is_none_by_their_ratio(factor):
    """`scale_factor=2.02` reads other places than the 32 / 16 by which sizes grow: the whole map is the period."""
    plain = Behind(lambda y: F.interpolate(y, scale_factor=factor)).eval()
    plain.conv.padding_mode = "circular"
    network = mass.convert(plain, X)
    assert mass.certify(network, X, shifts=8)
    assert torch.allclose(mass.convert(plain, X, origin="zero")(X), plain(X), atol=1e-5)
    again = of(lambda y: F.interpolate(y, scale_factor=factor, recompute_scale_factor=True).mean((2, 3)))
    assert mass.certify(again, X, shifts=8)


def test_reducing_by_a_factor_between_sizes_is_refused():
    with pytest.raises(mass.NotEquivariantError, match=r"by 0\.52 from \(16, 16\) to \(8, 8\) samples between"):
        of(lambda y: F.interpolate(y, scale_factor=0.52))


def test_reducing_with_antialias_is_refused_by_its_name():
    said = str(mass.explain(Behind(lambda y: F.interpolate(y, scale_factor=0.5, mode="bilinear", antialias=True)), X))
    assert "antialias=True" in said
