"""What README.md and docs/*.md show in Python runs, at small sizes, and prints what stands below it."""

import re
from pathlib import Path

import pytest
import torch

import mass
from mass.fx import rule as rules
from mass.fx.lattice import Grid

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SNIPPET = re.compile(r"```python\n(.*?)```(?:\n+```text\n(.*?)```)?", re.DOTALL)
SMALLER = {"224, 224": "64, 64", "256, 256": "128, 128", 'weights="IMAGENET1K_V1"': "weights=None"}


def _rule(**said):
    """In the place of `mass.fx.rule.rule`, which takes an operation once."""
    fields = {"modules", "functions", "subclasses", *rules.Operation.__dataclass_fields__}
    assert said.keys() <= fields
    return lambda function: function


def _known():
    """What a page about the library itself has imported already."""
    return {"torch": torch, "nn": torch.nn, "mass": mass, "rule": _rule} | {
        name: getattr(rules, name) for name in ("Effect", "FRAME", "FROM_FEATURES")
    }


def snippets(page):
    return [(match.group(1), match.group(2)) for match in SNIPPET.finditer(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_on_the_page_runs(page, capsys):
    """All snippets of a page, one after the other; those that need a package which is not installed are left out."""
    known = {} if page.name == "README.md" else _known()
    for code, shown in snippets(page):
        for large, small in SMALLER.items():
            code = code.replace(large, small)
        capsys.readouterr()
        try:
            exec(compile(code, f"{page.name}: {code[:40]!r}", "exec"), known)  # noqa: S102
        except ModuleNotFoundError as absent:
            assert absent.name.partition(".")[0] in ("transformers", "monai", "diffusers", "ultralytics", "torchaudio")
            continue
        if shown is not None:
            assert _form(capsys.readouterr().out) == _form(shown)


def _form(text):
    """A text without its numbers, which are those of another size."""
    return re.sub(r"\d[\d.,e+-]*", "#", text).split()


def test_the_rule_on_the_page_is_one(monkeypatch):
    """docs/design.md shows how the rule of `nn.PixelUnshuffle` reads: it says what the library's own says."""
    code = next(code for code, _ in snippets(ROOT / "docs/design.md") if "pixel_unshuffle" in code)
    known = _known()
    exec(code, known)  # noqa: S102
    network = torch.fx.symbolic_trace(torch.nn.Sequential(torch.nn.PixelUnshuffle(2)))
    image, node, _ = network.graph.nodes
    image.meta["shape"] = (1, 3, 8, 8)
    site = rules.Site(node, rules.operation_of(node), {image: Grid((), (2, 3))}, (8, 8))
    shown, ours = known["pixel_unshuffle"](site), site.operation.rule(site)
    assert shown == ours


def test_pages_have_snippets():
    named = {page.stem for page in PAGES if snippets(page)}
    assert named >= {
        "README",
        "index",
        "design",
        "libraries",
        "convert",
        "certify",
        "sizes",
        "train",
        "segment",
        "export",
    }
