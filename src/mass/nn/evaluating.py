"""A model held in eval mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; afterwards every submodule has its own training flag back."""
    dense = [
        module.__dict__["mass_dense"] for module in model.modules() if "mass_dense" in module.__dict__
    ]  # a detector's
    modes = [(module, module.training) for part in (model, *dense) for module in part.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
