"""A mistake of the tracer's own is an error, never a module that 'could not be traced'."""

import pytest
import torch

import mass
from mass.fx.tracing import trace


def test_the_tracers_own_mistakes_are_not_the_models(monkeypatch):
    """Else every module would stay whole: exact, slow, and silently so."""
    monkeypatch.setattr(trace, "Moment", None)
    model = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2, 1)))
    with pytest.raises(TypeError, match="not callable"):
        mass.convert(model, torch.zeros(1, 3, 8, 8))
