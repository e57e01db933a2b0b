"""Processes that do not outlive their reason, and locks that do not outlive their process."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from companion.core.errors import Refusal
from companion.core.files import unwritable

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends: a killed `dvc` must not leave a stage that still writes."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def exclusive(path: Path, what: str, patience: float = 5.0) -> Iterator[None]:
    """Hold the lock file `path`, or refuse after `patience` seconds; the system frees it however the holder ends.

    The file goes with the lock; what a kill leaves of it, the next holder takes along.

    Raises:
        Refusal: when another process holds it; when it cannot be written.
    """
    deadline = time.monotonic() + patience
    while (file := _locked(path)) is None:
        if time.monotonic() >= deadline:
            raise Refusal(f"{what} is already running in another process: wait for it, or end it.")
        time.sleep(0.1)
    with file:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _locked(path: Path) -> TextIO | None:
    """The lock file, locked; None where somebody else holds it, or has just removed it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise unwritable(path, error) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    file.close()
    return None
