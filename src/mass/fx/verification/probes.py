"""Inputs on which a conversion is tried: the example, noise, a constant, a single bright pixel, a sparse image."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mass.axes import POSITIONS, Dims, as_map, moving_dims, sizes_along
from mass.functional.origin.position_hash import layout_hash
from mass.fx.tracing.example import Inputs


def awake(module: nn.Module) -> None:
    """Fill parameters of zeros with small noise: what they multiply (a branch that is to be learned, say) would not be compared."""
    with torch.no_grad():
        for p in module.parameters():
            if p.is_floating_point() and not p.count_nonzero():
                noise = torch.randn(p.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
                p.copy_(0.1 * noise)


class Probes:
    """Variations of an example input; what is no image in it stays as it is.

    Args:
        inputs: the example, its images first.
    """

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.dims = POSITIONS[inputs[0].ndim]
        self.size = sizes_along(inputs[0].shape, self.dims)
        self._generator = torch.Generator().manual_seed(0)

    def is_image(self, value: Any) -> bool:
        """Whether an input has the first one's axes and positions: it moves when the image does."""
        return self._dims_of(value) == self.dims

    def _dims_of(self, value: Any) -> Dims | None:
        """Axes of rows and columns of an input, of labels too; None if it does not move."""
        shape = tuple(self.inputs[0].shape)
        return moving_dims(tuple(value.shape), shape) if isinstance(value, Tensor) else None

    def noise(self) -> Inputs:
        return self._images(lambda x: self._normal(x))

    def uniform(self) -> Inputs:
        """Noise in [0, 1)."""
        return self._images(self._uniform)

    def constant(self) -> Inputs:
        return self._images(lambda x: torch.full_like(x, 0.5))

    def pixel(self) -> Inputs:
        """Black, with one bright pixel in every channel."""

        def make(x: Tensor) -> Tensor:
            x = torch.zeros_like(x)
            x[..., x.shape[-2] // 3 if len(self.dims) > 1 else slice(None), x.shape[-1] // 2] = 2.0
            return x

        return self._images(make)

    def sparse(self) -> Inputs:
        """Black, with noise at a tenth of the positions: no shift leaves it as it is."""
        return self._images(lambda x: self._normal(x) * (self._uniform(x) < 0.1))

    def moving(self) -> Inputs:
        """The example, if shifts change it: noise takes the place of images with a symmetry, or that are not finite."""

        def make(x: Tensor) -> Tensor:
            return self._normal(x) if not x.isfinite().all() or _has_symmetry(as_map(x, self.dims)) else x

        return self._images(make)

    def shifted(self, inputs: Inputs, t: tuple[int, int]) -> Inputs:
        """All images circularly shifted by t: position n holds what was at n + t."""
        by = [-steps for steps in t[2 - len(self.dims) :]]
        return tuple(x.roll(by, dims) if (dims := self._dims_of(x)) else x for x in inputs)

    def doubled(self) -> Inputs:
        """Noise with twice as many rows and columns; masks and labels repeat."""
        return self.enlarged((2, 2))

    def enlarged(self, times: tuple[int, int], frames: int = 1) -> Inputs:
        """Noise with so many times the rows and columns, and of videos the frames; masks and labels repeat."""
        larger = tuple(self._repeated(x, times, frames) for x in self.inputs)
        return tuple(self._normal(x) if self.is_image(v) and v.is_floating_point() else x
                     for v, x in zip(self.inputs, larger, strict=True))  # fmt: skip

    def _repeated(self, x: Any, times: tuple[int, int], frames: int) -> Any:
        dims = self._dims_of(x)
        if not dims:
            return x
        along = dict(zip(dims, times[2 - len(dims) :], strict=True))
        if x.ndim == 5:
            along[2] = frames
        return x.repeat([along.get(d, 1) for d in range(x.ndim)])

    def of_batch(self, count: int) -> Inputs | None:
        """The example's first images, or repeated, as a batch of another size; None where other inputs depend on it."""
        batch = len(self.inputs[0])
        rest = [x for x in self.inputs[1:] if isinstance(x, Tensor) and x.ndim and len(x) != batch]
        if any(len(x) != 1 for x in rest):
            return None
        return tuple(_rows(x, count, batch) for x in self.inputs)

    def _images(self, make: Any) -> Inputs:
        return tuple(make(x) if self.is_image(x) and x.is_floating_point() else x for x in self.inputs)

    def _normal(self, x: Tensor) -> Tensor:
        """Noise of its shape: in its range where that has no negative values, for a logarithm or a root of others is none."""
        if x.numel() and x.isfinite().all() and 0 <= x.min() < x.max():
            return x.min() + (x.max() - x.min()) * self._uniform(x)
        return torch.randn(x.shape, generator=self._generator, dtype=torch.float64).to(x)

    def _uniform(self, x: Tensor) -> Tensor:
        return torch.rand(x.shape, generator=self._generator, dtype=torch.float64).to(x)


def _rows(x: Any, count: int, batch: int) -> Any:
    if not isinstance(x, Tensor) or x.ndim == 0 or len(x) != batch:
        return x
    return x[torch.arange(count, device=x.device) % batch]


def _has_symmetry(images: Tensor) -> bool:
    """Whether some circular shift leaves one of the images as it is."""
    layouts = layout_hash(images).flatten(1).sort(1).values
    return bool((layouts[:, 1:] == layouts[:, :-1]).any())
