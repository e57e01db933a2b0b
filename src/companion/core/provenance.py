"""Where a run's numbers come from: code, versions, machine. A file of its own, on which no stage depends."""

from __future__ import annotations

import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Collection
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from companion.core.errors import Refusal
from companion.core.paths import require_own_python

_CODE = ("src", "notebooks", ":!notebooks/*.ipynb", "params.yaml", "dvc.yaml", "requirements.lock")
_PACKAGES = ("torch", "torchvision", "numpy", "matplotlib")


def provenance(root: Path) -> dict[str, object]:
    """The flat facts known when a run starts; the runner adds its seconds and its peak memory.

    Raises:
        Refusal: when the code that runs is not the code whose commit would be named; when `MASS_COMMIT` is no commit.
    """
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        **_commit(root),
        "python": platform.python_version(),
        **{package: _version(package) for package in _PACKAGES},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "threads": torch.get_num_threads(),
        "MKL_CBWR": os.environ.get("MKL_CBWR"),
    }


def _commit(root: Path) -> dict[str, object]:
    """Of this tree, and whether it was changed since; where it came without its git nobody can tell (None).

    Its commit is then what the environment says (`MASS_COMMIT`).
    """
    commit, changes = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain", "--", *_CODE)
    if commit is not None:
        require_own_python(root)
    elif told := os.environ.get("MASS_COMMIT"):
        if not re.fullmatch("[0-9a-f]{7,40}", told):
            raise Refusal(
                f"MASS_COMMIT must be a commit, 7 to 40 hexadecimal digits (git rev-parse HEAD), not {told!r}."
            )
        commit = told
    return {"commit": commit, "modified": None if changes is None else bool(changes)}


def any_modified(codes: Collection[bool | None]) -> bool | None:
    """Whether one of several codes was changed since its commit: None where none is known to be, but of one nobody can tell."""
    return True if True in codes else None if None in codes else False


def peak_memory_mb(who: int = resource.RUSAGE_SELF) -> int:
    """The most memory that this process (or, with RUSAGE_CHILDREN, one of its children) has held."""
    peak = resource.getrusage(who).ru_maxrss
    return peak // (1 << 20 if sys.platform == "darwin" else 1 << 10)  # macOS counts in bytes, Linux in KiB


def _version(package: str) -> str | None:
    """What is installed, if it is: a machine that only trains has no matplotlib."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(root: Path, *arguments: str) -> str | None:
    """Git's answer about this tree, or None: in a source archive there is nobody to ask."""
    if not (root / ".git").exists():  # git itself would look further up, into somebody else's repository
        return None
    answer = subprocess.run(["git", "-C", str(root), *arguments], check=False, capture_output=True, text=True)
    return answer.stdout.strip() if answer.returncode == 0 else None


def _cpu() -> str:
    """The processor's name."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
