"""A notebook's parts: those of its study, or a sentence."""

import pytest

from companion.core.errors import Refusal
from companion.pipeline.parts import run_parts
from companion.studies.periodic.parts import PARTS


def test_a_part_leaves_the_notebooks_records(root, tmp_path, monkeypatch):
    monkeypatch.setattr("companion.pipeline.parts.find_root", lambda: tmp_path)
    (tmp_path / "params.yaml").write_text((root / "params.yaml").read_text())
    monkeypatch.setitem(PARTS, "memory", lambda settings, root, folder: [{"stage": "memory", "method": "MASS"}])
    run_parts("11_periodic", "quick", ["memory"])
    assert len(list(tmp_path.glob("runs/parts/memory/records/*.json"))) == 1
    assert (tmp_path / "runs/parts/memory/provenance.json").exists()


@pytest.mark.parametrize(
    ("notebook", "part", "sentence"),
    [
        ("02_mass_layer", "memory", "Notebook 02_mass_layer has no parts: run it whole"),
        ("11_periodic", "nothing", "Notebook 11_periodic has no part named 'nothing'; known: from_nothing"),
        ("nothing", "memory", "There is no notebook of quick named 'nothing'"),
    ],
)
def test_what_there_is_not(notebook, part, sentence):
    with pytest.raises(Refusal, match=sentence):
        run_parts(notebook, "quick", [part])
