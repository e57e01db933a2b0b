"""Publishing: what is merged, what is kept, what is refused, and that doing it twice changes nothing."""

import base64
import io
import json
from pathlib import Path

import jupytext
import nbformat
import numpy
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from companion.core.errors import Refusal
from companion.core.markdown import percent
from companion.core.published import PROVENANCE, merge, read_results, results_file, topic_of
from companion.pipeline.clean_outputs import traces
from companion.publishing import compress as shrink
from companion.publishing import publish as publishing
from companion.publishing import redraw
from companion.publishing.publish import find_runs, publish
from companion.publishing.readme import pages, refresh
from companion.publishing.shown_tables import show_tables

ROOT = Path(__file__).parents[3]
README = """# Title
<!-- results:weight_transfer -->
<!-- /results:weight_transfer -->
prose
<!-- results:exactness -->
anything
<!-- /results:exactness -->
"""


def picture(side: int) -> bytes:
    """A PNG that does not compress."""
    pixels = numpy.random.default_rng(0).integers(0, 256, (side, side, 3), numpy.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_run(folder, notebook="06_weight_transfer", profile="quick", side=8, text="fine", **fields):
    run = folder / profile / notebook
    facts = dict.fromkeys(PROVENANCE, 1) | {"notebook": notebook, "profile": profile, "device": "cpu", "cpu": "some"}
    facts |= {"started": "2026-01-01T00:00:00+00:00", "commit": "0123456789", "modified": False, "seed": 0}
    record = {"row": 0, "model": "net", "method": "MASS", "dataset": "set", "n": 200, "top1": 75.0}
    record |= {"shifted_top1": 75.0, "consistency": 100.0, "changed_by_noise": 2.0}
    for name in ("records", "figures"):
        (run / name).mkdir(parents=True, exist_ok=True)
    (run / "provenance.json").write_text(json.dumps(facts | {k: v for k, v in fields.items() if k in facts}))
    (run / "records/r.json").write_text(json.dumps(record | {k: v for k, v in fields.items() if k not in facts}))
    (run / "figures/f.png").write_bytes(picture(side))
    shown = new_output("display_data", {"image/png": base64.b64encode(picture(side)).decode()})
    notebook = new_notebook(cells=[new_code_cell("x", outputs=[shown, new_output("stream", text=text)], id="a")])
    nbformat.write(notebook, run / "notebook.ipynb")
    return run


def tree_of(root):
    paths = [path for name in ("results", "figures", "notebooks") for path in (root / name).glob("*")]
    return {path.name: path.read_bytes() for path in [*paths, root / "README.md"]}


def test_a_run_is_published_once(tmp_path):
    (tmp_path / "README.md").write_text(README)
    write_run(tmp_path / "runs")
    assert len(publish(tmp_path, find_runs(tmp_path / "runs/quick"))) == 4
    first = tree_of(tmp_path)
    assert set(first) == {"weight_transfer.json", "06_f.png", "06_weight_transfer.ipynb", "README.md"}
    assert publish(tmp_path, find_runs(tmp_path / "runs/quick")) == []
    assert tree_of(tmp_path) == first
    (record,) = read_results(tmp_path, "weight_transfer")
    assert set(PROVENANCE) <= set(record) and record["top1"] == 75.0
    text = first["README.md"].decode()
    assert "| net | MASS | set (200) | 75.0 (68.6 to 80.5) |" in text and "Nothing is published yet" in text
    assert text.startswith("# Title\n") and "\nprose\n" in text and "anything" not in text


def test_other_profiles_machines_and_methods_stay(tmp_path):
    for number, fields in enumerate(
        ({}, {"profile": "reduced"}, {"device": "H200"}, {"cpu": "another"}, {"method": "APS"}, {"dataset": "photos"})
    ):
        write_run(tmp_path / str(number), **fields)
        publish(tmp_path, find_runs(tmp_path / str(number)))
    records = read_results(tmp_path, "weight_transfer")
    assert len(records) == 6 and records[0]["profile"] == "reduced"
    write_run(tmp_path / "0", top1=80.0)
    publish(tmp_path, find_runs(tmp_path / "0"))
    changed = read_results(tmp_path, "weight_transfer")
    assert len(changed) == 6 and sum(old != new for old, new in zip(records, changed, strict=True)) == 1


@pytest.mark.parametrize(
    ("fields", "said", "printed"),
    [
        ({"modified": True}, "was run with changes that no commit holds", "commit 0123456 (with changes)."),
        ({"modified": None}, "is of code whose changes are unknown", "commit 0123456 (changes unknown)."),
        (
            {"trained_commit": f"{'a' * 40} to epoch 6, then {'b' * 40}"},
            None,
            "commit 0123456 (trained by aaaaaaa to epoch 6, then bbbbbbb).",
        ),
        ({"trained_commit": "0123456789"}, None, "commit 0123456."),
    ],
)
def test_what_code_a_number_is_of_is_said(tmp_path, fields, said, printed):
    (tmp_path / "README.md").write_text(README)
    lines = publish(tmp_path, [write_run(tmp_path / "runs", **fields)])
    assert [line for line in lines if "change" in line] == ([f"06_weight_transfer (quick): {said}."] if said else [])
    assert printed in (tmp_path / "README.md").read_text()


def test_a_record_of_changed_code_is_told_of_though_its_run_was_of_none(tmp_path):
    run = write_run(tmp_path)
    record = json.loads((run / "records/r.json").read_text())
    (run / "records/r.json").write_text(json.dumps(record | {"modified": True}))
    assert "06_weight_transfer (quick): was run with changes that no commit holds." in publish(tmp_path, [run])


@pytest.mark.parametrize(
    "field, values", [("epochs", (13, 2)), ("lr", (0.2, 0.1)), ("precision", ("a", "b")), ("start", ("", "w"))]
)
def test_runs_of_another_recipe_stay(tmp_path, field, values):
    for value in values:
        publish(tmp_path, [write_run(tmp_path, **{field: value})])
    assert sorted(r[field] for r in read_results(tmp_path, "weight_transfer")) == sorted(values)


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*.json")), ids=lambda path: path.stem)
def test_published_records_merged_with_themselves_are_as_they_were(path):
    records = read_results(ROOT, path.stem)
    assert merge(records, records) == records


def test_the_order_does_not_depend_on_when(tmp_path):
    one, other = ([facts] for facts in read_both(tmp_path))
    assert merge(one, other) == merge(other, one)


def read_both(tmp_path):
    for name in ("plain", "MASS"):
        publish(tmp_path, [write_run(tmp_path / name, method=name)])
    return read_results(tmp_path, "weight_transfer")


def test_unfinished_and_interactive_runs_are_no_results(tmp_path):
    write_run(tmp_path / "runs/quick", profile=".partial")
    write_run(tmp_path / "runs", profile="interactive")
    assert find_runs(tmp_path / "runs") == []
    with pytest.raises(Refusal, match="There is no folder .*: run `make repro` first"):
        find_runs(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "place", ["/home/someone/x", "at /tmp/pip-1/y.py", "https://host.example:8443/x", "--index-url"]
)
def test_what_tells_of_a_machine_is_refused(tmp_path, place):
    with pytest.raises(Refusal, match="The notebook 06_weight_transfer names something of this machine"):
        publish(tmp_path, [write_run(tmp_path / "a", text=place)])
    with pytest.raises(Refusal, match="A record of 06_weight_transfer names something of this machine"):
        publish(tmp_path, [write_run(tmp_path / "b", note=place)])
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("text", ["runs/tmp/x", "./home/x", "<python>/lib", "https://example.org/home/x", "a/b"])
def test_what_does_not_tell_of_a_machine_passes(text):
    assert traces(text) == []


def test_a_run_without_provenance_is_refused(tmp_path):
    run = write_run(tmp_path)
    facts = json.loads((run / "provenance.json").read_text())
    del facts["seconds"]
    (run / "provenance.json").write_text(json.dumps(facts))
    with pytest.raises(Refusal, match="has no seconds in its provenance: run it again"):
        publish(tmp_path, [run])


@pytest.mark.parametrize(
    ("place", "text", "sentence"),
    [
        ("results/speed.json", "[{", "results/speed.json is broken"),
        ("results/speed.json", "{}", r"results/speed.json is broken \(no list of records\)"),
        ("results/speed.json", "\xff", "results/speed.json is broken .*utf-8"),
        ("results/weight_transfer.json", "[", "results/weight_transfer.json is broken"),
        ("runs/quick/12_cost/records/r.json", "{", "records/r.json is broken"),
        ("README.md", "<!-- results:exactness -->", "needs both of its markers"),
    ],
)
def test_what_is_broken_is_found_before_anything_is_written(tmp_path, place, text, sentence):
    (tmp_path / "README.md").write_text(README)
    for notebook in ("06_weight_transfer", "12_cost"):
        write_run(tmp_path / "runs", notebook)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text(text, encoding="latin-1")
    before = tree_of(tmp_path)
    with pytest.raises(Refusal, match=sentence):
        publish(tmp_path, find_runs(tmp_path / "runs"))
    assert tree_of(tmp_path) == before


def test_large_pictures_are_made_small(tmp_path):
    publish(tmp_path, [write_run(tmp_path / "runs", side=1000)])
    assert (tmp_path / "figures/06_f.png").stat().st_size <= shrink.FIGURE
    assert (tmp_path / "notebooks/06_weight_transfer.ipynb").stat().st_size <= shrink.NOTEBOOK
    cell = nbformat.read(tmp_path / "notebooks/06_weight_transfer.ipynb", 4).cells[0]
    assert Image.open(io.BytesIO(base64.b64decode(cell.outputs[0].data["image/png"]))).size[0] >= 500


def test_a_notebook_that_stays_large_is_said_so(tmp_path):
    said = publish(tmp_path, [write_run(tmp_path / "runs", text="x" * shrink.NOTEBOOK)])
    assert any("cannot be brought under 1 MB and is not published" in line for line in said)
    assert results_file(tmp_path, "weight_transfer").exists() and not (tmp_path / "notebooks").exists()


@pytest.mark.parametrize(
    ("readme", "sentence"),
    [
        ("<!-- results:nothing -->\n<!-- /results:nothing -->", "marks a table 'nothing'.*known: .*weight_transfer"),
        ("<!-- results:exactness -->\n<!-- /results:weight_transfer -->", "needs both of its markers"),
    ],
)
def test_wrong_markers_are_refused(tmp_path, readme, sentence):
    (tmp_path / "README.md").write_text(readme)
    with pytest.raises(Refusal, match=sentence):
        refresh(tmp_path / "README.md", tmp_path)


def test_a_benchmark_is_published_like_a_run(tmp_path):
    speed = {
        "notebook": "speed",
        "profile": "bench",
        "net": "resnet18",
        "size": 224,
        "rounds": 15,
        "dtype": "float32",
    }
    measured = [("plain", 1, 20.0), ("MASS", 1, 30.0), ("plain", 8, 100.0), ("MASS", 8, 125.0), ("APS", 8, 200.0)]
    for method, batch, time in measured:
        ratio = time / {1: 20.0, 8: 100.0}[batch]
        times = {"milliseconds": time, "quartile_low": time - 5, "quartile_high": time + 5, "ratio": ratio}
        publish(tmp_path, [write_run(tmp_path / f"{method}-{batch}", method=method, batch=batch, **speed, **times)])
    page = tmp_path / "docs" / "results.md"
    page.parent.mkdir()
    page.write_text("<!-- results:speed -->\n<!-- /results:speed -->")
    assert pages(tmp_path) == [page]
    table = refresh(page, tmp_path)
    assert "| MASS (×) |" in table and "| MASS at other batches (×) |" in table
    ratios = "1.25 (1.20 to 1.30) | 2.00 (1.95 to 2.05) | – | – | – | 1: 1.50 (1.25 to 1.75) |"
    assert f"| resnet18 | forward, float32, 224 px | some | 8 | 100 (n = 15) | {ratios}" in table


def test_percentages_and_topics():
    assert percent(100.0, 200) == "100.0 (98.1 to 100.0)" and percent(0.0, 104) == "0.0 (0.0 to 3.6)"
    assert topic_of("06_weight_transfer") == "weight_transfer"


def test_the_command_refuses_with_a_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(publishing, "find_root", lambda: tmp_path)
    monkeypatch.setattr("sys.argv", ["publish", "--profile", "quick"])
    with pytest.raises(SystemExit, match="publish: There is no folder"):
        publishing.main()
    monkeypatch.setattr("sys.argv", ["publish", "--records", str(write_run(tmp_path / "elsewhere"))])
    publishing.main()
    assert "results/weight_transfer.json now holds 1" in capsys.readouterr().out


# --- drawn anew from records


def book(*cells):
    made = {"code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell}
    return nbformat.v4.new_notebook(cells=[made[kind](text) for kind, text in cells])


def test_where_no_code_has_changed_the_words_alone_are_taken_over():
    before = book(("markdown", "old words"), ("code", "1 + 1"))
    before.cells[1].outputs = [nbformat.v4.new_output("stream", text="2")]
    after = redraw._reworded(before, book(("markdown", "new words"), ("markdown", "more"), ("code", "1 + 1")))
    assert [cell.source for cell in after.cells] == ["new words", "more", "1 + 1"]
    assert after.cells[2].outputs == before.cells[1].outputs
    assert redraw._reworded(before, book(("code", "1 + 2"))) is None


def test_a_table_that_is_shown_is_written_anew(root):
    shown = book(("code", 'Markdown(run.published("fine_tuning"))'), ("code", "1 + 1"))
    assert not show_tables(shown, root)  # it was not executed
    shown.cells[0].outputs = [nbformat.v4.new_output("display_data", {"text/markdown": "old"})]
    assert show_tables(shown, root) and not show_tables(shown, root)
    assert shown.cells[0].outputs[0]["data"]["text/markdown"].startswith("| Method |")
    with pytest.raises(Refusal, match="a table 'nobody' that no study publishes"):
        show_tables(book(("code", "Markdown(tables.nobody(run.root))")), root)


def test_a_notebooks_names_are_found_in_its_records(root):
    found = redraw.names("05_cifar10", "reduced")
    assert {name: len(rows) > 0 for name, rows in found.items()} == dict.fromkeys(
        ("records", "corrupted", "rules", "noisy", "transfer"), True
    )
    assert {row["epochs"] for row in found["records"]} == {13} and {row["noise"] for row in found["noisy"]} > {0, 16}
    source = jupytext.read(root / "notebooks/05_cifar10.py", fmt="py:percent")
    measuring = [cell.source for cell in source.cells if "measures" in cell.metadata.get("tags", [])]
    assert all(any(f"{name} = " in text or f"{name}." in text for text in measuring) for name in found)


def test_a_notebook_that_would_measure_without_a_record_is_not_drawn_anew(root, tmp_path):
    with pytest.raises(Refusal, match="12_cost measures, in cells without the tag 'measures': run it and publish"):
        redraw.redrawn(root, "12_cost", tmp_path, figures=True)
