"""Export to ONNX: wrapping borders, energies and shifts as plain ONNX operators.

    mass.onnx.export(converted, images, "model.onnx")        # needs the packages onnx and onnxscript

What stays and what does not: origins are chosen by the same integer energies, 15 bits and the next 15, so they follow
the image as they do in PyTorch. Phases that tie in both (a symmetric image, a black one) are *not* told apart by their
layout, whose 64-bit hashes ONNX cannot express: the first wins, and the promise does not hold for such an image. What
kernels a runtime uses is up to it: expect the same labels on shifted images, not bit-identical logits.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mass.families import family_of
from mass.functional.origin.select import BITS
from mass.functional.shift import gather
from mass.fx.tracing.example import as_example
from mass.nn.graph.alignment import Symmetrise


def _select_origin(
    x: Tensor, period_h: int, period_w: int, rule: str, source: Tensor | None, source_origin: Tensor | None
) -> Tensor:
    """Selection by energies alone; of phases that tie in both keys the first."""
    if rule != "l2":
        raise ValueError(f"only the rule 'l2' is exported to ONNX, not {rule!r}.")
    batch, _, height, width = x.shape
    values = x.float().abs()
    largest = values.amax((1, 2, 3), keepdim=True)
    # A power of two near the largest value's: any function of the maximum would do, it does not move with the image.
    scale = torch.exp2(torch.floor(BITS - 1 - torch.log2(largest.clamp(min=2.0**-100))))
    scaled = values * torch.where(largest < 2.0**-100, torch.zeros_like(scale), scale)
    high = scaled.round()
    low = ((scaled - high) * 2.0**BITS).round()

    def energies(levels: Tensor) -> Tensor:
        blocks = levels.double().square().sum(1).view(batch, height // period_h, period_h, width // period_w, period_w)
        return blocks.sum((1, 3)).flatten(1)

    first, second = energies(high), energies(low)
    tied = first == first.amax(1, keepdim=True)
    phase = torch.where(tied, second, torch.full_like(second, -1.0)).argmax(1)
    return torch.stack((phase // period_w, phase % period_w), 1)


def _exact_mean(x: Tensor, dims: list[int]) -> Tensor:
    """The mean of integers that add exactly, in float64, as mass.functional.exact has it."""
    count = math.prod(x.shape[d] for d in dims)
    largest = x.abs().amax(dims, keepdim=True).double().clamp(min=2.0**-100)
    scale = torch.exp2(torch.floor(51 - math.ceil(math.log2(count)) - torch.log2(largest)))
    return ((x.double() * scale).round().sum(dims, keepdim=True) / scale / count).to(x.dtype)


def export(model: nn.Module, example_input: Any, path: str | Path | None = None, **options: Any) -> Any:
    """A converted network as an ONNX model, for inputs of the example's size.

    Args:
        model: what `mass.convert` returned, in eval mode, with the rule 'l2'.
        example_input: as `mass.convert` takes it; on the CPU.
        path: where to write the file; None writes none.
        options: of `torch.onnx.export`, `opset_version` say.

    Returns:
        The `torch.onnx.ONNXProgram`.

    Raises:
        ImportError: without the packages onnx and onnxscript (`pip install "mass-equivariance[onnx]"`).
        ValueError: for a model in training mode, another rule, one that blends, averages over symmetries or is equivariant in depth.
    """
    if (family := family_of(model)) is not None:
        raise ValueError(
            f"{family.name} returns as many boxes as it finds, and what it does with lists of images is no graph of tensors; "
            "run it in PyTorch, or export the converted backbone alone."
        )
    if getattr(model, "mass_blend", None) is not None:
        raise ValueError(
            "a network that blends has as many rows as an image has near ties, and ONNX none to spare; "
            "export one that was converted without blend."
        )
    if getattr(model, "mass_planes", None) is not None or any(isinstance(part, Symmetrise) for part in model.modules()):
        raise ValueError(
            "volumes that are equivariant in depth, and averages over symmetries, are read off hashes that ONNX cannot express; "
            "export a network that was converted without dims=(2, 3, 4) and symmetrise=True."
        )
    if model.training:
        raise ValueError("the model is in training mode; call model.eval() first.")
    inputs = as_example(example_input).values
    with torch.no_grad():  # padding is torch.nn.functional.pad's here, as for every compiler
        exported = torch.export.export(model, inputs)
    table = torch.export.default_decompositions()
    table[torch.ops.mass.select_origin.default] = _select_origin
    table[torch.ops.mass.shift.default] = gather
    table[torch.ops.mass.exact_mean.default] = _exact_mean
    program = torch.onnx.export(exported.run_decompositions(table), dynamo=True, verbose=False, **options)
    if path is not None and program is not None:
        program.save(str(path))
    return program
