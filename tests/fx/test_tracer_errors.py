"""A mistake of the tracer's own is an error, never a module that 'could not be traced'."""

import pytest
import torch

import mass
from mass.fx.tracing import trace


def test_the_tracers_own_mistakes_are_not_the_models(monkeypatch):
    """Else every module would stay whole: exact, slow, and silently so."""

    exec(compile("def broken(self):\n    raise TypeError('a mistake')", trace.__file__, "exec"), namespace := {})
    monkeypatch.setattr(trace._Tracer, "_moment", namespace["broken"])
    model = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2, 1)))
    with pytest.raises(TypeError, match="a mistake"):
        mass.convert(model, torch.zeros(1, 3, 8, 8))
