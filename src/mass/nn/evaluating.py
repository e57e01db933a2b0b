"""A model held in eval mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def state_kept(model: nn.Module) -> Iterator[None]:
    """Afterwards every buffer holds what it held: some models count their calls, in eval mode too."""
    buffers = [(m, name, b, b.clone()) for m in model.modules() for name, b in m._buffers.items() if b is not None]
    try:
        yield
    finally:
        for module, name, buffer, kept in buffers:
            module._buffers[name] = buffer
            if not buffer.is_meta and not torch.equal(buffer, kept):
                with torch.no_grad():
                    buffer.copy_(kept)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; afterwards every submodule has its own training flag back, and every buffer its values."""
    dense = [
        module.__dict__["mass_dense"] for module in model.modules() if "mass_dense" in module.__dict__
    ]  # a detector's
    modes = [(module, module.training) for part in (model, *dense) for module in part.modules()]
    model.eval()
    try:
        with torch.no_grad(), state_kept(model):
            yield
    finally:
        for module, mode in modes:
            module.training = mode
