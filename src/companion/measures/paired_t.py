"""Which differences are real: paired comparisons over seeds, with confidence intervals, corrected for their number.

Runs with one seed share the order of their images, their flips and, but for DDAC's, their first weights, so methods
are compared seed by seed. The interval is Student's for the mean of the paired differences; it says how methods differ over seeds on
this test set, and nothing about other test sets. A table of comparisons is one family: its verdicts go by p-values that Holm's
method has corrected, its intervals are those of each comparison alone.
"""

from __future__ import annotations

import numpy
import pandas as pd
from scipy import stats

from companion.core.markdown import difference
from companion.core.records import Record
from companion.measures.paired_images import holm


def paired_gains(
    records: list[Record], over: str = "Baseline", field: str = "top1", level: float = 0.95
) -> pd.DataFrame:
    """Every method's mean difference to `over`, in percentage points, with its interval.

    Returns:
        A row per method: n (common seeds), gain, low, high, p (paired t-test, two-sided), p_holm, verdict. With one common
        seed there is neither interval nor verdict.
    """
    table = pd.DataFrame(records).pivot_table(index="seed", columns="method", values=field, sort=False)
    rows = []
    for method in (name for name in table.columns if name != over):
        gains = (table[method] - table[over]).dropna().to_numpy()
        row = {"method": method, "n": len(gains), "gain": gains.mean() if len(gains) else numpy.nan}
        rows.append(row | _interval(gains, level))
    return _judged(pd.DataFrame(rows)).set_index("method")


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
    columns = ["net", "epochs", "method", "against", "n", "gain", "low", "high", "p", "p_holm", "verdict"]
    return _judged(pd.concat(found, ignore_index=True))[columns] if found else pd.DataFrame(columns=columns)


def cells(records: list[Record]) -> list[list[str]]:
    """MASS beside APS as the cells of a table: network, epochs, method, against, n, difference, p, p (Holm), verdict."""
    return [
        [
            *(r["net"], str(r["epochs"]), r["method"], r["against"], str(r["n"])),
            *(difference(r["gain"], r["low"], r["high"], 2), f"{r['p']:.3f}", f"{r['p_holm']:.2f}", r["verdict"]),
        ]
        for _, r in mass_against_aps(records).iterrows()
    ]


_FILTERS = ("MASS", "MASS-LPF-3", "MASS-DDAC-3")


def _judged(rows: pd.DataFrame) -> pd.DataFrame:
    """With p-values corrected for all comparisons that have one, and verdicts by these."""
    known = rows["p"].notna()
    rows = rows.assign(p_holm=numpy.nan, verdict="one seed: no verdict")
    rows.loc[known, "p_holm"] = holm(rows.loc[known, "p"].tolist())
    told = rows["p_holm"] < 0.05
    rows.loc[known, "verdict"] = "not told apart"
    rows.loc[known & told, "verdict"] = numpy.where(rows.loc[known & told, "gain"] > 0, "better", "worse")
    return rows


def _interval(gains: numpy.ndarray, level: float) -> dict[str, object]:
    if len(gains) < 2:
        return {"low": numpy.nan, "high": numpy.nan, "p": numpy.nan}
    if numpy.ptp(gains) == 0:  # the same to the last image, or shifted by the same count
        low = high = float(gains[0])
        p = 1.0 if low == 0 else 0.0
    else:
        test = stats.ttest_rel(gains, numpy.zeros_like(gains))
        low, high = test.confidence_interval(level)
        p = float(test.pvalue)
    return {"low": float(low), "high": float(high), "p": p}
