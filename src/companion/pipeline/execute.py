"""Execute one notebook as a stage of the pipeline: `python -m companion.pipeline.execute 02_mass_layer --profile quick`.

The source is turned into a notebook in memory, executed by papermill in the project's own Python, stripped of all
that differs between two equal runs, and moved to runs/<profile>/<notebook>/ together with its records and figures:
only when it has reached its end.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import shutil
import sys
import textwrap
import time
from pathlib import Path

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

from companion.core.errors import Refusal
from companion.core.files import read_json, write_atomic, write_json
from companion.core.paths import (
    FOLDER_VARIABLE,
    find_root,
    partial_folder,
    require_own_python,
    run_folder,
    source_path,
)
from companion.core.process import die_with_parent, exclusive
from companion.core.provenance import peak_memory_mb
from companion.pipeline.clean_outputs import strip
from companion.pipeline.notebook_source import read_source, set_parameters
from companion.pipeline.settings import load_config
from mass.native import kernels

_OUTS = ("records", "figures", "metrics.json", "provenance.json", "notebook.ipynb")


def _own_kernel(variables: dict[str, str]) -> type[AsyncKernelManager]:
    """This very Python as kernel, whichever kernels the machine has installed under the same name."""
    argv = [sys.executable, "-m", "companion.pipeline.kernel", "-f", "{connection_file}", "--log-level=ERROR"]

    class OwnKernel(AsyncKernelManager):
        kernel_spec = KernelSpec(argv=argv, display_name="Python 3 (ipykernel)", language="python", env=variables)

    return OwnKernel


def run_notebook(root: Path, notebook: str, profile: str) -> float:
    """Execute a notebook and put its outs in place; returns the seconds it took."""
    started = time.monotonic()
    load_config(root).of(notebook, profile)  # whatever params.yaml has wrong is said before a kernel starts
    require_own_python(root)
    with exclusive(root / "runs" / ".locks" / f"{profile}-{notebook}", f"{notebook} ({profile})"):
        folder, target = partial_folder(root, profile, notebook), run_folder(root, profile, notebook)
        _take_up(folder, target)
        for left in (folder, _older(folder)):  # of a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        folder.mkdir(parents=True)
        kernels()  # built now if they are not yet, for the line that says so is no output of a notebook
        try:
            executed = _execute(root, notebook, profile, folder)
            strip(executed, root)
            seconds = _finish(folder, executed, started)
            _put_in_place(folder, target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(_older(folder), ignore_errors=True)
    return seconds


def _execute(root: Path, notebook: str, profile: str, folder: Path) -> NotebookNode:
    source = read_source(source_path(root, notebook))
    set_parameters(source, {"profile": profile}, f"notebooks/{notebook}.py")
    variables = {
        FOLDER_VARIABLE: str(folder),
        "MKL_CBWR": os.environ.get("MKL_CBWR", "AVX2,STRICT"),  # as the Makefile, for those who call dvc themselves
        "MALLOC_MMAP_THRESHOLD_": "4294967296",  # likewise: half the time of a forward pass
        "MALLOC_TRIM_THRESHOLD_": "8589934592",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONHASHSEED": "0",
        "TQDM_DISABLE": "1",
    }
    logging.getLogger("papermill").setLevel(logging.ERROR)
    return papermill.execute_notebook(
        source,
        None,
        cwd=root / "notebooks",
        kernel_name="python3",
        language="python",
        progress_bar=False,
        kernel_manager_class=_own_kernel(variables),
        coalesce_streams=True,  # how a stream is cut into messages is chance
        record_timing=False,
    )


def _finish(folder: Path, executed: NotebookNode, started: float) -> float:
    """Complete what the notebook left in `folder`; returns the seconds so far."""
    facts = folder / "provenance.json"
    if not facts.exists():
        raise Refusal(f"{folder.name} never made its Run(...): it has neither settings nor records.")
    write_atomic(folder / "notebook.ipynb", nbformat.writes(executed) + "\n")
    seconds = round(time.monotonic() - started, 1)
    write_json(
        facts, read_json(facts) | {"seconds": seconds, "peak_memory_mb": peak_memory_mb(resource.RUSAGE_CHILDREN)}
    )
    return seconds


def _put_in_place(folder: Path, target: Path) -> None:
    """The folder as it is becomes the run; an older one goes first, as a whole: a kill between both leaves none (`_take_up`)."""
    for path in folder.iterdir():
        if path.name not in _OUTS:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if target.exists():
            shutil.rmtree(_older(folder), ignore_errors=True)
            os.replace(target, _older(folder))
        os.replace(folder, target)
    except BaseException:  # an interruption too: what is not in place is deleted
        if _older(folder).exists() and not target.exists():
            os.replace(_older(folder), target)
        raise


def _take_up(folder: Path, target: Path) -> None:
    """Finish what a kill has cut off between the two renames: only then is there an older run, and none in its place."""
    older = _older(folder)
    if older.exists() and not target.exists():
        os.replace(folder if folder.exists() else older, target)


def _older(folder: Path) -> Path:
    """Where the run that is replaced lies meanwhile: beside the partial ones, where nobody looks for results."""
    return folder.with_name(f"{folder.name}.older")


def describe(error: PapermillExecutionError) -> str:
    """The failing cell and its error, briefly; a refusal is its sentence alone."""
    if error.ename == Refusal.__name__:
        return f"stopped: {error.evalue}"
    cell = textwrap.indent(error.source, "    ")
    return f"failed in cell {error.cell_index}:\n\n{cell}\n\n{error.ename}: {error.evalue}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m companion.pipeline.execute", description=__doc__.split("\n\n")[0])
    parser.add_argument("notebook", help="its name without extension, e.g. 02_mass_layer")
    parser.add_argument("--profile", required=True)
    arguments = parser.parse_args()
    name = f"{arguments.notebook} ({arguments.profile})"
    die_with_parent()
    try:
        seconds = run_notebook(find_root(), arguments.notebook, arguments.profile)
    except Refusal as refusal:
        sys.exit(f"{name}: {refusal}")
    except PapermillExecutionError as error:
        sys.exit(f"{name} {describe(error)}")
    except (
        RuntimeError
    ) as error:  # a kernel that never came up; DeadKernelError, one that was killed or ran out of memory
        sys.exit(f"{name}: its kernel ended early ({error}); run it again.")
    except KeyboardInterrupt:
        sys.exit(f"{name}: interrupted, nothing was kept.")
    print(f"{name}: {seconds} s")


if __name__ == "__main__":
    main()
