"""What positions in an output mean: the lattice each output lies on, and its positions in pixels of the input.

Position n of a map of total stride S and total origin O lies at pixel O + S n of the input, modulo its size. The stride is
the network's; the origin is chosen image by image, so a coarse map (a detector's features, a heat map) cannot be read
without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mass.axes import Pair, sizes_along
from mass.errors import as_pair
from mass.evaluate.inputs import ModelInputs
from mass.evaluate.origins import record_origins
from mass.fx.network.converted import Converted
from mass.structure import leaves


@dataclass(frozen=True)
class OutputOrigin:
    """Where one output of one forward pass lies in the input.

    Attributes:
        axes: its axes of rows and columns; of a signal, of columns; () for what was computed from the whole map, whose
            coordinates, if it holds any, are relative to `origin`.
        stride: total stride (rows, columns), of the whole map the image's size; of a map that is finer than the input, 0.5, say.
        origin: (B, 2) int64, the total origin of each image; None where it was computed from several maps, each at an
            origin of its own, or is a mean over paths (`blend`).
        size: height and width of the input.
    """

    axes: tuple[int, ...]
    stride: tuple[float, float]
    origin: Tensor | None
    size: Pair

    def to_pixels(self, positions: Tensor, *, centre: bool = False) -> Tensor:
        """`mass.to_pixels` of positions on this output; of one without axes, of coordinates in pixels."""
        if self.origin is None:
            raise ValueError(
                "this output was computed from several maps, or paths of blending, each at an origin of its own: it has none."
            )
        return to_pixels(positions, self.stride if self.axes else (1, 1), self.origin, self.size, centre=centre)


@contextmanager
def output_origins(converted: nn.Module) -> Iterator[list[dict[str, OutputOrigin]]]:
    """While entered, every forward pass of a converted network adds where its outputs lie, and so does every call of a method that was
    converted with it (`methods=`).

    Args:
        converted: what `mass.convert` returned.

    Yields:
        One dict a forward pass: by an output's path ('' for a single tensor; 'out', 'maps[0]', 'aux.heat'), its
        `OutputOrigin`. What has no positions, and was not computed from any, as pooled logits, is not in it.

    Raises:
        TypeError: for a model that was not converted; its outputs have origin (0, 0).

    >>> import torch, mass
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 1, 4, 4)).eval()    # a heat map at stride 8
    >>> x = torch.randn(5, 3, 32, 48)
    >>> converted = mass.convert(model, x)
    >>> with mass.output_origins(converted) as passes:
    ...     heat, moved = converted(x), converted(mass.shift(x, torch.tensor([3, 7])))
    >>> passes[0][""].axes, passes[0][""].stride, passes[0][""].origin.shape
    ((2, 3), (8, 8), torch.Size([5, 2]))
    >>> def peak(heat):
    ...     index = heat.flatten(1).argmax(1)
    ...     return torch.stack((index // heat.shape[3], index % heat.shape[3]), 1)      # (B, 2)
    >>> before, after = (found[""].to_pixels(peak(y)) for found, y in zip(passes, (heat, moved)))
    >>> torch.equal(after, (before - torch.tensor([3, 7])) % torch.tensor([32, 48]))    # it moves with the image, exactly
    True
    """
    if not isinstance(converted, Converted):
        raise TypeError(
            f"expected what mass.convert returned, got {type(converted).__name__}; ask the converted part itself."
        )
    found: list[dict[str, OutputOrigin]] = []

    def read(model: Converted, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        inputs = ModelInputs.of(args or kwargs)
        chosen = {origin.name: (origin.origin, origin.period) for origin in passes[-1]}
        here = {}
        stride: tuple[float, float]
        for path, y in leaves(output):
            lattice = model.mass_outputs.get(path)
            if lattice is None or not isinstance(y, Tensor):
                continue
            mean_over_paths = model.mass_blend is not None and bool(lattice.digits)
            total = None if mean_over_paths else lattice.total(chosen, len(inputs.images))
            origin, stride = total if total is not None else (None, inputs.size)
            if lattice.axes:  # on this size of image
                rows, columns = sizes_along(y.shape, lattice.axes)
                stride = _over(inputs.size[0], rows), _over(inputs.size[1], columns)
            here[path] = OutputOrigin(lattice.axes, stride, origin, inputs.size)
        found.append(here)

    with record_origins(converted) as passes:
        networks = [converted, *converted.mass_networks.values()]
        handles = [network.register_forward_hook(read, with_kwargs=True) for network in networks]
        try:
            yield found
        finally:
            for handle in handles:
                handle.remove()


def _over(size: int, positions: int) -> float:
    return size // positions if size % positions == 0 else size / positions


def to_pixels(
    positions: Tensor, stride: float | tuple[float, float], origin: Tensor, size: Pair, *, centre: bool = False
) -> Tensor:
    """Positions on a coarse map as pixels of the input: O + S n, modulo the image.

    Args:
        positions: rows and columns n on the map, on the last axis: indices, or coordinates between them.
        stride: total stride S of the map, a fraction for one that is finer than the input; 1 for coordinates in pixels, as a box that was computed from the whole map.
        origin: total origin O of each image (`mass.output_origins`).
        size: height and width of the input.
        centre: what a position stands for. False: the pixel that it samples, O + S n, the centre of a window with
            symmetric padding (kernel 3, padding 1). True: the middle of its cell, the pixels O + S n to O + S n + S - 1,
            which is O + S n + (S - 1) / 2: the centre of a pooling window of S, and half-pixel interpolation's convention.
            Pixel i is at coordinate i, its edges at i - 1/2 and i + 1/2.

    Shape: positions (B, …, 2), integers or floating point; origin (B, 2) int64 -> (B, …, 2), each in [0, H) x [0, W):
        int64 for integer positions and strides, floating point for others and with `centre`.

    Raises:
        TypeError, ValueError: for another shape or dtype.

    >>> to_pixels(torch.tensor([[[0, 0], [1, 3]]]), 8, torch.tensor([[5, 2]]), (32, 32))
    tensor([[[ 5,  2],
             [13, 26]]])
    >>> to_pixels(torch.tensor([[3.5, 0.]]), 8, torch.tensor([[5, 2]]), (32, 32), centre=True)
    tensor([[4.5000, 5.5000]])
    """
    if not isinstance(positions, Tensor) or positions.dtype == torch.bool or positions.is_complex():
        got = positions.dtype if isinstance(positions, Tensor) else type(positions).__name__
        raise TypeError(f"positions must be a tensor (B, ..., 2) of integers or floating-point values, got {got}.")
    if positions.ndim < 2 or positions.shape[-1] != 2:
        raise ValueError(f"positions must have shape (B, ..., 2), rows and columns last, got {tuple(positions.shape)}.")
    if not isinstance(origin, Tensor) or origin.dtype != torch.int64:
        raise TypeError("origin must be an int64 tensor (B, 2), one (row, column) per image.")
    if origin.shape != (len(positions), 2):
        raise ValueError(
            f"origin must have shape ({len(positions)}, 2), one (row, column) per image, got {tuple(origin.shape)}."
        )
    per_axis = torch.tensor(_strides(stride), device=positions.device)
    whole = torch.tensor(as_pair(size, "size"), device=positions.device)
    if positions.is_floating_point() and positions.element_size() < 4:
        positions = positions.float()  # bfloat16 has no 257
    start = origin.to(positions.device).view(len(positions), *[1] * (positions.ndim - 2), 2)
    pixels = start + per_axis * (positions if positions.is_floating_point() else positions.long())
    if centre:
        pixels = pixels + (per_axis - 1) / 2
    pixels = pixels % whole
    return torch.where(pixels == whole, torch.zeros_like(pixels), pixels)  # in floating point -1e-8 % 32 is 32


def _strides(stride: object) -> tuple[float, float]:
    pair = (
        (stride, stride) if isinstance(stride, int | float) else tuple(stride) if isinstance(stride, Iterable) else ()
    )
    if len(pair) != 2 or not all(isinstance(s, int | float) and s > 0 for s in pair):
        raise ValueError(f"stride must be a positive number or a pair of them, got {stride!r}.")
    return pair
