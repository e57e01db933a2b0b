"""Commands as jobs, by submitit: processes of this machine, or batch scripts of Slurm."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from companion.core.errors import Refusal
from companion.core.files import write_atomic

EXECUTOR = "COMPANION_EXECUTOR"  # of the environment: an executor and what its jobs ask for
EXECUTORS = ("here", "local", "slurm", "dry-run")


@dataclass(frozen=True)
class Resources:
    """What one job asks for, and where: the words of `make repro EXECUTOR="slurm gpus=1 hours=8 partition=long"`."""

    executor: str = "here"
    nodes: int = 1
    gpus: int = 0  # on each node; 0: CPUs alone
    cpus: int = 8  # on each node
    hours: int = 4
    partition: str = ""

    def __post_init__(self) -> None:
        if self.executor not in EXECUTORS:
            raise Refusal(f"There is no executor named {self.executor!r}; known: {', '.join(EXECUTORS)}.")
        for field in ("nodes", "cpus", "hours"):
            if getattr(self, field) < 1:
                raise Refusal(f"A job's {field} must be positive, not {getattr(self, field)}.")
        if self.gpus < 0:
            raise Refusal(f"A job's gpus must not be negative, as {self.gpus} is.")

    @classmethod
    def read(cls, text: str) -> Resources:
        """From words such as 'slurm gpus=1 hours=8'; nothing said is 'here'.

        Raises:
            Refusal: for another executor or word, or a number that is none.
        """
        executor, *rest = text.split() or ["here"]
        types: dict[str, type] = {field.name: type(field.default) for field in fields(cls) if field.name != "executor"}
        given: dict[str, int | str] = {}
        for word in rest:
            name, _, value = word.partition("=")
            if name not in types or not value or (types[name] is int and not re.fullmatch("[0-9]{1,6}", value)):
                known = ", ".join(f"{known}=" for known in types)
                raise Refusal(f"{word!r} says nothing of a job: after the executor come {known} each with its value.")
            given[name] = types[name](value)
        return cls(executor, **given)  # type: ignore[arg-type]


def batch_script(name: str, command: str, folder: Path, resources: Resources) -> str:
    """What sbatch is given: `command` is a line of shell, what it prints goes into `folder`.

    Raises:
        Refusal: without submitit.
    """
    _submitit()
    from submitit.slurm.slurm import _make_sbatch_string

    parameters: dict[str, Any] = {
        "nodes": resources.nodes,
        "ntasks_per_node": 1,  # torchrun starts the others
        "cpus_per_task": resources.cpus,
        "time": 60 * resources.hours,
        **({"gpus_per_node": resources.gpus} if resources.gpus else {}),
        **({"partition": resources.partition} if resources.partition else {}),
    }
    text: str = _make_sbatch_string(command, folder, job_name=name, **parameters)
    return text


@dataclass(frozen=True)
class End:
    """How a job ended: why it stopped, '' where it ended well; and what it printed, or sbatch of it."""

    why: str = ""
    printed: str = ""


def send(scripts: Mapping[str, str], folder: Path, wait: bool = False) -> dict[str, End]:
    """Give batch scripts to Slurm, by name; `wait` for their ends, else for what sbatch says of them.

    Raises:
        Refusal: where there is no Slurm.
    """
    if shutil.which("sbatch") is None:
        raise Refusal("There is no Slurm here (no sbatch): run on its login node, or see the jobs by a dry run.")

    def one(name: str) -> End:
        path = folder / f"{name}.sh"
        write_atomic(path, scripts[name])
        words = ["sbatch", *(["--wait"] if wait else []), str(path)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        why = (done.stderr or done.stdout).strip() or f"ended with {done.returncode}"
        return End(why if done.returncode else "", done.stdout.strip())

    with ThreadPoolExecutor(len(scripts) or 1) as pool:
        return dict(zip(scripts, pool.map(one, scripts), strict=True))


def run_jobs(commands: Mapping[str, Sequence[str]], folder: Path, resources: Resources, root: Path) -> dict[str, End]:
    """Run every command as a job of its own, and wait for all.

    Args:
        commands: by job's name, run in `root`.
        folder: of scripts and of what jobs print; for Slurm, one that all nodes see.

    Raises:
        Refusal: without submitit or, where it is wanted, Slurm; for a dry run, which writes the scripts and says where.
    """
    if resources.executor == "local":
        executor = _submitit().LocalExecutor(folder=folder)
        executor.update_parameters(timeout_min=60 * resources.hours)
        function = _submitit().helpers.CommandFunction
        jobs = {name: executor.submit(function(list(words), cwd=root)) for name, words in commands.items()}
        return {name: _end(job) for name, job in jobs.items()}
    scripts = {
        name: batch_script(name, shlex.join(["env", f"--chdir={root}", *words]), folder, resources)
        for name, words in commands.items()
    }
    if resources.executor == "slurm":
        return send(scripts, folder, wait=True)
    for name, text in scripts.items():
        write_atomic(folder / f"{name}.sh", text)
    shown = os.path.relpath(folder, root)
    raise Refusal(f"{len(scripts)} jobs would be sent; their batch scripts are in {shown}/.")


def _end(job: Any) -> End:
    error = job.exception()
    if error is None:
        return End(printed=str(job.result()).strip())
    said = re.search(r"FailedJobError: (.*?)\n-{5,}", str(error), re.DOTALL)  # the command's own words in submitit's
    return End((said.group(1) if said else str(error)).strip() or "killed")


def _submitit() -> Any:
    try:
        import submitit
    except ImportError:
        raise Refusal("Jobs are sent by submitit, which is not installed: pip install submitit.") from None
    return submitit
