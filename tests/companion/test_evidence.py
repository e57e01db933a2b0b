"""What the README and the notebooks say of the paper's evidence, held by the published records and nothing else.

The verdicts on single sentences are in studies/test_paper_and_errata.py, the authors' values in tests/baselines/test_authors.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from companion.core.markdown import difference
from companion.core.published import read_results
from companion.core.records import is_study
from companion.measures.paired_t import cells, mass_against_aps, paired_gains
from companion.publishing.readme import TABLES

ROOT = Path(__file__).parents[2]
README = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/results.md"))


def notebook(number: str) -> str:
    (path,) = (ROOT / "notebooks").glob(f"{number}_*.py")
    return " ".join(path.read_text(encoding="utf-8").replace("\n# ", " ").split())


def records(topic: str, **fields: object) -> list[dict]:
    return [r for r in read_results(ROOT, topic) if all(r.get(name) == value for name, value in fields.items())]


@pytest.fixture(scope="module")
def trainings() -> list[dict]:
    return [r for r in read_results(ROOT, "cifar10") if not is_study(r) and r["dataset"] == "cifar10"]


def test_mass_stands_beside_aps_at_every_scale(trainings) -> None:
    """Point 1: below APS after 13 epochs where both read their index off the same map, level after 250; told apart nowhere."""
    rows = mass_against_aps(trainings)
    assert {13, 250} <= set(rows["epochs"]) and (rows["verdict"] == "not told apart").all()
    before = rows["against"].str.contains("index before")
    assert before.any() and (rows[(rows["epochs"] == 13) & ~before]["gain"] < 0).all()
    for row in cells(trainings):
        assert f"| {row[5]} | {row[6]} | {row[7]} |" in README
    assert "neither an advantage of MASS over APS in accuracy nor a disadvantage" in notebook("13")


def test_the_loss_is_paired_and_has_a_range() -> None:
    """Point 2: McNemar on the same images, squashed and cropped."""
    for view, low in (("squashed", -4.0), ("cropped", -5.0)):
        (row,) = records("weight_transfer", stage="top-1, paired", input=view, method="MASS", against="plain", n=1300)
        assert row["p_holm"] < 0.05 and low < row["difference"] < -2
        assert difference(row["difference"], row["low"], row["high"]) in README
    assert (
        "2.4 points on 1,300 squashed" in README
        and "3.2 on cropped ones" in README
        and "EfficientNet-Lite0 11.5" in README
    )


def test_noise_has_four_arms_and_rules_are_compared() -> None:
    """Point 3: borders, grids and flips apart, paired; and which rule holds under noise."""
    arms = {r["method"]: r for r in records("weight_transfer", stage="noise", profile="reduced")}
    assert {"plain", "circular padding", "MASS, origins frozen", "MASS"} <= set(arms)
    assert all(r["n"] == 1300 for r in arms.values())
    rules = {r["rule"]: r for r in records("weight_transfer", stage="rule", profile="reduced")}
    assert {"l2", "random", "seam"} <= set(rules) and rules["random"]["p_holm"] < 0.05 < rules["seam"]["p_holm"]


def test_no_gain_of_table_2_survives_the_correction(trainings) -> None:
    """Point 4; filters before zero padding are notebook 09's."""
    gains = paired_gains([r for r in trainings if r["epochs"] == 13])
    assert len(gains) == 15 and gains.loc["anti-aliased, Rect-2", "verdict"] == "better"
    gains = gains.drop([method for method in gains.index if method.startswith("anti-aliased")])
    assert (gains["p_holm"] >= 0.05).all() and (gains["p"] < 0.05).any()


def test_what_is_missing_is_said_where_it_is_missed() -> None:
    """Point 6: what takes a GPU."""
    assert "What is missing takes a GPU" in " ".join(README.split()) and "What is missing takes a GPU" in notebook("05")
    assert "What would decide more takes a GPU" in notebook("13")
    assert "(`lps-annealed` does neither: written and tested, and not trained)" in README


def test_the_table_of_segmentation_shows_what_it_can() -> None:
    """Point 8: scores move along; no mIoU."""
    assert "mIoU" not in TABLES["segmentation"](ROOT).splitlines()[0]


def test_causes_are_measured_on_several_photographs() -> None:
    """Point 9: sampling and borders at equal shifts, both directions."""
    causes = {r["stage"]: r["n"] for r in read_results(ROOT, "why_not_invariant") if "cause" in str(r.get("stage"))}
    assert causes == {"cause: sampling": 4, "cause: border": 4, "cause: both": 4}
    assert "No small true set is bundled" in notebook("06")


def test_nothing_is_asked_by_nobody() -> None:
    """Point 10: no reviewers, no readers; and what the table of exactness is made of."""
    for number in ("05", "12"):
        assert "reviewers asked" not in notebook(number) and "readers asked" not in notebook(number)
    told = " ".join(README.split())
    assert (
        "equal batch size" in told and "APS, its norms added up in float32, fails for two equal objects alone" in told
    )
