"""Errors of the library, and the checks that give each wrong input its one sentence."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class NotEquivariantError(ValueError):
    """A model, or one operation of it, cannot be made shift-equivariant.

    Attributes:
        node: name of the operation in the traced graph ('' where tracing itself failed).
        reason: why it breaks.
        remedy: what would do.
    """

    def __init__(self, node: str, reason: str, remedy: str = "") -> None:
        self.node, self.reason, self.remedy = node, reason, remedy
        where = f"node '{node}': " if node else ""
        super().__init__(f"{where}{reason}" + (f"; {remedy}" if remedy else "") + ".")

    def __reduce__(self) -> tuple:
        return type(self), (self.node, self.reason, self.remedy)


class CoordinatesWarning(UserWarning):
    """An output was computed from the whole map: coordinates in it, if it holds any, are relative to an origin.

    What such an output is (a score, a box, the place of a maximum) only its reader knows; silence it where it holds no
    coordinates: `warnings.simplefilter("ignore", mass.CoordinatesWarning)`.
    """


def as_pair(value: object, name: str = "period") -> tuple[int, int]:
    """An int or a pair of ints, each at least 1, as a pair (rows, columns)."""
    if type(value) is tuple and len(value) == 2 and type(value[0]) is type(value[1]) is int and min(value) > 0:
        return value  # what layers hold: hundreds of calls a pass
    pair = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, Iterable) else ()
    if len(pair) != 2 or not all(isinstance(v, int) and not isinstance(v, bool) for v in pair):
        raise TypeError(f"{name} must be an int or a pair of ints, got {value!r}.")
    if min(pair) < 1:
        hint = "; a period of 1 means 'every position'" if name == "period" else ""
        raise ValueError(f"{name} must be at least 1, got {value!r}{hint}.")
    return pair[0], pair[1]


def check_map(x: Tensor) -> None:
    """Refuse what is not a non-empty floating-point map (B, C, H, W)."""
    hints = {
        3: "; add the batch axis with x[None], or see a signal (B, C, L) as a map of one row, x[:, :, None]",
        5: "; see a video (B, C, T, H, W) as a map that holds all frames, x.flatten(1, 2)",
    }
    if isinstance(x, Tensor) and x.ndim != 4:
        hint = hints.get(x.ndim, "")
        raise ValueError(f"expected a map of shape (B, C, H, W), got {x.ndim} axes, {tuple(x.shape)}{hint}.")
    check_batch(x)


def check_batch(x: Tensor) -> None:
    """Refuse what is no non-empty floating-point batch of images (B, C, H, W), signals (B, C, L) or videos (B, C, T, H, W)."""
    if not isinstance(x, Tensor):
        raise TypeError(f"expected a tensor of shape (B, C, H, W), got {type(x).__name__}.")
    if x.ndim not in (3, 4, 5):
        hint = "; give waveforms an axis of channels, (B, 1, L)" if x.ndim == 2 else ""
        expected = "a batch (B, C, H, W), (B, C, L) or (B, C, T, H, W)"
        raise ValueError(f"expected {expected}, got {x.ndim} axes, {tuple(x.shape)}{hint}.")
    if not x.is_floating_point():
        raise TypeError(f"expected floating-point values, got {x.dtype}; convert with x.float().")
    if 0 in x.shape:
        raise ValueError(
            f"the map is empty, its shape is {tuple(x.shape)}; give at least one image, channel and pixel."
        )


def sizes_that_do(size: int, stride: int) -> str:
    """The nearest sizes that a stride divides, in words.

    >>> sizes_that_do(225, 32), sizes_that_do(5, 32)
    ('224 or 256', '32')
    """
    below = size // stride * stride
    return f"{below} or {below + stride}" if below else str(stride)


def check_divides(x: Tensor, period: tuple[int, int]) -> None:
    """Refuse a map whose height or width its period does not divide."""
    for axis, size, p in zip(("height", "width"), x.shape[-2:], period, strict=True):
        if size % p:
            raise ValueError(f"{axis} {size} is not a multiple of the period {p}; {sizes_that_do(size, p)} would do.")


def check_origin(origin: Tensor, x: Tensor) -> Tensor:
    """An origin for each image of `x`, (B, 2) int64 on its device; one for all, (2,), is handed to each.

    Raises:
        TypeError, ValueError: for what is no int64 tensor of one of these shapes.
    """
    if not isinstance(origin, Tensor):
        raise TypeError(
            f"origin must be an int64 tensor (B, 2) or (2,), got {type(origin).__name__}; use torch.tensor."
        )
    if origin.dtype != torch.int64:
        raise TypeError(f"origin must be int64, got {origin.dtype}; convert with origin.long().")
    if origin.ndim == 1 and origin.shape[0] == 2:  # rank by rank: torch.export would compare the batch with 2
        origin = origin.expand(x.shape[0], 2)
    if origin.ndim != 2 or origin.shape[0] != x.shape[0] or origin.shape[1] != 2:
        raise ValueError(
            f"origin must have shape ({x.shape[0]}, 2), one (row, column) per image, got {tuple(origin.shape)}."
        )
    return origin if origin.device == x.device else origin.to(x.device)


def check_module(model: object) -> None:
    """Refuse what is no `torch.nn.Module`, a function say."""
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"expected a torch.nn.Module, got {type(model).__name__}.")


def check_counts(**counts: int) -> None:
    """Refuse arguments that are not ints of at least 1."""
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool):
            raise TypeError(f"{name} must be an int, got {count!r}.")
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}.")
