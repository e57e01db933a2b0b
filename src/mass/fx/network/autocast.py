"""Models that look at autocast: a part that leaves it, by `torch.autocast(…, enabled=False)`, or code that asks whether it is on.

A graph holds what they compute, and not that: it was traced outside of autocast.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch

from mass.errors import NotEquivariantError

_patching = threading.RLock()  # patches of two threads, taken back in another order than made, would stay
_QUESTIONS = {"is_autocast_enabled": "cuda", "is_autocast_cpu_enabled": "cpu"}  # and of which device without a name


@contextmanager
def looking_at_autocast() -> Iterator[set[str]]:
    """The types of devices ('cuda', 'cpu') for which code that runs meanwhile turns autocast off, or asks whether it is on."""
    found: set[str] = set()
    enter = torch.autocast.__enter__

    def entering(self: Any) -> Any:
        if not self._enabled:
            found.add(str(self.device))
        return enter(self)

    def asking(question: Callable[..., bool], device: str) -> Callable[..., bool]:
        def ask(*named: str) -> bool:
            if (
                not sys._getframe(1).f_globals.get("__name__", "").startswith(("torch.", "mass."))
            ):  # their own questions
                found.add(*named or (device,))
            return question(*named)

        return ask

    with _patching, ExitStack() as stack:
        stack.enter_context(mock.patch.object(torch.autocast, "__enter__", entering))
        for name, device in _QUESTIONS.items():
            stack.enter_context(mock.patch.object(torch, name, asking(getattr(torch, name), device)))
        yield found


def require_no_autocast(looked_at: frozenset[str]) -> None:
    """Refuse to run under autocast for one of these types of devices.

    Raises:
        NotEquivariantError: where it is enabled, for its graph does not hold what the model would do then.
    """
    if device := next((device for device in sorted(looked_at) if torch.is_autocast_enabled(device)), ""):
        reason = (
            "the model turns autocast off for a part of it, or asks whether it is on, which its graph does not hold, "
            f"and autocast is on for {device}"
        )
        raise NotEquivariantError("", reason, "run it in one precision, or mark that part's class with mass.mark_leaf")
