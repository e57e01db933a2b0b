"""Trainings that draw at random in every step, which no captured step can: a process each, all at once."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from companion.studies.gpu.contest import Quiet
from companion.training.recipe import Recipe
from companion.training.record_run import record_run
from companion.training.sweep import command_of
from companion.training.train import train


def train_apart(
    wanted: Sequence[Recipe],
    folder: Path,
    root: Path,
    left: Callable[[], float],
    quiet: Quiet,
    done: Callable[[dict[str, Any]], None],
) -> list[Recipe]:
    """Train what is missing by `companion.train`, until it is done or the time is; returns what was not finished.

    A run that is stopped goes on, next time, from its last whole epoch.

    Args:
        left: seconds that may still be used.
        quiet: whoever measures stops them for as long.
        done: is told the record of a finished run.
    """
    missing = [recipe for recipe in wanted if not (folder / recipe.name / "record.json").exists()]
    if not missing or left() <= 0:
        return missing
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    runs = [
        subprocess.Popen(command_of(recipe, folder), cwd=root, env=environment, stdout=subprocess.DEVNULL)
        for recipe in missing
    ]

    def send(number: int) -> None:
        for run in runs:
            run.send_signal(number)

    try:
        while left() > 0 and any(run.poll() is None for run in runs):
            if quiet.give_way(lambda: send(signal.SIGSTOP)):
                send(signal.SIGCONT)
            time.sleep(0.2)
    finally:
        send(signal.SIGKILL)
        ends = [run.wait() for run in runs]
    for recipe, end in zip(missing, ends, strict=True):
        if end == 0:
            done(record_run(train(recipe, root, folder), root))
    return [recipe for recipe, end in zip(missing, ends, strict=True) if end]
