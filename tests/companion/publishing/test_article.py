"""The article: it is set from what is published, says no number of its own, and nothing on an absent record."""

import json
import re
import shutil
from pathlib import Path

import pytest

from companion.core.errors import Refusal
from companion.core.published import read_results, write_results
from companion.publishing.article.build import build, inputs, main, write
from companion.publishing.article.numbers import numbers
from companion.publishing.article.sheets import sheet

ROOT = Path(__file__).parents[3]
SENTENCES = (ROOT / "article" / "article.typ").read_text(encoding="utf-8")
METADATA = (ROOT / "article" / "metadata.yaml").read_text(encoding="utf-8")

# What has a digit in it and is a name, or a part of the paper; 95% is what an interval is.
NAMES = (
    r"ResNet-\d+|MobileNetV2|CIFAR-10|DeepLabV3\+|float32|bfloat16|[Tt]op-1|95%|no\. 9459|ICLR 2024|2430-3658"
    r"|Tables? \d(?:, \d and \d)?|Figure \d|Eq\. \d"
)


@pytest.fixture(scope="module")
def given():
    return inputs(ROOT)


def said(text: str) -> str:
    """The words a reader sees: no comments, code, formulas, names of numbers, references, names of files and columns, widths."""
    text = re.sub(r"^\s*//.*$|^\s*# .*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"`[^`]*`|\$[^$]*\$|@\w+|#n\.\w+|#given\.\w+|\{\w+\}", "", text)
    text = re.sub(r"\"[^\"]*\"|widths: \([^)]*\)|(width|size): [\d.]+(%|pt)", "", text)
    return re.sub(NAMES, "", text)


@pytest.mark.parametrize("text", [SENTENCES, METADATA.replace('"', "")], ids=["article", "metadata"])
def test_no_number_is_typed(text):
    assert not re.findall(r".{0,30}\d.{0,30}", said(text))


def test_typed_numbers_are_found():
    assert re.search(r"\d", said("MASS reaches 92.12% on CIFAR-10 (#n.long_mass%), which $x^2$ shows."))
    assert not re.search(r"\d", said("MASS reaches #n.long_mass% on CIFAR-10, @long, which $x^2$ shows."))


def test_every_number_is_said(given):
    used = set(re.findall(r"#?\bn(?:umbers)?\.(\w+)", SENTENCES + (ROOT / "article" / "form.typ").read_text("utf-8")))
    used |= set(re.findall(r"\{(\w+)\}", METADATA))
    assert used == set(given["numbers"])
    assert all(given["numbers"].values())


def test_it_is_set_in_eight_to_ten_pages():
    pages = build(ROOT, "png")
    assert 8 <= len(pages) <= 10
    assert all(page.startswith(b"\x89PNG") for page in pages)


def test_what_is_written(tmp_path):
    for folder in ("article", "results", "figures"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for file in ("pyproject.toml", "params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / file, tmp_path / file)
    written = write(tmp_path)
    assert written.read_bytes().startswith(b"%PDF")
    metadata = written.with_name("metadata.yaml").read_text(encoding="utf-8")
    assert "[Re] MASS" in metadata and numbers(ROOT)["long_mass"] in metadata
    assert written.read_bytes() == write(tmp_path).read_bytes()  # the same records, the same article


def test_an_absent_record_is_refused(tmp_path, monkeypatch, capsys):
    shutil.copytree(ROOT / "results", tmp_path / "results")
    shutil.copytree(ROOT / "article", tmp_path / "article")
    for file in ("pyproject.toml", "params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / file, tmp_path / file)
    write_results(tmp_path, "cifar10", [r for r in read_results(ROOT, "cifar10") if r["profile"] != "paper"])
    with pytest.raises(Refusal, match=r"needs a record of results/cifar10.json with profile='paper'"):
        inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["article"])
    with pytest.raises(SystemExit, match="article: The article needs a record"):
        main()
    (tmp_path / "results" / "cifar10.json").write_text(json.dumps(read_results(ROOT, "cifar10")))
    (tmp_path / "article" / "metadata.yaml").write_text("abstract: the {answer}\n")
    with pytest.raises(Refusal, match="'answer' that nobody computes"):
        inputs(tmp_path)


@pytest.mark.parametrize(
    ("markdown", "made"),
    [
        ("Nothing is published yet: `make repro`, then `make publish`.", None),
        (
            "| a |  |\n| --- | --- |\n| x | – |\n\nA note.",
            {"columns": ["a", ""], "rows": [["x", "–"]], "note": "A note."},
        ),
    ],
)
def test_sheets(markdown, made):
    assert sheet(markdown) == made
