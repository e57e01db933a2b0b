"""Weights into networks: all that it has and no others, or a sentence."""

from __future__ import annotations

from typing import Any

from torch import nn

from companion.core.errors import Refusal


def load_into(network: nn.Module, weights: Any, whose: str) -> None:
    """`load_state_dict`, for weights that may be another network's.

    Raises:
        Refusal: naming `whose` weights they should be, and the first difference.
    """
    try:
        network.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError, KeyError) as error:  # smp's encoders take keys out on their own
        told = [line.strip() for line in str(error).splitlines()]
        first = told[1] if len(told) > 1 else told[0]
        raise Refusal(f"These are not the weights of {whose}: {first[:120]}{'…' if len(first) > 120 else ''}") from None
