"""What has been computed is a file, and is not computed again: long evaluations in pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from companion.core.errors import Refusal
from companion.training.checkpoint import load_tensors, save_tensors


def finished(path: Path, made: Mapping[str, Any], compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `compute` returns, from its file where it was computed before.

    Args:
        made: all that decides the result, and is not in the file's name.

    Raises:
        Refusal: when the file was made otherwise.
    """
    if not path.exists():
        save_tensors(path, {"made": dict(made), "found": compute()})
    kept = load_tensors(path)
    if kept["made"] != dict(made):
        told = ", ".join(f"{name} {value!r}" for name, value in kept["made"].items() if made.get(name) != value)
        raise Refusal(f"{path} was made with {told or 'other settings'}: move it away.")
    found: dict[str, Any] = kept["found"]
    return found
