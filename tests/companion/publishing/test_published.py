"""What is published in this tree: README, results, figures and notebooks agree, and tell of no machine."""

import json
import re
from pathlib import Path

import jupytext
import nbformat
import pytest
from PIL import Image

from companion.core.published import PROFILES, PROVENANCE, topic_of
from companion.pipeline.clean_outputs import output_texts, traces
from companion.pipeline.settings import NOTEBOOKS
from companion.publishing.compress import FIGURE, NOTEBOOK
from companion.publishing.readme import TABLES, pages, refresh
from companion.publishing.shown_tables import show_tables
from companion.studies import all_studies

ROOT = Path(__file__).parents[3]
RESULTS = sorted((ROOT / "results").glob("*.json"))
FIGURES = sorted((ROOT / "figures").glob("*.png"))
EXECUTED = sorted((ROOT / "notebooks").glob("*.ipynb"))

TOPICS = {*map(topic_of, NOTEBOOKS), *(topic for study in all_studies() for topic in study.benchmarks)}


def named(paths):
    return {"argvalues": paths, "ids": [path.stem for path in paths]}


def test_pages_show_what_was_published():
    texts = {page: page.read_text(encoding="utf-8") for page in pages(ROOT)}
    for name in TABLES:
        assert sum(text.count(f"<!-- results:{name} -->") for text in texts.values()) == 1, name
    for page, text in texts.items():
        assert refresh(page, ROOT) == text, "run `make publish`"


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda p: p.name
)
def test_what_a_page_links_to_is_there(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 150


@pytest.mark.parametrize("path", **named(RESULTS))
def test_every_record_has_its_provenance(path):
    records = json.loads(path.read_text(encoding="utf-8"))
    assert records and path.stem in TOPICS
    for record in records:
        assert set(PROVENANCE) <= set(record)
        assert topic_of(record["notebook"]) == path.stem and record["profile"] in (*PROFILES, "bench")


@pytest.mark.parametrize("path", **named(RESULTS))
def test_no_result_tells_of_a_machine(path):
    assert traces(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", **named(EXECUTED))
def test_executed_notebooks_are_small_and_tell_of_no_machine(path):
    assert path.stem in NOTEBOOKS and path.stat().st_size <= NOTEBOOK
    notebook = nbformat.read(path, as_version=4)
    assert traces(" ".join([*(cell.source for cell in notebook.cells), *output_texts(notebook)])) == []


@pytest.mark.parametrize("path", **named(EXECUTED))
def test_an_executed_notebook_shows_its_source(path):
    """But for the profile, which the runner writes into the cell of parameters."""
    shown = [
        cell for cell in nbformat.read(path, as_version=4).cells if "parameters" not in cell.metadata.get("tags", [])
    ]
    source = jupytext.read(path.with_suffix(".py"), fmt="py:percent")
    written = [cell for cell in source.cells if "parameters" not in cell.metadata.get("tags", [])]
    assert [cell.source for cell in shown] == [cell.source for cell in written], "run `make repro` and `make publish`"


@pytest.mark.parametrize("path", **named(EXECUTED))
def test_an_executed_notebook_shows_tables_as_published(path):
    assert not show_tables(nbformat.read(path, as_version=4), ROOT), "run `make publish`"


@pytest.mark.parametrize("path", **named(FIGURES))
def test_figures_are_small_and_tell_of_no_machine(path):
    assert path.stat().st_size <= FIGURE
    with Image.open(path) as figure:
        assert traces(" ".join(map(str, figure.info.values()))) == []
