"""The folder of a training: its files, and the one process that may write them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from companion.core.errors import Refusal
from companion.core.files import leftovers, read_json
from companion.core.process import exclusive
from companion.training.recipe import Recipe

CHECKPOINT = "checkpoint.pt"  # until the end; with the optimiser's state, twice the size of the weights
RECIPE, CURVE, SPELLS = "recipe.json", "curve.json", "spells.json"
WEIGHTS = "weights.pt"  # the last to come: a folder that has them is finished
RECORD = "record.json"
_LOCK = ".lock"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder, and free it of what killed processes have left.

    Raises:
        Refusal: when another process holds it; when it cannot be written.
    """
    with exclusive(folder / _LOCK, f"Training or measuring in {folder}", patience=0):
        for path in _left(folder):
            path.unlink()
        yield


def tidy(folder: Path) -> None:
    """Free a finished run's folder of what killed processes have left, if this may write there and nobody else does."""
    if _left(folder) or (folder / _LOCK).exists():
        with suppress(Refusal, OSError), alone(folder):
            pass


def read_recipe(folder: Path) -> Recipe:
    """Of a finished run; what it does not name came later, and has its default.

    Raises:
        Refusal: when it is not there, or holds something else.
    """
    made = _read(folder, RECIPE, dict)
    if unknown := made.keys() - {field.name for field in fields(Recipe)}:
        named = ", ".join(sorted(unknown))
        raise Refusal(
            f"{folder / RECIPE} names {named}, which no recipe of this version has: use the code that wrote it."
        )
    return Recipe(**made)


def read_curve(folder: Path) -> list[dict[str, float]]:
    """Of a finished run, a point per epoch.

    Raises:
        Refusal: when it is not there, or holds something else.
    """
    curve: list[dict[str, float]] = _read(folder, CURVE, list)
    if not curve or not all(isinstance(point, dict) and {"images_per_s", "seconds"} <= point.keys() for point in curve):
        raise Refusal(f"{folder / CURVE} is no curve of a run: take it from where the weights come from.")
    return curve


def read_spells(folder: Path) -> list[dict[str, Any]]:
    """Of a finished run (companion.training.spells); none of one that was trained before they were kept.

    Raises:
        Refusal: when their file holds something else.
    """
    spells: list[dict[str, Any]] = _read(folder, SPELLS, list) if (folder / SPELLS).exists() else []
    return spells


def _read(folder: Path, name: str, kind: type) -> Any:
    if not (folder / name).is_file():
        raise Refusal(
            f"{folder} has weights without {name}: take it from where they come from, or move the folder away."
        )
    value = read_json(folder / name)
    if not isinstance(value, kind):
        raise Refusal(f"{folder / name} is broken (no {kind.__name__}): take it from where the weights come from.")
    return value


def _left(folder: Path) -> list[Path]:
    """Files that were being written, and a finished run's checkpoint."""
    names = (CHECKPOINT, RECIPE, CURVE, SPELLS, WEIGHTS, RECORD)
    parts = [part for name in names for part in leftovers(folder / name)]
    stale = [folder / CHECKPOINT] if (folder / WEIGHTS).exists() and (folder / CHECKPOINT).exists() else []
    return parts + stale
