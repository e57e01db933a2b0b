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
from torch.export import Dim
from torch.utils._pytree import tree_map

from mass.errors import check_module
from mass.families import family_of
from mass.functional.origin.select import BITS
from mass.functional.shift import gather
from mass.fx.network.converted import Converted
from mass.fx.network.door import why_not
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


def _named(shapes: Any) -> Any:
    """Shapes in which an axis may be called by a name, as torch.onnx takes them, for torch.export, which takes a `Dim`."""
    dims: dict[str, Any] = {}
    return tree_map(lambda dim: dims.setdefault(dim, Dim(dim)) if isinstance(dim, str) else dim, shapes)


def _exported(model: nn.Module, inputs: tuple[Any, ...], shapes: Any) -> torch.export.ExportedProgram:
    with torch.no_grad():  # padding is torch.nn.functional.pad's here, as for every compiler
        if shapes is None:
            return torch.export.export(model, inputs)
        try:
            return torch.export.export(model, inputs, dynamic_shapes=_named(shapes))
        except Exception as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            raise ValueError(
                f"it cannot be exported with dynamic_shapes={shapes!r} ({first}); the batch alone, axis 0 of each input, may be "
                "of any size, and the example must hold two images or more."
            ) from error


def export(
    model: nn.Module, example_input: Any, path: str | Path | None = None, *, dynamic_shapes: Any = None, **options: Any
) -> Any:
    """A converted network as an ONNX model, for inputs of the example's size.

    Args:
        model: what `mass.convert` returned, in eval mode, with the rule 'l2'.
        example_input: as `mass.convert` takes it; on the CPU.
        path: where to write the file; None writes none.
        dynamic_shapes: as of `torch.onnx.export`: `({0: "batch"},)` for one input, of as many images as it is run on. Rows and
            columns are the example's.
        options: others of `torch.onnx.export`, `opset_version` say.

    Returns:
        The `torch.onnx.ONNXProgram`.

    Raises:
        ImportError: without the packages onnx and onnxscript (in a clone of the project, `pip install ".[onnx]"`).
        ValueError: for a size that the total stride does not divide, a model of which any part is in training mode, another rule, one that blends, averages over symmetries or is
            equivariant in depth; for other axes than the batch in `dynamic_shapes`.
        TypeError: for a model in which nothing is MASS's, and for `dynamic_axes`.
    """
    check_module(model)
    if not isinstance(model, Converted) and not any(type(m).__module__.startswith("mass.") for m in model.modules()):
        raise TypeError(
            f"{type(model).__name__} holds nothing of MASS; give what mass.convert returned, or export it with torch.onnx.export."
        )
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
    if (training := next((name for name, part in model.named_modules() if part.training), None)) is not None:
        what = f"the module {training!r} of the model" if training else "the model"
        raise ValueError(f"{what} is in training mode; call model.eval() first.")
    if "dynamic_axes" in options:
        raise TypeError("dynamic_axes is not read; give dynamic_shapes, ({0: 'batch'},) for a batch of any size.")
    example = as_example(example_input)
    inputs = example.values
    if isinstance(model, Converted):
        if reason := why_not(inputs[0], model.mass_example_shape, model.total_stride):
            raise ValueError(f"{reason}.")
        by_name = dict(zip(example.keywords, inputs[len(inputs) - len(example.keywords) :], strict=True))
        if len(by_name) == len(inputs):
            inputs = tuple(by_name[name] for name in model.mass_graph_inputs)
    exported = _exported(model, inputs, dynamic_shapes)
    table = torch.export.default_decompositions()
    table[torch.ops.mass.select_origin.default] = _select_origin
    table[torch.ops.mass.shift.default] = gather
    table[torch.ops.mass.exact_mean.default] = _exact_mean
    plain = exported.run_decompositions(table)
    program = torch.onnx.export(plain, dynamo=True, verbose=False, dynamic_shapes=dynamic_shapes, **options)
    if path is not None and program is not None:
        program.save(str(path))
    return program
