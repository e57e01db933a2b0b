"""A shift that windows alone read is done by them, on the map as it was."""

import pytest
import torch
from torch import nn

import mass
from companion.data.generated.hard_images import awkward_images


def targets(converted):
    return [str(node.target) for node in converted.graph.nodes]


class Every(nn.Module):
    """Sampling without a window: it reads the moved map itself."""

    def forward(self, y):
        return y[:, :, ::2, ::2]


class Shared(nn.Module):
    """A convolution and a pool of one map, and what else may happen to that map."""

    def __init__(self, other=None, writes=False):
        super().__init__()
        self.first, self.pool = nn.Conv2d(3, 4, 3, 2, 1), nn.MaxPool2d(3, 2, 1)
        self.match, self.other, self.writes = nn.Conv2d(3, 4, 1), other, writes

    def forward(self, x):
        y = x * 2
        a = self.first(y)
        if self.writes:
            y.add_(1)
        pooled = self.pool(y)
        b = self.match(pooled if self.other is None else pooled + self.other(y))
        return (a + b).mean((2, 3))


@pytest.mark.parametrize(("model", "shifts"), [(Shared(), 0), (Shared(Every()), 1), (Shared(writes=True), 0)])
def test_shifts_that_remain(model, shifts):
    images = torch.cat(list(awkward_images(32, 48).values()))
    converted = mass.convert(model.eval(), images)
    assert targets(converted).count("mass_shift") == shifts
    assert mass.certify(converted, images, [(1, 0), (7, 5), (31, 47)]).identical.all()


def test_gradients_are_those_of_shift_and_pad():
    converted = mass.convert(Shared().double(), torch.randn(2, 3, 8, 8, dtype=torch.float64), verify=False)
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(converted, x)


def test_origins_that_nothing_reads_are_removed():
    """Half of a stride of 4 is taken back: the proof asked for both digits, the network does not."""
    model = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.Upsample(scale_factor=2), nn.Conv2d(8, 2, 3, padding=1)).eval()
    converted = mass.convert(model, torch.randn(1, 3, 16, 16))
    assert all(node.users for node in converted.graph.nodes if str(node.target).startswith("mass_"))
    called = set(targets(converted))
    assert all(name in called for name, _ in converted.named_children() if name.startswith("mass_"))
