"""The census as a page: every network is on it, nothing is loaded, and a click on a heading sorts."""

import json
import re
from pathlib import Path

import pytest
from browser import Chromium, find_chromium, wait_for

from companion.core.published import read_results
from companion.pipeline.clean_outputs import traces
from companion.studies.zoo.page import PLACE, zoo_page

ROOT = Path(__file__).parents[3]


def census(folder: Path) -> Path:
    """Three networks: one that is exact, one that is nearly so, one that was refused for a reason with brackets."""
    common = {
        "library": "timm",
        "kind": "other",
        "started": "2026-01-01T00:00:00+00:00",
        "device": "cpu",
        "cpu": "some",
    }
    common |= {"torch": "2.15.0"}
    exact = {"identical_float32": True, "identical_bfloat16": True, "max_relative_difference_float32": 0.0}
    near = {"identical_float32": False, "identical_bfloat16": True, "max_relative_difference_float32": 2e-7}
    names = [
        {"model": "timm/b", "module": "m", "converts": True, "operations": 10, "origins": 5, "took": 12.5, "reason": ""}
        | exact,
        {"model": "timm/c", "module": "m", "converts": True, "operations": 9, "origins": 1, "took": 3.0, "reason": ""}
        | near,
        {"model": "timm/a", "module": "k", "converts": False, "took": 100.0, "reason": "x[<i>] & 'more'"},
    ]
    (folder / "results").mkdir()
    (folder / "results/zoo.json").write_text(json.dumps([common | name for name in names]))
    return folder


def test_every_network_is_on_the_page(tmp_path):
    page = zoo_page(census(tmp_path))
    assert "3 networks: 2 convert, 1 of them bit-identical in both precisions." in page
    assert "x[&lt;i&gt;] &amp; &#x27;more&#x27;" in page and "<i>" not in page
    assert "2.0e-07" in page and 'data-value="">–' in page
    assert zoo_page(tmp_path / "nowhere") is None


def test_the_published_page_is_that_of_the_results():
    page = (ROOT / PLACE).read_text(encoding="utf-8")
    assert page == zoo_page(ROOT), "run `make publish`"
    assert page.count("<tr>") == len(read_results(ROOT, "zoo")) + 1
    assert traces(page) == [] and not re.search(r"(src|href)=|@import|https?:|url\(", page), "it loads something"


@pytest.mark.skipif(find_chromium() is None, reason="needs Chromium")
def test_a_click_sorts(tmp_path):
    path = tmp_path / "zoo.html"
    path.write_text(zoo_page(census(tmp_path)), encoding="utf-8")
    with Chromium(find_chromium(), tmp_path / "profile") as page:
        page.open(path.as_uri())
        wait_for(
            lambda: page.run("document.readyState === 'complete' && document.querySelectorAll('th').length"), 30, "page"
        )

        def order(heading: str) -> str:
            """The networks after a click."""
            return page.run(f"""(() => {{
              [...document.querySelectorAll("th button")].find(b => b.textContent === "{heading}").click();
              return [...document.querySelectorAll("tbody tr")].map(row => row.cells[0].textContent).join("");
            }})()""")

        assert [order("Network"), order("Network")] == ["abc", "cba"]
        assert [order("Seconds"), order("Seconds")] == ["cba", "abc"]
        assert [order("Operations"), order("Operations")] == ["cba", "bca"]  # by number; what has none stays last
        assert order("Worst difference") == "bca" and order("Worst difference") == "cba"
        assert order("Converts")[0] == "a"
        assert page.run("document.querySelectorAll('th[aria-sort]').length") == 1
