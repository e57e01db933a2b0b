"""The example a model is converted with: what it is called with, by position and by keyword."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from mass.axes import require_images_first
from mass.errors import NotEquivariantError, check_batch

Inputs = tuple[Any, ...]
WRAPPED = (
    "convert a module whose forward takes a tensor and calls the model as it wants it, self.model({'image': x}) say"
)


@dataclass(frozen=True)
class Example:
    """Arguments of a model, images first.

    Attributes:
        values: all of them; keywords: the names of the last ones, those given by keyword.
        method: of the model, that is called with them.
    """

    values: Inputs
    keywords: tuple[str, ...] = ()
    method: str = "forward"

    def call(self, model: nn.Module, values: Inputs) -> Any:
        """The model called with other values in the place of the example's."""
        split = len(self.values) - len(self.keywords)
        call = model if self.method == "forward" else getattr(model, self.method)
        return call(*values[:split], **dict(zip(self.keywords, values[split:], strict=True)))

    def names(self, model: nn.Module) -> tuple[str, ...]:
        """The model's own names of these arguments.

        Raises:
            NotEquivariantError: if it takes more or fewer arguments.
        """
        signature = inspect.signature(getattr(model, self.method))
        split = len(self.values) - len(self.keywords)
        plain = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        rest = next((p.name for p in signature.parameters.values() if p.kind is p.VAR_POSITIONAL), None)
        try:
            signature.bind(*self.values[:split], **dict.fromkeys(self.keywords))
        except TypeError as error:
            required = [p for p in plain if p.default is p.empty]
            takes = str(len(plain)) if len(required) == len(plain) else f"{len(required)} to {len(plain)}"
            reason = f"the model takes {takes} inputs, the example input has {len(self.values)} ({error})"
            remedy = f"give the model's inputs as a tuple, or by name as a dict; if it takes its images in a dict or list, {WRAPPED}"
            raise NotEquivariantError("", reason, remedy) from error
        positional = [p.name for p in plain[:split]] + [f"{rest}_{k}" for k in range(split - len(plain))]
        return (*positional, *self.keywords)

    def defaults(self, model: nn.Module) -> dict[str, Any]:
        """Numbers and flags among these arguments that may be left out again: the last ones that have a default."""
        parameters = inspect.signature(getattr(model, self.method)).parameters
        found: dict[str, Any] = {}
        for name in reversed(self.names(model)):
            default = parameters[name].default if name in parameters else inspect.Parameter.empty
            if not isinstance(default, bool | int | float | str):
                break
            found[name] = default
        return found

    def positional(self, model: nn.Module) -> tuple[str, ...]:
        """The model's arguments that may be given by position, in order."""
        parameters = inspect.signature(getattr(model, self.method)).parameters.values()
        return tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))

    def fixed(self, model: nn.Module) -> dict[str, Any]:
        """The model's other arguments, which are what they are by default from then on."""
        given = self.names(model)
        parameters = inspect.signature(getattr(model, self.method)).parameters.values()
        return {p.name: p.default for p in parameters if p.default is not p.empty and p.name not in given}


def about_axes(model: nn.Module, x: Tensor) -> str:
    """What an example may have been meant to be that it is not taken for; '' if nothing looks like it.

    >>> import torch
    >>> about_axes(nn.Conv2d(3, 4, 3), torch.rand(2, 16, 16, 3))
    'the example (2, 16, 16, 3) is taken for images (B, C, H, W) of 16 channels and 16 x 3 pixels; if its channels are last, give x.permute(0, 3, 1, 2)'
    """
    shape = tuple(x.shape)
    if len(shape) == 4 and shape[3] in (3, 4) and min(shape[1:3]) > 4:
        read = f"images (B, C, H, W) of {shape[1]} channels and {shape[2]} x {shape[3]} pixels"
        return f"the example {shape} is taken for {read}; if its channels are last, give x.permute(0, 3, 1, 2)"
    square = (m for m in model.modules() if isinstance(m, nn.Conv2d) and min(m.kernel_size) > 1)
    if len(shape) == 3 and next(square, None) is not None:
        read = f"signals (B, C, L), shifted along their {shape[2]} samples alone"
        return f"the example {shape} is taken for {read}; if it holds grey images, give x[:, None] to a model that takes (B, 1, H, W)"
    return ""


def as_example(example_input: Any) -> Example:
    """An example as given: a tensor, a tuple or list of positional arguments, or a dict of keyword arguments.

    Raises:
        TypeError, ValueError: if its first value is no batch of images (B, C, H, W), signals or videos, or one of signals before images.
    """
    if isinstance(example_input, Example):
        return example_input
    if isinstance(example_input, Mapping):
        require_images_first(example_input)
        example = Example(tuple(example_input.values()), tuple(example_input))
    elif isinstance(example_input, tuple | list):
        example = Example(tuple(example_input))
    else:
        example = Example((example_input,))
    for k, value in enumerate(example.values):
        if value is None:
            name = repr(example.keywords[k]) if example.keywords else k + 1
            raise ValueError(
                f"value {name} of the example is None, which is no input; leave it out, and give the others by name in a dict."
            )
    first: Any = example.values[0] if example.values else None
    if isinstance(first, Mapping | list | tuple):
        raise TypeError(
            f"the example's images lie in a {type(first).__name__}, expected a tensor of shape (B, C, H, W); {WRAPPED}."
        )
    check_batch(first)
    own = tuple(x.detach().clone() if isinstance(x, Tensor) else x for x in example.values)  # a model may write to them
    return replace(example, values=own)
