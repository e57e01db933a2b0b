"""Which differences are real: paired comparisons over seeds, with confidence intervals, corrected for their number.

Runs with one seed share the order of their images, their flips and, but for DDAC's, their first weights, so methods
are compared seed by seed. The interval is Student's for the mean of the paired differences; it says how methods differ over seeds on
this test set, and nothing about other test sets. A table of comparisons is one family: its verdicts go by p-values that Holm's
method has corrected, its intervals are those of each comparison alone. Where a method gains the same in every run, which
accuracies of few images do by chance, nothing is known of its spread: there is no test. Where no run differs, p is 1.
"""

from __future__ import annotations

from typing import Any

import numpy
import pandas as pd
from scipy import stats

from companion.core.markdown import difference
from companion.core.records import Record
from companion.measures.paired_images import holm

SPREAD = 1e-9  # percentage points: what rounding makes of equal differences, and far less than one image


def paired_gains(
    records: list[Record], over: str = "Baseline", field: str = "top1", level: float = 0.95
) -> pd.DataFrame:
    """Every method's mean difference to `over`, in percentage points, with its interval.

    Returns:
        A row per method: n (common seeds), gain, low, high, p (paired t-test, two-sided), p_holm, verdict. With one common
        seed, or where all differ alike, there is neither interval nor verdict: low, high and the p-values are NaN. Without
        another method no row.
    """
    if not records:
        return pd.DataFrame(columns=_COLUMNS).set_index("method")
    table = pd.DataFrame(records).pivot_table(index="seed", columns="method", values=field, sort=False)
    rows = []
    for method in (name for name in table.columns if name != over):
        gains = (table[method] - table[over]).dropna().to_numpy()
        row = {"method": method, "n": len(gains), "gain": gains.mean() if len(gains) else numpy.nan}
        rows.append(row | _interval(gains, level))
    return judged(pd.DataFrame(rows, columns=_COLUMNS[:-2])).set_index("method")


def mass_against_aps(records: list[Record]) -> pd.DataFrame:
    """MASS beside APS with the same filter, wherever APS reads its index: a row per network, number of epochs and filter, one family.

    Returns:
        As `paired_gains`; method is MASS's, against that of APS, which has the same seeds.
    """
    found = []
    scales = dict.fromkeys((r["net"], r["epochs"]) for r in records)
    for net, epochs in scales:
        of_scale = [r for r in records if (r["net"], r["epochs"]) == (net, epochs)]
        for ours in dict.fromkeys(r["method"] for r in of_scale if r["method"] in _FILTERS):
            same = ours.replace("MASS", "APS")
            for theirs in (same, f"{same}, index before the filter"):
                both = [r for r in of_scale if r["method"] in (ours, theirs)]
                if {r["method"] for r in both} == {ours, theirs}:
                    row = paired_gains(both, theirs).reset_index().assign(net=net, epochs=epochs, against=theirs)
                    if row["n"].item():
                        found.append(row)
    columns = ["net", "epochs", "method", "against", *_COLUMNS[1:]]
    return judged(pd.concat(found, ignore_index=True))[columns] if found else pd.DataFrame(columns=columns)


def cells(records: list[Record]) -> list[list[str]]:
    """MASS beside APS as the cells of a table: network, epochs, method, against, n, difference, p, p (Holm), verdict."""
    return [
        [
            *(r["net"], str(r["epochs"]), r["method"], r["against"], str(r["n"])),
            *(
                difference(r["gain"], r["low"], r["high"], 2),
                _rounded(r["p"], 3),
                _rounded(r["p_holm"], 2),
                r["verdict"],
            ),
        ]
        for _, r in mass_against_aps(records).iterrows()
    ]


_FILTERS = ("MASS", "MASS-LPF-3", "MASS-DDAC-3")
_COLUMNS = ["method", "n", "gain", "low", "high", "p", "p_holm", "verdict"]


def judged(rows: pd.DataFrame) -> pd.DataFrame:
    """Comparisons (n, gain, p) as one family: with p_holm, p corrected for all that have one, and a verdict by it."""
    rows = rows.assign(p_holm=holm(rows["p"].tolist()))
    return rows.assign(verdict=[_verdict(row) for _, row in rows.iterrows()])


def no_verdict(n: int) -> str:
    """Why so many differences decide nothing."""
    return f"{'one seed' if n < 2 else 'no spread'}: no verdict"


def known(row: dict[str, Any]) -> dict[str, Any]:
    """A row without the numbers that there are not (NaN), as a record has it."""
    return {name: value for name, value in row.items() if not (isinstance(value, float) and numpy.isnan(value))}


def _verdict(row: Any) -> str:
    if numpy.isnan(row["p_holm"]):
        return no_verdict(row["n"])
    if row["p_holm"] >= 0.05:
        return "not told apart"
    return "better" if row["gain"] > 0 else "worse"


def _rounded(p: float, digits: int) -> str:
    return "–" if numpy.isnan(p) else f"{p:.{digits}f}"


def _interval(gains: numpy.ndarray, level: float) -> dict[str, float]:
    if len(gains) > 1 and numpy.abs(gains).max() < SPREAD:  # the same to the last image
        return {"low": 0.0, "high": 0.0, "p": 1.0}
    if len(gains) < 2 or numpy.ptp(gains) < SPREAD:
        return {"low": numpy.nan, "high": numpy.nan, "p": numpy.nan}
    test = stats.ttest_rel(gains, numpy.zeros_like(gains))
    low, high = test.confidence_interval(level)
    return {"low": float(low), "high": float(high), "p": float(test.pvalue)}
