"""DVC's locks on paths, freed of processes that are gone.

DVC keeps in .dvc/tmp/rwlock who reads and writes what, by process number, and takes any process of that number for the
one that wrote it: a zombie, or another that was given the number since. Its other locks (.dvc/tmp/lock, rwlock.lock)
are the system's, which frees them however their holder ends.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

import psutil  # DVC's own way to ask for processes

from companion.core.files import write_atomic


def clear_dead_locks(root: Path) -> None:
    """Before DVC starts: remove from .dvc/tmp/rwlock what no living process holds; nothing while somebody writes there."""
    path = root / ".dvc" / "tmp" / "rwlock"
    if not path.exists():
        return
    with path.with_name("rwlock.lock").open("a+") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as DVC does
        except BlockingIOError:
            return
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            kept = {
                "write": {place: holder for place, holder in held.get("write", {}).items() if _holds(holder, root)},
                "read": {place: left for place, holders in held.get("read", {}).items()
                         if (left := [holder for holder in holders if _holds(holder, root)])},
            }  # fmt: skip
        except (ValueError, AttributeError, TypeError, KeyError):  # cut short by a kill: DVC would refuse it for ever
            path.unlink()
            return
        if kept != held:
            write_atomic(path, json.dumps(kept))


def _holds(holder: dict[str, Any], root: Path) -> bool:
    """Whether the process that took a lock lives: one of its number that says the same arguments, or works in this tree."""
    number, arguments = int(holder["pid"]), str(holder["cmd"]).partition(" ")[2]
    if number == os.getpid():  # which has not started DVC yet
        return False
    try:
        process = psutil.Process(number)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return False
        return " ".join(process.cmdline()).endswith(arguments) or Path(process.cwd()).is_relative_to(root)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # somebody else's, who says other arguments
        return False
