"""What takes longest in notebook 09, part by part (`companion.pipeline.parts`): the records that the notebook makes of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from companion.studies.antialiasing import trial
from companion.studies.antialiasing.recipes import recipes
from companion.training.sweep import run_all

Rows = list[dict[str, Any]]


def _runs(settings: Any, root: Path, folder: Path) -> Rows:
    return run_all(recipes(settings), root, folder)


def _moved(settings: Any, root: Path, folder: Path) -> Rows:
    about = {"stage": "moved", "dataset": settings.dataset}
    return [about | row for row in trial.moved(settings, recipes(settings), root, folder)]


def _corrupted(settings: Any, root: Path, folder: Path) -> Rows:
    about = {"dataset": settings.dataset}
    wrong, relative = trial.corruption_errors(settings, recipes(settings), root, folder)
    return [{"stage": "corrupted"} | about | row for row in wrong] + [
        {"stage": "mean corruption error"} | about | row for row in relative
    ]


PARTS: dict[str, Callable[[Any, Path, Path], Rows]] = {"runs": _runs, "moved": _moved, "corrupted": _corrupted}
