"""What a model is called with, and which of it moves: a tensor, positional inputs, keyword inputs, or batches of these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mass.axes import POSITIONS, Dims, Pair, as_map, moving_dims, on_maps, require_images_first, sizes_along
from mass.errors import check_batch
from mass.evaluate.batches import not_finite
from mass.functional.origin.position_rank import read_layout
from mass.functional.shift import shift


@dataclass(frozen=True)
class ModelInputs:
    """One batch of inputs of a model.

    Attributes:
        args, kwargs: as the model takes them.
        images: the first images among them. Whatever else has their axes and sizes, a mask say, moves along; so do
            labels (B, H, W) beside images (B, C, H, W) (`mass.axes.moving_dims`). All other inputs stay as they are.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    images: Tensor
    _symmetries: dict[int, list[Pair]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, value: Any) -> ModelInputs:
        """Read one batch: a tensor, a tuple of positional inputs with images first, or a mapping of keyword inputs."""
        if isinstance(value, Mapping):
            kwargs = {str(name): part for name, part in value.items()}
            require_images_first(kwargs)
            found = [v for v in kwargs.values() if isinstance(v, Tensor) and v.is_floating_point() and v.ndim >= 3]
            if not found:
                raise ValueError(f"there are no images among the keyword inputs {', '.join(kwargs) or '(none)'}.")
            check_batch(found[0])
            return cls((), kwargs, found[0])
        args = value if isinstance(value, tuple) else (value,)
        if not args:
            raise ValueError("there are no images: the tuple of inputs is empty.")
        check_batch(args[0])
        return cls(args, {}, args[0])

    @property
    def dims(self) -> Dims:
        """The axes of positions of the images."""
        return POSITIONS[self.images.ndim]

    @property
    def size(self) -> Pair:
        """Height and width of the images."""
        return sizes_along(self.images.shape, self.dims)

    @property
    def moving(self) -> list[Tensor]:
        """All inputs that move."""
        return [v for v in (*self.args, *self.kwargs.values()) if self._moves(v)]

    def call(self, model: nn.Module, t: Pair = (0, 0), planes: int = 0) -> Any:
        """What the model returns for these inputs moved by t, volumes also by so many planes. It is given copies: it may write
        to them."""
        by = torch.tensor(t)

        def given(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            moved = self._shifted(value, by) if self._moves(value) and any(t) else value.clone()
            axis = 2 - (self.images.ndim - value.ndim)  # labels have no channels
            return moved.roll(-planes, axis) if planes and self._moves(value) else moved

        return model(*map(given, self.args), **{name: given(value) for name, value in self.kwargs.items()})

    def _moves(self, value: Any) -> bool:
        return isinstance(value, Tensor) and moving_dims(tuple(value.shape), tuple(self.images.shape)) is not None

    def _shifted(self, value: Tensor, by: Tensor) -> Tensor:
        dims = moving_dims(tuple(value.shape), tuple(self.images.shape)) or ()
        if dims == self.dims and value.is_floating_point():
            return on_maps(lambda maps: shift(maps, by.to(maps.device)), value, dims)
        return value.roll((-by[2 - len(dims) :]).tolist(), dims)

    def not_finite(self) -> list[int]:
        """Indices of images with NaN or infinity."""
        return not_finite(self.images)

    def symmetries(self, row: int) -> list[Pair]:
        """Circular shifts, other than none, that leave all that moves of one image as it is: the nearest first."""
        if row not in self._symmetries:
            self._symmetries[row] = self._find_symmetries(row)
        return self._symmetries[row]

    def _find_symmetries(self, row: int) -> list[Pair]:
        found: set[Pair] | None = None
        for value in self.moving:
            one = value[row if len(value) > row else 0][None]
            one = one if one.is_floating_point() else one.double()
            dims = moving_dims(tuple(value.shape), tuple(self.images.shape)) or ()
            layout = read_layout(as_map(one, dims))[0]
            here = {(i, j) for i, j in (layout == layout[0, 0]).nonzero().tolist() if (i, j) != (0, 0)}
            found = here if found is None else found & here
        height, width = self.size
        return sorted(found or (), key=lambda g: (min(g[0], height - g[0]) + min(g[1], width - g[1]), g))


def require_batches(model: nn.Module, inputs: ModelInputs) -> None:
    """Refuse images without a batch axis, whose channels were taken for the images of a batch, and rows for channels.

    Asked by a call of its own, since PyTorch computes attention otherwise while it is listened to, and only where there is a
    convolution that could read them so.
    """
    kind = {3: nn.Conv2d, 4: nn.Conv3d}.get(inputs.images.ndim)
    if kind is not None and any(isinstance(module, kind) for module in model.modules()):
        with _Listening(inputs.images):
            inputs.call(model)


class _Listening(TorchFunctionMode):
    """Refuses what a convolution reads as a single image."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.images = images

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        axes = {"conv1d": 1, "conv2d": 2, "conv3d": 3}.get(getattr(func, "__name__", ""))
        read = args[0] if args else (kwargs or {}).get("input")
        if axes is not None and isinstance(read, Tensor) and read.ndim == axes + 1 == self.images.ndim:
            shape = tuple(self.images.shape)
            raise ValueError(
                f"an input of shape {shape} is one image to the model's convolutions; add the batch axis: x[None]."
            )
        return func(*args, **(kwargs or {}))


def model_inputs(images: Any) -> Iterator[ModelInputs]:
    """The batches of what `mass.certify` takes as `images`.

    A tensor, a tuple and a mapping are one batch. Anything else is an iterable of batches, each a tensor, a mapping, or
    a tuple or list (x, y, …) as data loaders give them: x, itself one of the three, is what the model is called with.
    """
    if isinstance(images, Tensor | tuple | Mapping):
        yield ModelInputs.of(images)
        return
    if not isinstance(images, Iterable):
        raise TypeError(
            f"expected a tensor of shape (B, C, H, W), a tuple or dict of inputs, or batches, got {type(images).__name__}."
        )
    size: Pair | None = None
    for batch in images:
        first = batch[0] if isinstance(batch, tuple | list) and batch else batch
        inputs = ModelInputs.of(first)
        if size not in (None, inputs.size):
            raise ValueError(f"batches of images of {size} and of {inputs.size}; certify one size at a time.")
        size = inputs.size
        yield inputs
    if size is None:
        raise ValueError("there are no images: the iterable is empty.")
