"""Alignment: what brings maps to their origins and back in a converted network.

Origins are chosen (`SelectOrigin`), read digit by digit (`ReadDigit`), composed (`ComposeOrigin`) and used (`Shift`,
`Restore`); `Concatenate` makes the one map of all inputs that breaks ties, `Symmetrise` averages what no choice can.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mass.axes import Dims, Pair, as_map, on_maps, times
from mass.errors import check_divides
from mass.functional.origin.select import select_origin
from mass.functional.origin.symmetrise import symmetrise
from mass.functional.pooling import cell_size
from mass.functional.shift import shift


class Shift(nn.Module):
    """`shift` as a node of a converted network.

    Args:
        dims: the axes of rows and columns.
        scale: how many rows and columns of the map a step of the origin is: more than one where the map is finer.
    """

    def __init__(self, dims: Dims = (2, 3), scale: Pair = (1, 1)) -> None:
        super().__init__()
        self.dims, self.scale = dims, scale

    def forward(self, x: Tensor, origin: Tensor) -> Tensor:
        if x.numel() == 0:  # a level of a pyramid that has no channels
            return x
        if self.scale != (1, 1):
            origin = torch.stack((origin[:, 0] * self.scale[0], origin[:, 1] * self.scale[1]), 1)
        move = shift if x.is_floating_point() else _shift_indexed
        return on_maps(lambda maps: move(maps, origin), x, self.dims)


def _shift_indexed(x: Tensor, origin: Tensor) -> Tensor:
    """`shift` of labels and masks, (B, C, H, W) of any dtype."""
    rows, columns = (
        (torch.arange(size, device=x.device) + origin[:, axis, None]) % size for axis, size in enumerate(x.shape[2:])
    )
    batch = torch.arange(len(x), device=x.device)[:, None, None]
    return x.movedim(1, -1)[batch, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)


class Restore(Shift):
    """`restore` as a node of a converted network."""

    def forward(self, x: Tensor, origin: Tensor) -> Tensor:
        return super().forward(x, -origin)


class Concatenate(nn.Module):
    """Images and masks as one map, along their channels; so a signal or a video, and what has no axis of channels."""

    def __init__(self, dims: Dims = (2, 3)) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, *images: Tensor) -> Tensor:
        rank = images[0].ndim
        maps = [as_map(image if image.ndim == rank else image.unsqueeze(1), self.dims) for image in images]
        first = maps[0]
        if len(maps) == 1:
            return first
        return torch.cat([image.to(first.dtype).expand(len(first), -1, -1, -1) for image in maps], 1)


class ComposeOrigin(nn.Module):
    """Total origin of a finer lattice's child: O + S o (mass.fx.lattice)."""

    def __init__(self, stride: tuple[int, int]) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, total: Tensor, origin: Tensor) -> Tensor:
        return total + torch.stack((origin[:, 0] * self.stride[0], origin[:, 1] * self.stride[1]), 1)

    def extra_repr(self) -> str:
        return f"stride={self.stride}"


class ReadDigit(nn.Module):
    """One digit of an origin that was chosen with a larger period: (o // low) mod period; the last digit without mod."""

    def __init__(self, low: tuple[int, int], period: tuple[int, int] | None) -> None:
        super().__init__()
        self.low, self.period = low, period

    def forward(self, origin: Tensor) -> Tensor:
        digits = [origin[:, i] // self.low[i] for i in (0, 1)]
        return torch.stack(digits if self.period is None else [digits[i] % self.period[i] for i in (0, 1)], 1)

    def extra_repr(self) -> str:
        return f"low={self.low}, period={self.period}"


class ChoosesOrigin(nn.Module):
    """A node that chooses an origin for each image: `mass.record_origins` listens to these."""

    @property
    def chooses(self) -> bool:
        """Whether there is a choice."""
        return True

    def read(self, x: Tensor) -> tuple[Tensor, Pair]:
        """What an origin is read off, a map (B, C, H, W), and the period on it."""
        raise NotImplementedError

    def chosen(self, output: Tensor) -> Tensor:
        """The origins (B, 2) that an output of this node means."""
        return output


class SelectOrigin(ChoosesOrigin):
    """`select_origin` as a node of a converted network; the rule 'zero' keeps the origin (0, 0).

    With `cells`, the period follows the map's size: a flatten, whose period is the whole map, has one cell.
    `dims` are the axes of rows and columns. A map that is finer than the input, `fine` samples for each pixel, is read
    pixel by pixel: its shifts are whole pixels, and so are origins.
    """

    def __init__(
        self,
        period: tuple[int, int],
        rule: str = "l2",
        cells: tuple[int, int] | None = None,
        dims: Dims = (2, 3),
        fine: Pair = (1, 1),
    ) -> None:
        super().__init__()
        self.period, self.rule, self.cells, self.dims, self.fine = period, rule, cells, dims, fine
        self.only: tuple[int, int] | None = None  # the one size of map for which the factors that follow are right

    @property
    def chooses(self) -> bool:
        return self.rule != "zero"

    def read(self, x: Tensor) -> tuple[Tensor, Pair]:
        x = _pixels(as_map(x, self.dims), self.fine)
        return x, self.period if self.cells is None else cell_size(x, self.cells)

    def forward(self, x: Tensor, source: Tensor | None = None, source_origin: Tensor | None = None) -> Tensor:
        if self.rule == "zero":
            if self.cells is None:
                check_divides(as_map(x, self.dims), times(self.period, self.fine))
            return torch.zeros(x.shape[0], 2, dtype=torch.int64, device=x.device)
        x, period = self.read(x)
        if self.only is not None and tuple(x.shape[2:]) != self.only:
            raise ValueError(
                f"this map is {tuple(x.shape[2:])}, and was {self.only} for the example that the model was converted with: "
                "an enlargement by a fixed factor relies on it; convert it with an example of this size."
            )
        return select_origin(x, period, self.rule, source=source, source_origin=source_origin)

    def extra_repr(self) -> str:
        return f"period={self.period}, rule={self.rule!r}"


def _pixels(x: Tensor, fine: Pair) -> Tensor:
    """A map whose channels hold all samples of a pixel: (B, C, f H, g W) -> (B, C f g, H, W)."""
    if fine == (1, 1):
        return x
    blocks = x.unflatten(3, (-1, fine[1])).unflatten(2, (-1, fine[0]))  # (B, C, H, f, W, g)
    return blocks.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)


class Symmetrise(nn.Module):
    """Average a dense output over the translation symmetries of the input (frame averaging, Puny et al., 2022).

    If a shift g leaves the input unchanged and is no multiple of the total stride, no choice of origins can be
    equivariant (Curie's principle): the choice is one of several that differ by g. Their mean is equivariant.
    For an input without such a symmetry nothing changes but the last rounding.
    """

    def __init__(self, dims: Dims = (2, 3)) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, y: Tensor, source: Tensor) -> Tensor:
        return on_maps(lambda maps: symmetrise(maps, source), y, self.dims)
