"""Memory that a call takes at most: by how much its process grows (Linux).

Only where freed memory goes back to the system: in a process that was started with `GIVING_BACK` in its environment.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

GIVING_BACK = {
    "MALLOC_MMAP_THRESHOLD_": "65536"
}  # glibc: tensors in maps of their own, which are given back when freed


def grown(step: Callable[[], object]) -> float:
    """Megabytes by which this process's memory grows at most while `step` runs."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _kilobytes("VmRSS")
    step()
    return (_kilobytes("VmHWM") - before) / 1024


def _kilobytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))
