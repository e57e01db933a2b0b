"""Rows as jobs of a cluster, by submitit: one job a row, each under torchrun on all GPUs of its nodes.

    python -m companion.studies.imagenet FOLDER --executor slurm --nodes 1 --gpus 8 --partition gpu
    python -m companion.studies.imagenet FOLDER --executor slurm --dry-run      # prints the sbatch file
    python -m companion.studies.imagenet FOLDER --executor local                # here, a process a row

Jobs share the folder of finished pieces, so a row that was cut short goes on in the next job, and finished rows end at once.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from companion.core.errors import Refusal
from companion.core.files import write_atomic

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
    """Send a job a row, and wait for none; or say what would be sent.

    Raises:
        Refusal: without submitit, or without Slurm where it is wanted.
    """
    try:
        import submitit
    except ImportError:
        raise Refusal("Jobs are sent by submitit, which is not installed: pip install submitit.") from None
    if options.executor == "slurm" or options.dry_run:
        return _slurm(options)
    executor = submitit.LocalExecutor(folder=options.jobs)
    executor.update_parameters(timeout_min=60 * options.hours)
    jobs = [executor.submit(submitit.helpers.CommandFunction(command(options, model))) for model in options.models]
    return "\n".join(_ended(jobs, options.models))


def _ended(jobs: Sequence[Any], models: Sequence[str]) -> list[str]:
    """What each local job printed, or why it stopped; all are waited for."""
    told = []
    for job, model in zip(jobs, models, strict=True):
        error = job.exception()
        told.append(f"{model}: {error}" if error else str(job.result()).strip())
    return told


def _slurm(options: argparse.Namespace) -> str:
    """Send each row's batch script, or show them: what is shown is what is sent."""
    from submitit.slurm.slurm import _make_sbatch_string

    parameters = {
        "nodes": options.nodes,
        "ntasks_per_node": 1,  # torchrun starts the others
        "cpus_per_task": options.cpus,
        "time": 60 * options.hours,
        **({"gpus_per_node": options.gpus} if options.gpus else {}),
        **({"partition": options.partition} if options.partition else {}),
    }
    texts = {
        model: _make_sbatch_string(
            _quoted(command(options, model)), options.jobs, job_name=f"imagenet-{model}", **parameters
        )
        for model in options.models
    }
    if options.dry_run:
        return "\n".join(texts.values())
    if shutil.which("sbatch") is None:
        raise Refusal("There is no Slurm here (no sbatch): run on its login node, or see the jobs by --dry-run.")
    sent = []
    for model, text in texts.items():
        write_atomic(options.jobs / f"{model}.sh", text)
        sent.append(
            subprocess.run(["sbatch", options.jobs / f"{model}.sh"], check=True, capture_output=True, text=True).stdout
        )
    return "".join(sent).strip()
