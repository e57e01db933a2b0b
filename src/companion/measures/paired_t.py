"""Which differences are real: paired comparisons over seeds, with confidence intervals.

Runs with one seed share the order of their images, their flips and, but for DDAC's, their first weights, so methods
are compared seed by seed. The interval is Student's for the mean of the paired differences; it says how methods differ over seeds on
this test set, and nothing about other test sets.
"""

from __future__ import annotations

import numpy
import pandas as pd
from scipy import stats

from companion.core.records import Record


def paired_gains(
    records: list[Record], over: str = "Baseline", field: str = "top1", level: float = 0.95
) -> pd.DataFrame:
    """Every method's mean difference to `over`, in percentage points, with its interval.

    Returns:
        A row per method: n (common seeds), gain, low, high, p (paired t-test, two-sided), verdict. With one common seed
        there is neither interval nor verdict.
    """
    table = pd.DataFrame(records).pivot_table(index="seed", columns="method", values=field, sort=False)
    rows = []
    for method in (name for name in table.columns if name != over):
        difference = (table[method] - table[over]).dropna().to_numpy()
        row = {"method": method, "n": len(difference), "gain": difference.mean() if len(difference) else numpy.nan}
        rows.append(row | _interval(difference, level))
    return pd.DataFrame(rows).set_index("method")


def _interval(difference: numpy.ndarray, level: float) -> dict[str, object]:
    if len(difference) < 2:
        return {"low": numpy.nan, "high": numpy.nan, "p": numpy.nan, "verdict": "one seed: no verdict"}
    if numpy.ptp(difference) == 0:  # the same to the last image, or shifted by the same count
        low = high = float(difference[0])
        p = 1.0 if low == 0 else 0.0
    else:
        test = stats.ttest_rel(difference, numpy.zeros_like(difference))
        low, high = test.confidence_interval(level)
        p = float(test.pvalue)
    verdict = "better" if low > 0 else "worse" if high < 0 else "not told apart"
    return {"low": float(low), "high": float(high), "p": p, "verdict": verdict}
