"""Parts of a model that leave autocast, by `torch.autocast(…, enabled=False)`: a graph holds what they compute, and not that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch

from mass.errors import NotEquivariantError


@contextmanager
def leaving_autocast() -> Iterator[set[str]]:
    """The types of devices for which code that runs meanwhile turns autocast off ('cuda', 'cpu')."""
    left: set[str] = set()
    enter = torch.autocast.__enter__

    def noting(self: Any) -> Any:
        if not self._enabled:
            left.add(str(self.device))
        return enter(self)

    with mock.patch.object(torch.autocast, "__enter__", noting):
        yield left


def require_no_autocast(left: frozenset[str]) -> None:
    """Refuse to run under autocast for one of these types of devices.

    Raises:
        NotEquivariantError: where it is enabled, for the parts that leave it would be computed in its precision.
    """
    if device := next((device for device in sorted(left) if torch.is_autocast_enabled(device)), ""):
        reason = f"the model turns autocast off for a part of it, which its graph does not hold, and autocast is on for {device}"
        raise NotEquivariantError("", reason, "run it in one precision, or mark that part's class with mass.mark_leaf")
