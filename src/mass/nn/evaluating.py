"""A model held in eval mode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def modes_of(model: nn.Module) -> dict[str, bool]:
    """The training flag of every module, by its path."""
    return {path: module.training for path, module in model.named_modules(remove_duplicate=False)}


def set_modes(model: nn.Module, modes: dict[str, bool]) -> None:
    """Give every module the flag of its path, and a part that conversion made that of the module it lies in."""
    for path, module in model.named_modules(remove_duplicate=False):
        while path not in modes:
            path = path.rpartition(".")[0]
        module.training = modes[path]


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
def drawing_alike(inputs: Iterable[Any]) -> Iterator[None]:
    """Random numbers are drawn as in every other run in it, on the CPU and on the inputs' devices; the generators stay as they are."""
    devices = sorted({x.device.index for x in inputs if isinstance(x, Tensor) and x.is_cuda})
    with torch.random.fork_rng(devices):
        torch.manual_seed(0)
        yield


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
