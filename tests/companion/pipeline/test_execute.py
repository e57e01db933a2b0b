"""The runner: what it executes, what it leaves, and that two equal runs leave equal bytes."""

import contextlib
import errno
import json
import os
import shutil
import sys
import warnings
from pathlib import Path

import pytest
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from companion.core.errors import Refusal
from companion.core.files import write_atomic
from companion.core.paths import require_own_python
from companion.core.process import exclusive
from companion.pipeline import execute as runner
from companion.pipeline.notebook_source import read_source, set_parameters
from companion.pipeline.report import report

PARAMETERS = '# %% tags=["parameters"]\nprofile = "quick"\n'
RUN = '# %%\nfrom companion.pipeline.run import Run\n\nrun = Run("02_mass_layer", profile)\n'
MEASURE = """# %%
import warnings

import ipywidgets
import matplotlib.pyplot as plt
import pandas
import torch

for method in ("plain", "mass"):
    run.record(method=method, top1=torch.rand(()), n=run.settings.shifts)

# %%
ipywidgets.interact(lambda k: print(k), k=(0, 5))
print(plt.__file__, torch.__file__, __import__("companion").__file__, object())
warnings.warn("seen", stacklevel=1)

# %%
fig, ax = plt.subplots()
ax.plot(torch.rand(9))
run.figure(fig, "curve")

# %%
pandas.DataFrame({"a": [1]}).style
"""


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    """A small project with one notebook, written by `write`."""
    settings = "{seed: 0, size: 64, shifts: 8}"
    (tmp_path / "params.yaml").write_text(f"profiles: [quick]\nquick:\n  02_mass_layer: {settings}\n")
    (tmp_path / "dvc.yaml").write_text("")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(runner, "require_own_python", lambda root: None)
    return tmp_path


def write(tree: Path, *cells: str) -> Path:
    path = tree / "notebooks" / "02_mass_layer.py"
    path.write_text("\n".join(cells))
    return path


def run(tree: Path) -> float:
    return runner.run_notebook(tree, "02_mass_layer", "quick")


def contents(tree: Path) -> dict[str, bytes]:
    """Every file a run left that must not depend on when it ran."""
    folder = tree / "runs/quick/02_mass_layer"
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "provenance.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_two_runs_leave_the_same_bytes_and_no_trace_of_the_machine(tree):
    write(tree, PARAMETERS, RUN, MEASURE)
    assert run(tree) > 0
    first = contents(tree)
    assert set(first) == {
        "records/plain_0.json",
        "records/mass_0.json",
        "figures/curve.png",
        "metrics.json",
        "notebook.ipynb",
    }
    assert list(json.loads(first["metrics.json"])) == ["plain", "mass"]
    assert json.loads(first["records/mass_0.json"])["n"] == 8

    text = first["notebook.ipynb"].decode()
    for trace in (str(tree), sys.prefix, str(Path.home()) + "/", "ipykernel_", "widget-view", '"papermill"', "iopub"):
        assert trace not in text, trace
    assert "at 0x…" in text and "T_0" in text and "seen" in text

    facts = json.loads((tree / "runs/quick/02_mass_layer/provenance.json").read_text())
    assert {"commit", "device", "peak_memory_mb", "profile", "seconds", "seed", "torch"} <= set(facts)
    assert "mass" in report(tree) and "runs/quick/02_mass_layer/notebook.ipynb" in report(tree)

    run(tree)
    assert contents(tree) == first
    assert not list((tree / "runs/quick/.partial").iterdir())


def test_a_run_is_never_a_mixture_of_two(tree, monkeypatch):
    """Killed at any rename while it replaces an older one, it leaves the old one, the new one, or none."""
    target = tree / "runs/quick/02_mass_layer"

    def folder(version: str) -> Path:
        made = tree / "runs/quick/.partial/02_mass_layer"
        for name in ("records", "figures"):
            (made / name).mkdir(parents=True)
            (made / name / "a").write_text(version)
        for name in ("metrics.json", "provenance.json", "notebook.ipynb"):
            (made / name).write_text(version)
        return made

    class Killed(BaseException):
        pass

    for kill_at in (1, 2, 3):
        shutil.rmtree(tree / "runs", ignore_errors=True)
        runner._put_in_place(folder("old"), target)
        calls = iter(range(1, 9))

        def rename(*places, calls=calls, kill_at=kill_at):
            if next(calls) == kill_at:
                raise Killed
            os.rename(*places)

        monkeypatch.setattr(runner.os, "replace", rename)
        with contextlib.suppress(Killed):
            runner._put_in_place(folder("new"), target)
        monkeypatch.undo()
        monkeypatch.setattr(runner, "require_own_python", lambda root: None)
        left = [path.read_text() for path in target.rglob("*") if path.is_file()]
        assert left in ([], ["old"] * 5, ["new"] * 5)


