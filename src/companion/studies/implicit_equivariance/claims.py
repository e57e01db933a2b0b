"""The claims of Khetan et al. (2021) beside what was measured: each a sentence, a number with its n and interval, and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from companion.core.records import Record
from companion.measures.paired_t import judged, no_verdict, paired_gains
from companion.studies.implicit_equivariance.arms import ARMS, IEN
from companion.studies.implicit_equivariance.measurements import equivalent, of_arm

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
    table = judged(pd.concat(rows, ignore_index=True))
    return table[["method", "against", "dataset", "field", "n", "gain", "low", "high", "p_holm", "verdict"]]


def heterogeneous(records: Sequence[Record], settings: Any) -> pd.DataFrame:
    """Mixed groups of 31% fewer channels, beside groups of four and beside the plain network of all channels: a row each.

    Equivalent within `MARGIN` points, or not shown to be; intervals of 90%, for two one-sided tests at 5%.
    """
    ours = of_arm(records, ARMS["ien-mixed"].printed, settings.rotated)
    rows = []
    for arm in ("ien", "plain"):
        found = equivalent(ours, of_arm(records, ARMS[arm].printed, settings.rotated), MARGIN)
        rows.append({"against": ARMS[arm].printed, **found, "verdict": _on_par(found)})
    return pd.DataFrame(rows).drop(columns=["margin", "equivalent"]).set_index("against")


def _on_par(found: dict[str, Any]) -> str:
    if found["equivalent"] is None:
        return no_verdict(found["n"])
    if found["equivalent"]:
        return f"equivalent within {MARGIN} points"
    if found["high"] < -MARGIN:
        return f"not on par: worse by more than {MARGIN} points"
    return f"not shown within {MARGIN} points"


def _told(row: Any) -> str:
    interval = "" if pd.isna(row["low"]) else f" ({row['low']:+.2f} to {row['high']:+.2f})"
    return f"{row['gain']:+.2f} points{interval}, n = {row['n']}"


def tracking(rows: Sequence[Record]) -> pd.DataFrame:
    """Boxes that overlap, in points against the plain tracker's, paired over seeds: a row an arm and kind of template.

    Where turned templates change no box of a tracker, nor of the plain one, the second row would be the first again: it
    is left out, and counts no second time in the correction.
    """
    found = []
    for rule in dict.fromkeys(row["rule"] for row in rows if row["method"] == "plain"):
        of_rule = [row for row in rows if row["rule"] == rule]
        found.append(paired_gains(of_rule, "plain", "success").reset_index().assign(rule=rule))
    table = pd.concat(found, ignore_index=True)
    again = table[["method", "n", "gain", "low", "high"]].round(9).duplicated()
    table = judged(table[~again].reset_index(drop=True))
    return table[["method", "rule", "n", "gain", "low", "high", "p_holm", "verdict"]]


def _on_speed(times: Sequence[Record]) -> tuple[str, str]:
    """By medians in one run; told apart where quartiles do not overlap."""
    by = {row["method"]: row for row in times}
    kinds = ("steerable", "steerable, exported")
    slower = [by[kind]["quartile_low"] > by[IEN]["quartile_high"] for kind in kinds]
    told = "; ".join(f"{kind} takes {by[kind]['ratio']:.2f} times IEN's" for kind in kinds)
    words = {
        (True, False): "true of the library's modules; not of the network, exported",
        (True, True): "true at equal channels",
        (False, False): "not told apart in this run",
        (False, True): "not told apart in this run",
    }
    return f"{told} ({by[IEN]['rounds']} rounds)", words[slower[0], slower[1]]


def claims(
    records: Sequence[Record],
    settings: Any,
    times: Sequence[Record],
    certified: Sequence[Record],
    tracked: Sequence[Record],
) -> str:
    """The table that the notebook ends in, in Markdown."""
    table = comparisons(records, settings)
    rows: list[tuple[str, str, str]] = []

    def compared(claim: str, arm: str, against: str) -> None:
        found = table[(table["method"] == ARMS[arm].printed) & (table["against"] == ARMS[against].printed)]
        found = found[(found["field"] == "top1") & (found["dataset"] == getattr(settings, ARMS[arm].dataset))]
        if arm not in settings.arms or not len(found):
            rows.append((claim, "–", "not run in this profile"))
        else:
            rows.append((claim, _told(found.iloc[0]), found.iloc[0]["verdict"]))

    compared("IEN is more accurate than the plain network", "ien", "plain")
    compared("IEN is more accurate than the steerable network of as many channels", "ien", "steerable")
    compared("… of as many parameters", "ien-small", "steerable")
    compared("IEN for scale is more accurate than the plain network", "ien-scales", "plain-scales")
    for against, row in heterogeneous(records, settings).iterrows():
        interval = "" if pd.isna(row["low"]) else f" ({row['low']:+.2f} to {row['high']:+.2f}, 90%)"
        number = f"{row['difference']:+.2f} points{interval}, n = {row['n']}"
        rows.append((f"Mixed groups, 31% fewer channels: accuracy on par ({against})", number, row["verdict"]))
    rows.append(("IEN is faster at inference than the steerable network", *_on_speed(times)))
    of_tracker = tracking(tracked)
    for rule in dict.fromkeys(of_tracker["rule"]):
        for _, row in of_tracker[(of_tracker["method"] == IEN) & (of_tracker["rule"] == rule)].iterrows():
            rows.append((f"IEN tracks better than the plain network ({rule})", _told(row), row["verdict"]))
    compared("*Ours:* IEN over MASS is as accurate as MASS", "ien-mass", "mass")
    exact = {row["method"]: row for row in certified}["IEN over MASS"]
    rows.append(
        (
            "*Ours:* IEN over MASS is exact for shifts",
            f"{exact['verdict']}, {exact['images']} images; error of its maps {exact['shift_error']:g}",
            "yes" if exact["verdict"] == "CERTIFIED" and exact["shift_error"] == 0 else "no",
        )
    )
    lines = ["| Claim | Measured | Verdict |", "| --- | --- | --- |"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
