"""What takes longest in notebook 11, part by part (`companion.pipeline.parts`): the records that the notebook makes of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from companion.studies.periodic import questions, solar_cells, whole, whole_memory
from companion.studies.periodic.asked import Rows, asked
from companion.studies.periodic.boards import located, pairs
from companion.studies.periodic.recipes import recipes


def _vias(settings: Any, root: Path, folder: Path) -> Rows:
    return asked(recipes(settings, settings.methods, seeds=settings.seeds), root, folder, settings.probed).records()


def _fine_tuned(settings: Any, root: Path, folder: Path) -> Rows:
    runs, gains = solar_cells.fine_tuned(settings, root, folder)
    return runs + gains


def _fine_tuned_cut(settings: Any, root: Path, folder: Path) -> Rows:
    runs, gains = solar_cells.fine_tuned_cut(settings, root, folder)
    return runs + gains


def _pitches(settings: Any, root: Path, folder: Path) -> Rows:
    return [{"stage": "pitch"} | row for row in questions.pitches(settings, root, folder)]


def _whole(settings: Any, root: Path, folder: Path) -> Rows:
    rows = whole.located(*whole.tiles_and_whole(settings, root, folder))
    return [{"stage": "whole", "dataset": "periodic", "net": "periodic", "size": settings.whole} | row for row in rows]


def _memory(settings: Any, root: Path, folder: Path) -> Rows:
    return [{"stage": "memory"} | row for row in whole_memory.peak_memory(settings.weighed)]


def _boards(settings: Any, root: Path, folder: Path) -> Rows:
    return pairs.right_at_all(settings, root, folder) + located.located(settings, root, folder)


PARTS: dict[str, Callable[[Any, Path, Path], Rows]] = {
    "from_nothing": lambda *given: solar_cells.from_nothing(*given).records(),
    "few_images": solar_cells.few_images,
    "fine_tuned": _fine_tuned,
    "fine_tuned_on_few": solar_cells.fine_tuned_on_few,
    "fine_tuned_cut": _fine_tuned_cut,
    "boards": _boards,
    "exhaustive": lambda *given: solar_cells.exhaustive(*given).records(),
    "whole": _whole,
    "memory": _memory,
    "vias": _vias,
    "pitches": _pitches,
    "lengths": questions.lengths,
    "few_vias": questions.few,
}