def test_a_run_that_was_killed_while_it_was_put_in_place_survives_one_that_fails(tree):
    target, partial = tree / "runs/quick/02_mass_layer", tree / "runs/quick/.partial"
    for left in (["02_mass_layer.older", "02_mass_layer"], ["02_mass_layer.older"]):
        shutil.rmtree(tree / "runs", ignore_errors=True)
        for name in left:
            (partial / name).mkdir(parents=True)
            (partial / name / "notebook.ipynb").write_text(name)
        write(tree, PARAMETERS, RUN, "# %%\n1 / 0")
        with pytest.raises(PapermillExecutionError):
            run(tree)
        assert (target / "notebook.ipynb").read_text() == left[-1]
        assert not list(partial.iterdir())


def test_an_interrupted_replacement_keeps_the_older_run(tree, monkeypatch):
    target, partial = tree / "runs/quick/02_mass_layer", tree / "runs/quick/.partial/02_mass_layer"
    for folder in (target, partial):
        folder.mkdir(parents=True)
        (folder / "notebook.ipynb").write_text(folder.parent.name)

    def rename(source, goal):
        if source == partial:
            raise KeyboardInterrupt
        os.rename(source, goal)

    monkeypatch.setattr(runner.os, "replace", rename)
    with pytest.raises(KeyboardInterrupt):
        runner._put_in_place(partial, target)
    assert (target / "notebook.ipynb").read_text() == "quick"


def test_a_full_disk_is_one_sentence(tree, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    write_atomic(tree / "kept.json", "before")
    monkeypatch.setattr("companion.core.files.os.fdopen", full)
    with pytest.raises(
        Refusal, match="The disk is full: kept.json could not be written; what was there before is kept"
    ):
        write_atomic(tree / "kept.json", "after")
    monkeypatch.undo()
    assert (tree / "kept.json").read_text() == "before" and len(list(tree.glob("*kept.json*"))) == 1


def test_a_folder_that_cannot_be_written_is_one_sentence(tree):
    (tree / "file").touch()
    for write_there in (lambda path: write_atomic(path, ""), lambda path: exclusive(path, "It").__enter__()):
        with pytest.raises(Refusal, match=r"file/x cannot be written \((Not a directory|File exists)\): mend that"):
            write_there(tree / "file/x")


def test_a_failing_cell_leaves_nothing_and_is_named(tree):
    write(tree, PARAMETERS, RUN, '# %%\nrun.record(method="plain", n=1)\n', "# %%\n1 / 0")
    with pytest.raises(PapermillExecutionError) as error:
        run(tree)
    assert "failed in cell 3:\n\n    1 / 0\n\nZeroDivisionError: division by zero" in runner.describe(error.value)
    assert contents(tree) == {} and not list((tree / "runs/quick/.partial").iterdir())
    assert "not run" in report(tree)


def test_a_refusal_in_a_notebook_is_its_sentence(tree):
    write(tree, PARAMETERS, '# %%\nfrom companion.core.errors import Refusal\n\nraise Refusal("The set is not there.")')
    with pytest.raises(PapermillExecutionError) as error:
        run(tree)
    assert runner.describe(error.value) == "stopped: The set is not there."


def test_a_kernel_that_dies_leaves_nothing(tree):
    write(tree, PARAMETERS, "# %%\nimport os\n\nos.kill(os.getpid(), 9)")
    with warnings.catch_warnings(), pytest.raises(DeadKernelError):
        warnings.simplefilter("ignore")
        run(tree)
    assert contents(tree) == {}


def test_a_stage_runs_once_at_a_time(tree):
    write(tree, PARAMETERS, RUN)
    lock = tree / "lock"
    lock.touch()  # what a kill has left
    with (
        exclusive(lock, "02_mass_layer (quick)"),
        pytest.raises(Refusal, match=r"02_mass_layer \(quick\) is already running in another process"),
        exclusive(lock, "02_mass_layer (quick)", patience=0.2),
    ):
        pass
    assert not lock.exists()


@pytest.mark.parametrize(
    ("cells", "values", "sentence"),
    [
        ('# %%\nprofile = "quick"', {"profile": "paper"}, "one cell tagged `parameters` \\(it has 0\\)"),
        (PARAMETERS + PARAMETERS, {"profile": "paper"}, "it has 2"),
        (PARAMETERS, {"profil": "paper"}, r"no parameter 'profil' in its `parameters` cell \(known: profile\)"),
    ],
)
def test_parameters_that_would_be_ignored_are_refused(tree, cells, values, sentence):
    with pytest.raises(Refusal, match=sentence):
        set_parameters(read_source(write(tree, cells)), values, "notebooks/02_mass_layer.py")


def test_values_are_set_inside_the_parameters_cell(tree):
    notebook = read_source(write(tree, '# %% tags=["parameters"]\nprofile = "quick"  # é\nn = 3; m = 4\n'))
    set_parameters(notebook, {"profile": "paper", "n": 10}, "x")
    assert notebook.cells[0].source == 'profile = "paper"  # é\nn = 10; m = 4'
    assert notebook.cells[0].id == "cell-000"


def test_what_is_wrong_is_said_before_a_kernel_starts(tree, tmp_path):
    with pytest.raises(Refusal, match="no notebook notebooks/02_mass_layer.py"):
        run(tree)
    with pytest.raises(Refusal, match="no notebook of quick named '03_lattices'"):
        runner.run_notebook(tree, "03_lattices", "quick")
    with pytest.raises(Refusal, match="another checkout"):
        require_own_python(tmp_path)
