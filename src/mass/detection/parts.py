"""Parts of torchvision's detectors, by kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mass.errors import NotEquivariantError


def require_type(part: Any, name: str, *kinds: type) -> None:
    """Refuse a part of a kind of one's own, which may compute something else.

    Raises:
        NotEquivariantError: naming the part and the kinds that are known.
    """
    if type(part) not in kinds:
        known = " or ".join(kind.__name__ for kind in kinds)
        reason = f"'{name}' is a {type(part).__name__}, and what it does with maps is not known"
        raise NotEquivariantError("", reason, f"take torchvision's {known}")


def features(outputs: Any) -> Mapping[str, Tensor]:
    """What a backbone returns, as levels by name."""
    return outputs if isinstance(outputs, Mapping) else {"0": outputs}


def require_own(model: nn.Module, kind: type, methods: tuple[str, ...]) -> None:
    """Refuse a subclass that detects in a way of its own.

    Raises:
        NotEquivariantError: naming the method.
    """
    for method in methods:
        if getattr(type(model), method, None) is not getattr(kind, method, None):
            reason = f"{type(model).__name__} has a `{method}` of its own, which conversion would leave out"
            raise NotEquivariantError("", reason, f"convert a plain {kind.__name__}")
