"""What can be traced: a model itself, not what was made of it."""

from __future__ import annotations

import torch
from torch import nn

from mass.errors import check_module
from mass.fx.network.converted import Converted


def require_plain(model: nn.Module) -> None:
    """Refuse what is no model, or was wrapped, compiled or converted.

    Raises:
        TypeError, ValueError: saying what to take instead.
    """
    check_module(model)
    if isinstance(model, Converted) and not model.mass_antialiased:
        raise ValueError("this model was converted before; convert the original, once.")
    kind = type(model).__name__
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise TypeError(f"this model is wrapped in {kind}; convert model.module, and wrap what comes of it.")
    if hasattr(model, "_orig_mod"):
        raise TypeError(
            "this model was compiled; convert model._orig_mod, the model itself, and compile what comes of it."
        )
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError(
            f"this model is TorchScript ({kind}), which cannot be traced; convert the model that it was made of."
        )
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise TypeError(
                f"submodule '{name}' is TorchScript, which cannot be traced; put the module there that it was made of."
            )
        if isinstance(module, Converted) and module is not model and not module.mass_antialiased:
            raise ValueError(f"submodule '{name}' was converted before; put the original there, and convert the whole.")
    if isinstance(model, Converted):
        return
    taken = {"meta", *dir(Converted)} - set(dir(nn.Module))  # `graph`, `code`, `total_stride`
    for name in (*model._modules, *model._parameters, *model._buffers):
        if name in taken or name.startswith("mass_"):
            raise ValueError(
                f"this model holds something called {name!r}, a name that every torch.fx.GraphModule or converted network "
                "has for itself; rename it."
            )
