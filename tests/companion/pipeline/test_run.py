"""Run and records: what a notebook may say."""

import json

import pytest
import torch

from companion.core.errors import Refusal
from companion.core.paths import FOLDER_VARIABLE, find_root
from companion.core.records import make_record, nest, read_records, record_name
from companion.pipeline.run import Run


@pytest.fixture(params=["", "notebooks"])
def interactive(request, tmp_path, monkeypatch):
    """A project, entered as JupyterLab enters it: in its root, or in notebooks/."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "dvc.yaml").write_text("")
    settings = "{seed: 0, size: 64, shifts: 8}"
    (tmp_path / "params.yaml").write_text(f"profiles: [quick]\nquick:\n  02_mass_layer: {settings}\n")
    monkeypatch.chdir(tmp_path / request.param)
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    return tmp_path


def test_an_interactive_run_stays_away_from_results(interactive):
    run = Run("02_mass_layer", "quick")
    assert run.settings.size == 64
    for top1 in (50.0, 60.0):  # a cell may be run again
        run.record(method="mass", top1=top1)
    assert [path.name for path in (interactive / "runs").iterdir()] == ["interactive"]
    (record,) = read_records(run.folder / "records")
    assert record["top1"] == 60.0 and record["seed"] == 0 and record["profile"] == "quick"


def test_a_notebook_shows_any_published_table(interactive):
    run = Run("02_mass_layer", "quick")
    assert run.published("canvas").startswith("Nothing is published yet")
    with pytest.raises(Refusal, match="no table named 'canvases'; known: exactness"):
        run.published("canvases")


def test_an_executed_run_writes_where_the_runner_says(interactive, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(interactive / "02_mass_layer"))
    run = Run("02_mass_layer", "quick")
    run.record(method="mass", top1=torch.tensor(50.0))
    assert json.loads((interactive / "02_mass_layer/metrics.json").read_text()) == {"top1": 50.0}
    with pytest.raises(Refusal, match="both named 'mass_0'"):
        run.record(method="mass", top1=60.0)
    monkeypatch.setenv(FOLDER_VARIABLE, str(interactive / "03_lattices"))
    with pytest.raises(Refusal, match="03_lattices calls itself '02_mass_layer'"):
        Run("02_mass_layer", "quick")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"rates": [1, 2]}, "flat: 'rates' must be a number or a text, not list"),
        ({"top1": float("nan")}, "finite numbers: 'top1' is nan"),
    ],
)
def test_records_are_flat_and_finite(fields, sentence):
    with pytest.raises(Refusal, match=sentence):
        make_record(fields)


def test_the_key_names_the_file_and_nests_the_metrics():
    records = [{"model": "a/b", "method": method, "top1": 1.5, "note": "x"} for method in ("plain", "mass")]
    assert [record_name(record) for record in records] == ["a-b_plain", "a-b_mass"]
    assert nest(records) == {"plain": {"top1": 1.5}, "mass": {"top1": 1.5}}


def test_outside_a_project_there_is_no_root(tmp_path):
    with pytest.raises(Refusal, match="start inside the project's folder"):
        find_root(tmp_path)
