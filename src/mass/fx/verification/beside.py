"""What is given beside the images: a tensor that happens to have their sizes moves along, and must be meant to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from mass.axes import Pair
from mass.errors import NotEquivariantError
from mass.fx.tracing.example import Inputs
from mass.fx.verification.probes import Probes
from mass.motion import observed
from mass.structure import leaves


def require_moving(
    plain: Callable[[Inputs], Any], probes: Probes, inputs: Inputs, step: Pair, names: tuple[str, ...], tolerance: float
) -> None:
    """Check that no input is taken for a map, of labels or a mask say, beside which the plain network takes it for none.

    One is taken for none where all outputs move with the images alone, and do not where it moves along.

    Args:
        plain: what the plain network with circular borders returns.
        step: a shift that it commutes with; names: of the inputs.

    Raises:
        NotEquivariantError: naming the input.
    """
    shifted = probes.shifted(inputs, step)
    beside = [k for k, (x, y) in enumerate(zip(inputs, shifted, strict=True)) if k and x is not y]
    beside = [k for k in beside if isinstance(inputs[k], Tensor) and not _is_constant(inputs[k])]
    if not beside:
        return
    before = dict(leaves(plain(inputs)))

    def moves(given: Inputs) -> bool:
        after = dict(leaves(plain(given)))
        tensors = [(y, after[path]) for path, y in before.items() if isinstance(y, Tensor)]
        return all(observed(y, z, step, probes.size, len(probes.dims), tolerance) for y, z in tensors)

    if moves(shifted):
        return
    for k in beside:
        if moves(tuple(x if j == k else y for j, (x, y) in enumerate(zip(inputs, shifted, strict=True)))):
            reason = (
                f"it has the images' sizes, {tuple(inputs[k].shape)}, and would be moved with them, and what the model "
                "returns moves with the images alone"
            )
            remedy = (
                "convert the model with an example of another size, or give it another axis and remove that in forward"
            )
            raise NotEquivariantError(names[k], reason, remedy)


def _is_constant(x: Tensor) -> bool:
    """Whether a tensor holds one value: it is the same wherever it lies."""
    return x.numel() == 0 or bool((x == x.flatten()[0]).all())
