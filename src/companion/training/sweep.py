"""Many runs of `companion.train`: those that are missing are trained, one after the other or several at once.

A network as small as ResNet-20 leaves a GPU, and the second core of a CPU, idle part of the time; separate processes
fill them without a line of code in the training loop.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from companion.core.errors import Refusal
from companion.core.files import read_json
from companion.core.jobs import EXECUTOR, Resources, run_jobs
from companion.models.methods import METHODS
from companion.training.recipe import Recipe, to_arguments
from companion.training.record_run import record_run
from companion.training.train import train


def run_all(recipes: Sequence[Recipe], root: Path, folder: Path, jobs: int = 1) -> list[dict[str, Any]]:
    """The records of all recipes, in their order, methods named as Table 2 prints them.

    Args:
        folder: of all runs; finished ones are taken as they are, whatever the code has become since: a record names the
            commits that trained and that measured it, and deleting its folder makes it anew.
        jobs: how many processes train at once; 1 trains here. Where the environment names an executor (`make repro
            EXECUTOR="slurm gpus=1"`, `companion.core.jobs`), each missing run is a job there instead.

    Raises:
        Refusal: when a run stopped, with its own sentence; the others are finished first. When a finished run is of
            another recipe.
    """
    missing = [recipe for recipe in recipes if not (folder / recipe.name / "record.json").exists()]
    resources = Resources.read(os.environ.get(EXECUTOR, ""))
    if missing and resources.executor != "here":
        _as_jobs(missing, root, folder, resources)
    elif jobs > 1:
        with ThreadPoolExecutor(jobs) as pool:
            ends = [
                pool.submit(_in_a_process, number, recipe, root, folder, jobs) for number, recipe in enumerate(missing)
            ]
            for end in tqdm(ends, desc="runs", disable=None):
                end.exception()
        for end in ends:
            end.result()
    here = tqdm(recipes, desc="runs", disable=None)  # what is finished returns at once, if it is of this very recipe
    return [_printed(recipe, record_run(train(recipe, root, folder), root)) for recipe in here]


def curves(recipes: Sequence[Recipe], folder: Path) -> list[dict[str, Any]]:
    """Their learning curves, a row per run and epoch."""
    return [
        _printed(recipe, {"net": recipe.net, "seed": recipe.seed} | point)
        for recipe in recipes
        for point in read_json(folder / recipe.name / "curve.json")
    ]


def _printed(recipe: Recipe, row: dict[str, Any]) -> dict[str, Any]:
    return row | {"method": METHODS[recipe.method].printed}


def command_of(recipe: Recipe, folder: Path) -> list[str]:
    """The command that trains a recipe in a process of its own."""
    return [sys.executable, "-m", "companion.train", *to_arguments(recipe), f"--checkpoints={folder}"]


def _as_jobs(recipes: Sequence[Recipe], root: Path, folder: Path, resources: Resources) -> None:
    """Every recipe as a job; the folder of runs is shared, so that what is finished or half done is taken up."""
    commands = {recipe.name.replace("/", "-"): command_of(recipe, folder.resolve()) for recipe in recipes}
    ends = run_jobs(commands, root / "runs" / ".jobs", resources, root)
    stopped = {name: end.why.splitlines()[-1] for name, end in ends.items() if end.why}
    if stopped:
        told = "; ".join(f"{name}: {why}" for name, why in stopped.items())
        raise Refusal(f"{len(stopped)} of {len(ends)} jobs stopped: {told}")


def _in_a_process(number: int, recipe: Recipe, root: Path, folder: Path, jobs: int) -> None:
    share = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))}
    if torch.cuda.device_count() > 1:
        share["CUDA_VISIBLE_DEVICES"] = str(number % torch.cuda.device_count())
    done = subprocess.run(
        command_of(recipe, folder), cwd=root, env=os.environ | share, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Refusal(f"{recipe.name} stopped: {done.stderr.strip().splitlines()[-1] if done.stderr else 'killed'}")
