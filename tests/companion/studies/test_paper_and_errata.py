"""The paper's values as data, and the rule that ours stand beside them only at the paper's scale."""

import json

import pytest

from companion.paper import verdicts
from companion.paper.errata import FORMULAS, NUMBERS, SENTENCES
from companion.paper.printed import METHODS, NETWORKS, TABLE_2, Cell
from companion.studies.paper_and_errata.beside import above, figure, printed_gains, smaller_runs, statements, table_2

RUN = {"method": "MASS", "model": "resnet20", "seed": 0, "top1": 92.0, "consistency": 100.0}


def publish(root, topic, records):
    (root / "results").mkdir(exist_ok=True)
    (root / "results" / f"{topic}.json").write_text(json.dumps(records))


def test_table_2_is_complete_and_its_doubts_are_the_two_equal_cells():
    assert [(row.network, row.method) for row in TABLE_2] == [(n, m) for n in NETWORKS for m in METHODS]
    doubtful = [(row.network, row.method) for row in TABLE_2 if row.consistency.doubt]
    assert doubtful == [("ResNet-20", "LPF-3"), ("ResNet-18", "Baseline")]
    assert len({str(row.consistency) for row in TABLE_2 if row.consistency.doubt}) == 1


def test_what_the_errata_say_of_table_2_follows_from_it():
    assert printed_gains().loc["MASS"].tolist() == [1.56, 3.09]
    assert printed_gains().loc["MASS-DDAC-3"].tolist() == [2.06, 2.95]
    assert above("MASS")["above MASS"].tolist() == ["LPF-3, APS-LPF-3, APS-DDAC-3", "none"]
    assert above("MASS-LPF-3")["above MASS-LPF-3"].tolist() == ["APS-DDAC-3", "none"]


@pytest.mark.parametrize(
    ("cell", "ours", "expected"),
    [
        (Cell(92.0, 0.2), [], "not run at paper scale"),
        (Cell(92.0, 0.2), [92.0], "one run: no verdict"),
        (Cell(92.0, 0.2), [91.9, 92.1, 92.0], "reproduced"),
        (Cell(92.0, 0.2), [90.0, 90.1, 90.2], "not reproduced"),
        (Cell(100.0), [100.0], "reproduced"),
        (Cell(100.0), [100.0, 99.99], "not reproduced"),
        (Cell(91.2, 0.3, doubt="printed twice"), [91.2, 91.2], "printed value in doubt"),
    ],
)
def test_verdict(cell, ours, expected):
    assert verdicts.on_mean(cell, ours) == expected


def test_without_results_everything_is_not_run(tmp_path):
    assert set(table_2(tmp_path).xs("ours (runs)", axis=1, level=1).to_numpy().ravel()) == {"not run"}
    assert "reproduced" not in statements(tmp_path).data
    assert smaller_runs(tmp_path).data == "*not run*"
    assert "02_mass_layer" in figure(tmp_path, 1).data


def test_only_the_paper_profile_stands_beside_the_paper(tmp_path):
    publish(tmp_path, "cifar10", [RUN | {"profile": "quick"}, *(RUN | {"profile": "paper", "seed": s} for s in (1, 2))])
    row = table_2(tmp_path).loc[("ResNet-20", "MASS")]
    assert row["accuracy", "ours (runs)"] == "92.00 ± 0.00 (2)"
    assert row["consistency", "verdict"] == "reproduced"


def test_statements_need_the_paper_scale_to_be_confirmed_and_one_counter_example_to_be_refuted(tmp_path):
    record = RUN | {"model": "mobilenet_v2", "n": 80, "dataset": "some", "profile": "quick"}
    publish(tmp_path, "weight_transfer", [record])
    assert "reproduced" not in statements(tmp_path).data and "mobilenet_v2" in smaller_runs(tmp_path).data
    publish(tmp_path, "weight_transfer", [record | {"profile": "paper", "n": 50_000}])
    assert "| reproduced |" in statements(tmp_path).data
    publish(tmp_path, "weight_transfer", [record | {"consistency": 98.75}])
    assert "| not reproduced |" in statements(tmp_path).data


def test_no_erratum_breaks_its_table():
    for erratum in (*NUMBERS, *FORMULAS, *SENTENCES):
        assert "|" not in erratum.quote + erratum.remark + erratum.here
