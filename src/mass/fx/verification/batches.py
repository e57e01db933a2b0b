"""Images of a batch that work together: each lies at origins of its own, so nothing may read one position in several of them.

The rules refuse what says so (`roll(1, 0)`, `mean(0)`). An index tensor, `chunk`, `einsum` or a module that is not traced does
not say it, and is asked: the plain network's answer for the first image stays as it was where only the others are shifted.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mass.axes import Pair
from mass.errors import NotEquivariantError
from mass.fx.tracing.example import Inputs
from mass.fx.verification.probes import Probes
from mass.fx.verification.reference import Reference
from mass.motion import alike
from mass.structure import leaves


def require_apart(
    reference: Callable[[Inputs], Reference], probes: Probes, inputs: Inputs, step: Pair, tolerance: float
) -> None:
    """Check that no output for the first image depends on where the others lie, nor one for the whole batch that stays under shifts.

    Args:
        reference: the plain network with circular borders, run on inputs.
        inputs: a batch of two images or more; step: a shift that the plain network commutes with.

    Raises:
        NotEquivariantError: naming the first operation that combines positions of several images.
    """
    batch = len(inputs[0])
    moved = probes.shifted(inputs, step)
    mixed = tuple(
        torch.cat([x[:1], y[1:]]) if isinstance(x, Tensor) and x.ndim and len(x) == batch else x
        for x, y in zip(inputs, moved, strict=True)
    )
    before, after = (reference(x).kept for x in (inputs, mixed))
    as_one = any(isinstance(y, Tensor) and y.ndim and len(y) != batch for _, y in leaves(before["output"]))
    together = reference(moved).kept if as_one else after

    def differs(name: str) -> bool:
        """Whether a node's value for the first image, or one that a common shift leaves as it is, became another."""
        parts = ([y for _, y in leaves(kept[name])] for kept in (before, after, together))
        for y, z, all_moved in zip(*parts, strict=True):
            if not isinstance(y, Tensor) or not y.ndim or y.shape != z.shape:
                continue
            first = slice(1) if len(y) == batch else slice(None)
            if len(y) != batch and not alike(y, all_moved, tolerance):
                continue
            if not alike(y[first], z[first], tolerance):
                return True
        return False

    if not differs("output"):
        return
    name = next(name for name in before if differs(name))
    reason = (
        "combines several images of a batch position by position, and their maps lie at origins of their own"
        if name != "output"
        else "what is returned for one image depends on where another lies, and their maps lie at origins of their own"
    )
    remedy = "pool over positions before images are combined, or put them into one image's channels"
    raise NotEquivariantError("" if name == "output" else name, reason, remedy)
