"""Processes that do not outlive their reason, and locks that do not outlive their process."""

from __future__ import annotations

import ctypes
import fcntl
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from companion.core.errors import Refusal

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends: a killed `dvc` must not leave a stage that still writes."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def exclusive(path: Path, what: str, patience: float = 5.0) -> Iterator[None]:
    """Hold the lock file `path`, or refuse after `patience` seconds; the system frees it however the holder ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Refusal(f"{what} is already running in another process: wait for it, or end it.") from None
                time.sleep(0.1)
        yield
