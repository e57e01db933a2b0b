"""Boxes on the torus: an image whose left edge is its right edge, so that a box may begin at one side and end at the other.

A box is (x1, y1, x2, y2) in pixels, as torchvision has it, pixel i being the interval from i to i + 1. Its first corner lies
in the image, its second may lie beyond it: `x2 > W` is a box that goes on at column 0. No box is larger than the image.

Coordinates are multiples of a power of two of a pixel (`snap`; 2^-11 for float32 and images of 513 to 1,024 pixels). So all sums and
differences of coordinates and whole pixels are without rounding, and a box that is moved along and back is bit-identical.
Gradients pass through that rounding as if there were none, as torchvision's boxes have them.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mass.axes import Pair
from mass.errors import as_pair

_MANTISSA = {torch.float32: 24, torch.float64: 53}


def check_boxes(boxes: Tensor, name: str = "boxes") -> None:
    """Refuse what is no (N, 4) tensor of finite corners, the second not before the first.

    Raises:
        TypeError, ValueError: in one sentence.
    """
    if not isinstance(boxes, Tensor):
        raise TypeError(f"{name} must be a tensor (N, 4) of corners x1, y1, x2, y2, got {type(boxes).__name__}.")
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{name} must have shape (N, 4), corners x1, y1, x2, y2, got {tuple(boxes.shape)}.")
    if not boxes.is_floating_point():
        raise TypeError(f"{name} must be floating-point, got {boxes.dtype}; convert with {name}.float().")
    wrong = ~boxes.isfinite().all(1)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise ValueError(f"{name}[{row}] is not finite: {boxes[row].tolist()}.")
    wrong = (boxes[:, 2:] < boxes[:, :2]).any(1)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise ValueError(
            f"{name}[{row}] = {boxes[row].tolist()} ends before it begins; a box that goes on at the other side "
            "of the image has its second corner beyond it, x2 > W or y2 > H."
        )


def width_and_height(size: Pair, like: Tensor) -> Tensor:
    """Width and height, (2,), in the order of coordinates."""
    height, width = as_pair(size, "size")
    return torch.tensor([width, height], dtype=like.dtype, device=like.device)


def snap(boxes: Tensor, size: Pair) -> Tensor:
    """Coordinates rounded to the image's grid: multiples of 2^-k pixels that add to whole pixels without rounding.

    Args:
        boxes: floating point, of any shape; half precision becomes float32.
        size: height and width of the image, which k depends on: 8 times the longer side still has such multiples.

    The gradient is the identity's: rounding alone would have none.

    >>> snap(torch.tensor([[0.1, 0.0, 30.0, 40.0]]), (512, 512))[0, 0].item() * 2**12
    410.0
    """
    if boxes.dtype not in _MANTISSA:
        boxes = boxes.float()
    bits = _MANTISSA[boxes.dtype] - 3 - math.ceil(math.log2(max(as_pair(size, "size"))))
    fixed = boxes.detach()
    rounded = (fixed * 2.0**bits).round_() / 2.0**bits
    return rounded - (fixed - boxes).nan_to_num(0.0)  # less +0, which changes no bit, not even of -0; infinite ones too


def corner_and_extent(boxes: Tensor, size: Pair) -> tuple[Tensor, Tensor]:
    """The first corner, in the image, and width and height, at most the image's: (…, 4) -> (…, 2), (…, 2), on the grid.

    What is larger than the image is cut to it about its centre.
    """
    boxes = snap(boxes, size)
    whole = width_and_height(size, boxes)
    first, extent = boxes[..., :2], boxes[..., 2:] - boxes[..., :2]
    cut = snap(first + (extent - whole) / 2, size)
    first = torch.where(extent > whole, cut, first)
    return first.remainder(whole), torch.minimum(extent, whole)


def wrap(boxes: Tensor, size: Pair) -> Tensor:
    """Boxes as they are given on the torus: x1 in [0, W), y1 in [0, H), no wider and no higher than the image, on its grid.

    Shape: (N, 4) floating point -> (N, 4), float32 or float64.

    Raises:
        TypeError, ValueError: for what is no tensor of boxes (N, 4).

    >>> wrap(torch.tensor([[-10.0, 70.0, 5.0, 80.0]]), (64, 64))    # begins at column 54, goes on to 5 columns behind the seam
    tensor([[54.,  6., 69., 16.]])
    """
    check_boxes(boxes)
    return wrapped(boxes, size)


def wrapped(boxes: Tensor, size: Pair) -> Tensor:
    """`wrap` of boxes (…, 4) that are known to be boxes."""
    first, extent = corner_and_extent(boxes, size)
    return torch.cat([first, first + extent], -1)


def whole_pixels(shift: Any) -> Pair:
    """A shift of one image, a pair of ints or a tensor of two.

    Raises:
        TypeError: for anything else: a fraction, a single number, a shift for each of several images.
    """
    given = shift.tolist() if isinstance(shift, Tensor) else shift
    if not isinstance(given, tuple | list) or len(given) != 2 or not all(type(by) is int for by in given):
        raise TypeError(f"shift must be a pair of whole pixels, rows and columns, got {shift!r}.")
    return given[0], given[1]


def shift_boxes(boxes: Tensor, shift: Pair, size: Pair) -> Tensor:
    """Where boxes of an image x lie in `mass.shift(x, shift)`, whose pixel n is pixel n + shift of x.

    Args: boxes (N, 4); shift: rows and columns; size: height and width of the image.

    Raises:
        TypeError, ValueError: for what is no box, or no pair of whole numbers of pixels.

    >>> shift_boxes(torch.tensor([[1.0, 2.0, 5.0, 9.0]]), (0, 3), (64, 64))
    tensor([[62.,  2., 66.,  9.]])
    """
    check_boxes(boxes)
    boxes, (rows, columns) = snap(boxes, size), whole_pixels(shift)
    by = [columns % size[1], rows % size[0]]
    return wrapped(boxes - boxes.new_tensor(by * 2), size)


def overlap(starts: Tensor, extents: Tensor, others: Tensor, other_extents: Tensor, whole: Tensor) -> Tensor:
    """How much of two arcs of a circle is common to both; of whole times 1 and more, two pieces may be."""
    ahead = (others - starts).remainder(whole)  # where the other begins, seen from the first
    reach = ahead + other_extents
    near = (torch.minimum(extents, reach) - ahead).clamp(min=0)
    round_about = torch.minimum(extents, reach - whole).clamp(min=0)
    return near + round_about


def box_iou(a: Tensor, b: Tensor, size: Pair) -> Tensor:
    """Intersection over union of every pair of boxes on the torus; 0 where both are empty.

    Args:
        a, b: corners (N, 4) and (M, 4), which may lie beyond the image; size: height and width of the image.

    Returns:
        (N, M). Depends on how boxes lie to each other alone: moving all of them by whole pixels changes no bit.

    Raises:
        TypeError, ValueError: for what is no tensor of boxes (N, 4).

    >>> box_iou(torch.tensor([[60.0, 0.0, 68.0, 8.0]]), torch.tensor([[0.0, 0.0, 4.0, 8.0]]), (64, 64))
    tensor([[0.5000]])
    """
    check_boxes(a, "a")
    check_boxes(b, "b")
    return pairwise_iou(corner_and_extent(a, size), corner_and_extent(b, size), size)


def pairwise_iou(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], size: Pair) -> Tensor:
    """`box_iou` of corners and extents."""
    whole = width_and_height(size, a[0])
    common = overlap(a[0][:, None], a[1][:, None], b[0][None], b[1][None], whole).prod(-1)
    union = a[1].prod(-1)[:, None] + b[1].prod(-1)[None] - common
    some = union > 0
    return torch.where(some, common / torch.where(some, union, 1), torch.zeros_like(union))  # 0 / 0 has no gradient


def nearest(boxes: Tensor, to: Tensor, size: Pair) -> Tensor:
    """The copies of boxes, moved by whole images, whose centres are nearest to those of other boxes.

    Shape: (N, 4), (N, 4), or what broadcasts -> (N, 4), on the grid.

    >>> nearest(torch.tensor([[60.0, 0.0, 64.0, 8.0]]), torch.tensor([[0.0, 0.0, 4.0, 8.0]]), (64, 64))
    tensor([[-4.,  0.,  0.,  8.]])
    """
    boxes, to = snap(boxes, size), snap(to, size)
    whole = width_and_height(size, boxes).double()
    here, there = boxes.double(), to.double()
    ahead = (here[..., :2] + here[..., 2:] - there[..., :2] - there[..., 2:]) / 2
    move = ((ahead + whole / 2).remainder(whole) - whole / 2 - ahead).to(boxes.dtype)
    return boxes + torch.cat([move, move], -1)


def split_at_seam(boxes: Tensor, size: Pair) -> tuple[Tensor, Tensor]:
    """Boxes cut where the image's sides meet: plain boxes within the image, as other tools draw and measure them.

    Shape: (N, 4) -> pieces (M, 4), each within [0, W] x [0, H]; (M,) int64, which box each is a piece of. One, two or four a box, in
    the order of boxes; an empty box has one.

    >>> split_at_seam(torch.tensor([[60.0, 10.0, 70.0, 20.0], [0.0, 0.0, 8.0, 8.0]]), (64, 64))
    (tensor([[60., 10., 64., 20.],
            [ 0., 10.,  6., 20.],
            [ 0.,  0.,  8.,  8.]]), tensor([0, 0, 1]))
    """
    boxes = wrap(boxes, size)
    whole = width_and_height(size, boxes)
    inside, beyond = boxes.clone(), boxes.clone()
    inside[:, 2:] = torch.minimum(boxes[:, 2:], whole)
    beyond[:, :2], beyond[:, 2:] = 0, boxes[:, 2:] - whole
    goes_on = boxes[:, 2:] > whole  # along x, along y
    pieces, wanted = [], []
    for down in (False, True):
        for across in (False, True):
            x, y = beyond if across else inside, beyond if down else inside
            pieces.append(torch.stack([x[:, 0], y[:, 1], x[:, 2], y[:, 3]], 1))
            here = torch.ones_like(goes_on[:, 0])
            wanted.append((goes_on[:, 0] if across else here) & (goes_on[:, 1] if down else here))
    every, keep = torch.stack(pieces, 1), torch.stack(wanted, 1)
    return every[keep], torch.arange(len(boxes), device=boxes.device)[:, None].expand_as(keep)[keep]
