"""What cannot be traced is named; a mistake of the tracer's own is an error, never a module that could not be traced."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import mass
from mass.fx.tracing import trace


def test_the_tracers_own_mistakes_are_not_the_models(monkeypatch):
    """Else every module would stay whole: exact, slow, and silently so."""
    monkeypatch.setattr(trace, "Moment", None)
    model = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2, 1)))
    with pytest.raises(TypeError, match="not callable"):
        mass.convert(model, torch.zeros(1, 3, 8, 8))


def test_checkpointing_is_named():
    """Inside of a model it cannot be traced; around a converted network it works as around any."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = network

        def forward(self, x):
            return checkpoint(self.inside, x, use_reentrant=False)

    x = torch.rand(2, 3, 32, 32)
    with pytest.raises(mass.NotEquivariantError, match="turn gradient checkpointing off"):
        mass.convert(Net(), x)
    converted = mass.convert(network, x)
    images = x.clone().requires_grad_()
    (one,) = torch.autograd.grad(converted(images).sum(), images)
    (other,) = torch.autograd.grad(checkpoint(converted, images, use_reentrant=False).sum(), images)
    assert torch.equal(one, other)


def test_a_tensor_that_keeps_what_it_was_made_of_is_named():
    """PyTorch copies none: a distance of a memory that was computed from a parameter once, say. Of pruned weights a call is the way out."""

    class Radius(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.scale = nn.Conv2d(3, 4, 3, 2, 1), nn.Parameter(torch.ones(1))
            self.radius = 2 * self.scale

        def forward(self, x):
            return self.conv(x).mean((2, 3)) / self.radius

    x, model = torch.rand(2, 3, 16, 16), nn.Sequential(Radius()).eval()
    with pytest.raises(mass.NotEquivariantError, match=r"detach it: '0\.radius' keeps what it was made of"):
        mass.convert(model, x)
    model[0].radius = model[0].radius.detach()
    assert mass.certify(mass.convert(model, x), x)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1))
    torch.nn.utils.prune.l1_unstructured(model[0], "weight", 0.5)
    with pytest.raises(mass.NotEquivariantError, match="call it once in eval mode"):
        mass.convert(model, x)
