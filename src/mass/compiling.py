"""`torch.compile` for converted networks, with one setting that bits may depend on."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mass.detection.detectors.detector import TorusDetector


def compile(model: nn.Module, **options: Any) -> Any:
    """`torch.compile`, with Inductor's layout optimisation off, so that convolutions keep the layout they were given.

    On the CPU that optimisation may turn convolutions to channels last, whose kernels may round by position; no difference
    was seen on the networks tried here. `certify` says of your model and machine.

    Of a detector the dense part is compiled, where it is, and the detector returned: what follows has as many boxes as there are, and
    would be compiled anew for each number of them.

    Args:
        model: a converted network; options: of `torch.compile`; its `options`, if given, are completed.

    Raises:
        ValueError: for a `mode` that `torch.compile` would not combine with options.

    >>> compiled = compile(nn.Conv2d(3, 4, 3, 2, 1).eval())     # compiled when it is first called
    >>> isinstance(compiled, nn.Module)
    True
    """
    if options.get("backend", "inductor") == "inductor":
        if (mode := options.pop("mode", None)) not in (None, "default"):
            raise ValueError(f"mode {mode!r} cannot be combined with options; give what it stands for as options=.")
        options |= {"options": {"layout_optimization": False} | (options.get("options") or {})}
    if isinstance(model, TorusDetector):
        model.mass_dense.compile(**options)
        return model
    return torch.compile(model, **options)
