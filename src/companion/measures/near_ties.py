"""Images made to break exactness: near-ties found by gradients and by bisection, and changes of a single bit.

Equivariance is lost where two sampling phases are nearly as good as each other and rounding, which depends on where the
image lies, decides between them. `toward_tie` goes there by Newton's method, `at_the_flip` to the last bit: two
images, neighbours in their dtype, of which a network chooses different origins. What is symmetric but for one bit
(`next_up`) ties in every sum that rounds it away.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from companion.measures.origins import origin_maps, phase_energies

_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def toward_tie(model: nn.Module, x: Tensor, which: int, steps: int = 12) -> Tensor:
    """An image near `x` whose two best phases are as good as each other at one origin, but for rounding.

    Args:
        model: a converted network; x (1, C, H, W).
        which: of its origins, in graph order.
    """
    nearest, least = x, torch.inf
    for _ in range(steps):
        x = x.detach().requires_grad_()
        first, second = phase_energies(*origin_maps(model, x)[which])[0].topk(2).values
        gap = (first - second) / first
        if gap.item() < least:
            nearest, least = x.detach(), gap.item()
        if gap.item() == 0:
            break
        (slope,) = torch.autograd.grad(gap, x)
        x = x - (gap * slope / slope.double().square().sum()).to(x.dtype)
    return nearest


def at_the_flip(model: nn.Module, x: Tensor, which: int) -> tuple[Tensor, Tensor]:
    """Two images between which one origin changes and no image of their dtype lies.

    They are on the way from `x` (1, C, H, W) to `x` moved by one sample of the map that the origin is read from.
    """

    def chosen(image: Tensor) -> int:
        return int(phase_energies(*origin_maps(model, image)[which])[0].argmax())

    with torch.no_grad():
        stride = x.shape[3] // origin_maps(model, x)[which][0].shape[3]
        here, there, first = x, x.roll(-stride, 3), chosen(x)
        while True:
            middle = ((here.double() + there.double()) / 2).to(x.dtype)
            if torch.equal(middle, here) or torch.equal(middle, there):
                return here, there
            here, there = (middle, there) if chosen(middle) == first else (here, middle)


def next_up(x: Tensor, place: int) -> Tensor:
    """`x` with one value replaced by the next larger in magnitude: zero by the smallest number there is."""
    changed = x.clone()
    changed.view(_BITS[x.element_size()]).view(-1)[place] += 1
    return changed
