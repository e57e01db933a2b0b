"""Peak memory of a step: the growth of a process of its own, which gives freed memory back (Linux)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


def grown(step: Callable[[], object]) -> float:
    """Megabytes by which this process's memory grows at most while `step` runs."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _kilobytes("VmRSS")
    step()
    return (_kilobytes("VmHWM") - before) / 1024


def _kilobytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def printed_by(module: str, *arguments: str) -> list[float]:
    """The numbers that `python -m module …` prints, in a process whose memory shrinks when some is freed."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    environment["MALLOC_MMAP_THRESHOLD_"] = "65536"
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return [float(value) for value in done.stdout.split()]
