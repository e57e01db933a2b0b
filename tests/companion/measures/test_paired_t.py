"""Differences over seeds that all are the same: nothing is known of their spread, so nothing is decided."""

import math

import pytest
import torch

from companion.core.errors import Refusal
from companion.core.records import make_record
from companion.measures.paired_images import compare, holm, mcnemar, signed_rank
from companion.measures.paired_t import cells, paired_gains
from companion.studies.antialiasing import claims as antialiasing
from companion.studies.detection.shifted import paired
from companion.studies.implicit_equivariance import claims as implicit
from companion.studies.implicit_equivariance.measurements import equivalent


def records(field="top1", **values):
    return [
        {"method": method, "seed": seed, field: value, "net": "resnet20", "epochs": 4}
        for method, column in values.items()
        for seed, value in enumerate(column)
    ]


@pytest.mark.parametrize("gain", [0.25, 0.01, -0.3])  # 0.01: both differences are that but for their rounding
def test_equal_gains_of_all_seeds_decide_nothing(gain):
    row = paired_gains(records(Baseline=[80.13, 86.1], MASS=[80.13 + gain, 86.1 + gain])).loc["MASS"]
    assert row["n"] == 2 and row["gain"] == pytest.approx(gain) and row["verdict"] == "no spread: no verdict"
    assert all(math.isnan(row[name]) for name in ("low", "high", "p", "p_holm"))


def test_a_comparison_without_a_test_is_none_of_its_family():
    table = paired_gains(records(Baseline=[70.0, 71.0, 69.5], A=[71.0, 72.0, 70.5], B=[72.0, 73.1, 71.4]))
    assert table.loc["B", "p_holm"] == table.loc["B", "p"] < 0.05 and table.loc["B", "verdict"] == "better"
    assert holm([math.nan]) != holm([]) == [] and math.isnan(holm([math.nan])[0])


def test_runs_that_are_all_the_same_are_not_told_apart():
    row = paired_gains(records(Baseline=[70.0, 71.0], MASS=[70.0, 71.0])).loc["MASS"]
    assert (row["low"], row["high"], row["p"], row["verdict"]) == (0, 0, 1, "not told apart")


def test_of_one_method_alone_there_is_an_empty_table():
    for alone in (records(Baseline=[80.0, 81.0]), []):
        table = paired_gains(alone)
        assert table.empty and {"gain", "p", "p_holm", "verdict"} <= set(table.columns)


def test_the_table_beside_aps_prints_no_interval_where_there_is_none():
    (row,) = cells(records(APS=[90.0, 91.0], MASS=[90.5, 91.5]))
    assert row[5:] == ["+0.50 (no interval)", "–", "–", "no spread: no verdict"]


def test_claims_of_equal_gains_stay_open():
    found = antialiasing.difference(records(plain=[80.0, 81.0], ours=[80.25, 81.25]), "ours", "plain")
    (claim,) = antialiasing.decided([antialiasing.judged("it rises", "top-1", found)])
    assert (claim.verdict, claim.number) == (antialiasing.OPEN, "+0.25 (the same in 2 seeds)")
    tracked = [row | {"rule": "fixed"} for row in records("success", plain=[50.0, 51.0], IEN=[52.0, 53.0])]
    assert implicit.tracking(tracked)["verdict"].tolist() == ["no spread: no verdict"]
    assert equivalent({0: 86.11, 1: 87.01}, {0: 86.1, 1: 87.0}, 0.5)["equivalent"] is None


def test_a_record_of_detectors_that_differ_alike_has_no_interval():
    rows = records("ap33", MASS=[50.0, 51.0], Baseline=[49.0, 50.0])
    (row,) = paired([], rows)
    assert row["difference"] == 1 and not {"low", "high", "p", "p_holm"} & set(row) and make_record(row)


def test_no_image_is_one_sentence():
    none = torch.zeros(0, dtype=torch.bool)
    for test in (mcnemar, signed_rank):
        with pytest.raises(Refusal, match="There is no image to compare the two by"):
            test(none, none)
    with pytest.raises(Refusal, match="There is no image"):
        compare({"a": none, "b": none}, [("a", "b")])
