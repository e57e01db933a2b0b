"""The seam: where an image was cut, read off the image itself.

A photograph's left border seldom continues its right one. A network trained on photographs has only seen images that begin
there: embeddings of positions, windows, a flatten and the borders of convolutions expect it. The rule 'seam' puts the
origin where the image, wrapped, is most discontinuous between one row and the next, and one column and the next: for
most photographs that is their own border, wherever they were moved to. All origins of a network read the network's
input, so that they mean one cut.

Pixels vote. Edges inside an image may be stronger than its seam, but they are blurred over several pixels, and they do
not run from one side to the other; at the seam nearly every pixel changes more than beside it. Counting those that do
finds most photographs' own borders (notebook 06), more than summing squared changes does. Votes compare sums of integers:
exact, in any order.
"""

from __future__ import annotations

import torch
from torch import Tensor


def discontinuity(x: Tensor) -> tuple[Tensor, Tensor]:
    """How many pixels of each row, and of each column, change more from the one before than both neighbours together do.

    A pixel's change is summed over its channels; rows and columns wrap.

    Shape: x (B, C, H, W), integers of at most 16 bits held in floating point -> (B, H) and (B, W) int64.

    >>> discontinuity(torch.tensor([[[[1., 2., 3., 9.]]]]))[1]   # 1 follows 9
    tensor([[1, 0, 0, 0]])
    """
    votes = []
    for axis in (1, 2):
        change = (x.double() - x.double().roll(1, axis + 1)).abs().sum(1)
        votes.append((change > change.roll(1, axis) + change.roll(-1, axis)).sum(3 - axis))
    return votes[0], votes[1]


def seam_key(image: Tensor, origin: Tensor | None, stride: tuple[int, int], period: tuple[int, int]) -> Tensor:
    """What the rule 'seam' compares phases by, larger is better.

    Args:
        image: (B, C, H, W), as `discontinuity` takes it: the input of the network.
        origin: (B, 2) int64, where in it position (0, 0) of the map lies whose phases are compared; None for (0, 0).
        stride, period: of that map, and of the operation on it.

    Returns:
        (B, P * Q) int64: the most votes for a row of the phase and the most for a column, added.
    """
    best = []
    for axis, changes in enumerate(discontinuity(image)):
        size = changes.shape[1]
        places = torch.arange(0, size, stride[axis], device=image.device).expand(len(image), -1)
        if origin is not None:
            places = (places + origin[:, axis : axis + 1]) % size
        best.append(changes.gather(1, places).unflatten(1, (-1, period[axis])).amax(1))
    return (best[0][:, :, None] + best[1][:, None, :]).flatten(1)
