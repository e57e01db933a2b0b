"""Rows as jobs of a cluster, by submitit: one job a row, each under torchrun on all GPUs of its nodes.

    python -m companion.studies.imagenet FOLDER --executor slurm --nodes 1 --gpus 8 --partition gpu
    python -m companion.studies.imagenet FOLDER --executor slurm --dry-run      # prints the sbatch file
    python -m companion.studies.imagenet FOLDER --executor local                # here, a process a row

Jobs share the folder of finished pieces, so a row that was cut short goes on in the next job, and finished rows end at once.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from companion.core.jobs import Resources, batch_script, run_jobs, send

EXECUTORS = ("here", "local", "slurm")
_OWN = ("executor", "dry_run", "nodes", "gpus", "cpus", "hours", "partition", "jobs", "models")


def add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("on a cluster")
    group.add_argument("--executor", choices=EXECUTORS, default="here")
    group.add_argument("--dry-run", action="store_true", help="print what would be sent, and send nothing")
    group.add_argument("--nodes", type=int, default=1)
    group.add_argument("--gpus", type=int, default=0, help="on each node; 0: one process, on CPUs")
    group.add_argument("--cpus", type=int, default=8, help="on each node")
    group.add_argument("--hours", type=int, default=4)
    group.add_argument("--partition", default="")
    group.add_argument("--jobs", type=Path, default=Path("runs/.jobs"), help="where jobs write what they print")


def wanted(options: argparse.Namespace) -> bool:
    """Whether jobs are to be sent."""
    return bool(options.executor != "here" or options.dry_run)


def command(options: argparse.Namespace, model: str) -> list[str]:
    """The command of one row, under torchrun where there are GPUs."""
    given = [str(options.folder), f"--models={model}"]
    for name, value in vars(options).items():
        if name not in (*_OWN, "folder") and value is not None:
            words = value if isinstance(value, list) else [value]
            given += [f"--{name}", *map(str, words)]
    module = ["-m", "companion.studies.imagenet", *given]
    if not options.gpus:
        return [sys.executable, *module]
    run = [
        "-m",
        "torch.distributed.run",
        f"--nnodes={options.nodes}",
        f"--nproc-per-node={options.gpus}",
        "--max-restarts=3",
    ]
    if options.nodes > 1:  # the batch script, which fills these in, runs on the first of the nodes
        run += ["--rdzv-backend=c10d", "--rdzv-endpoint=$(hostname):29500", "--rdzv-id=$SLURM_JOB_ID"]
    return [sys.executable, *run, *module]


def _quoted(words: Sequence[str]) -> str:
    """For the batch script, which fills in what begins with a dollar."""
    return " ".join(word if "$" in word else shlex.quote(word) for word in words)


def submit(options: argparse.Namespace) -> str:
    """Send a job a row and wait for none, local ones excepted; or say what would be sent.

    Raises:
        Refusal: without submitit, or without Slurm where it is wanted.
    """
    executor = "slurm" if options.dry_run else options.executor
    asked = {name: getattr(options, name) for name in ("nodes", "gpus", "cpus", "hours", "partition")}
    resources = Resources(executor, **asked)
    commands = {model: command(options, model) for model in options.models}
    if executor == "local":
        ends = run_jobs(commands, options.jobs, resources, Path.cwd())
        return "\n".join(f"{model}: {end.why}" if end.why else end.printed for model, end in ends.items())
    scripts = {
        model: batch_script(f"imagenet-{model}", _quoted(words), options.jobs, resources)
        for model, words in commands.items()
    }
    if options.dry_run:
        return "\n".join(scripts.values())
    return "\n".join(end.why or end.printed for end in send(scripts, options.jobs).values())
