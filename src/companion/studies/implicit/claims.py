"""The seed's claims beside what was measured: each a sentence, a number with its n and interval, and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from companion.core.records import Record
from companion.measures.paired_images import holm
from companion.measures.paired_t import paired_gains
from companion.studies.implicit.arms import ARMS
from companion.studies.implicit.measurements import equivalent, of_arm

MARGIN = 0.5  # points within which two accuracies pass for the same

# Compared pairs: arm, against, of which data set (a setting), and in which field.
PAIRS = (
    ("ien", "plain", "rotated", "top1"),
    ("ien", "steerable", "rotated", "top1"),
    ("ien-small", "steerable", "rotated", "top1"),
    ("plain-small", "steerable", "rotated", "top1"),
    ("ien-mass", "mass", "rotated", "top1"),
    ("ien-mixed", "plain-mixed", "rotated", "top1"),
    ("ien-reflections", "plain-reflections", "reflected", "top1"),
    ("ien-scales", "plain-scales", "scaled", "top1"),
    ("ien", "plain", "rotated", "worst_step"),
)


def comparisons(records: Sequence[Record], settings: Any) -> pd.DataFrame:
    """Paired over seeds, corrected as one family (Holm): a row a pair."""
    rows = []
    for arm, against, data, field in PAIRS:
        if arm not in settings.arms or against not in settings.arms:
            continue
        dataset = getattr(settings, data)
        names = {ARMS[arm].printed, ARMS[against].printed}
        both = [r for r in records if r["dataset"] == dataset and r["method"] in names]
        row = paired_gains(both, ARMS[against].printed, field).reset_index()
        rows.append(row.assign(against=ARMS[against].printed, dataset=dataset, field=field))
    table = pd.concat(rows, ignore_index=True)
    known = table["p"].notna()
    table["p_holm"] = float("nan")
    table.loc[known, "p_holm"] = holm(table.loc[known, "p"].tolist())
    table["verdict"] = [_verdict(row) for _, row in table.iterrows()]
    return table[["method", "against", "dataset", "field", "n", "gain", "low", "high", "p_holm", "verdict"]]


def _verdict(row: Any) -> str:
    if row["n"] < 2:
        return "one seed: no verdict"
    if row["p_holm"] < 0.05:
        return "better" if row["gain"] > 0 else "worse"
    return "not told apart"


def heterogeneous(records: Sequence[Record], settings: Any) -> dict[str, Any]:
    """Mixed groups of 31% fewer channels against groups of four: equivalent within `MARGIN` points, or not shown to be."""
    ours, theirs = (of_arm(records, ARMS[arm].printed, settings.rotated) for arm in ("ien-mixed", "ien"))
    return equivalent(ours, theirs, MARGIN)


def _told(row: Any) -> str:
    interval = "" if pd.isna(row["low"]) else f" ({row['low']:+.2f} to {row['high']:+.2f})"
    return f"{row['gain']:+.2f} points{interval}, n = {row['n']}"


def claims(
    records: Sequence[Record], settings: Any, times: Sequence[Record], certified: Sequence[Record]
) -> pd.DataFrame:
    """The table that the notebook ends in."""
    table = comparisons(records, settings)
    rows = []

    def compared(claim: str, arm: str, against: str) -> None:
        if arm not in settings.arms:
            rows.append((claim, "–", "not run in this profile"))
            return
        found = table[(table["method"] == ARMS[arm].printed) & (table["against"] == ARMS[against].printed)]
        found = found[(found["field"] == "top1") & (found["dataset"] == getattr(settings, ARMS[arm].dataset))]
        if len(found):
            row = found.iloc[0]
            rows.append((claim, _told(row), f"at this scale {row['verdict']}"))

    compared("IEN is more accurate than the plain network", "ien", "plain")
    compared("IEN beats the steerable network: same channels", "ien", "steerable")
    compared("IEN beats the steerable network: same parameters", "ien-small", "steerable")
    mixed = heterogeneous(records, settings)
    interval = "" if mixed["low"] is None else f" ({mixed['low']:+.2f} to {mixed['high']:+.2f}, 90%)"
    verdict = {None: "one seed: no verdict", True: f"equivalent within {MARGIN} points", False: "equivalence not shown"}
    rows.append((
        "Mixed groups: 30% fewer channels, accuracy on par",
        f"{mixed['difference']:+.2f} points{interval}, n = {mixed['n']}",
        verdict[mixed["equivalent"]],
    ))  # fmt: skip
    ratios = {row["method"]: row["ratio"] for row in times}
    rows.append((
        "IEN is faster at inference than the steerable network",
        f"steerable takes {ratios['steerable']:.2f} times IEN's time; exported {ratios['steerable, exported']:.2f}",
        "true of the library's modules, not of the network" if ratios["steerable, exported"] < 1.1 < ratios["steerable"] else "as measured",
    ))  # fmt: skip
    compared("The same for scale (MNIST-scale)", "ien-scales", "plain-scales")
    compared("IEN over MASS is no less accurate than MASS", "ien-mass", "mass")
    exact = {row["method"]: row["verdict"] for row in certified}
    rows.append(
        (
            "IEN over MASS is exact for shifts",
            exact["IEN over MASS"],
            "yes" if exact["IEN over MASS"] == "CERTIFIED" else "no",
        )
    )
    return pd.DataFrame(rows, columns=["claim", "ours", "verdict"])
