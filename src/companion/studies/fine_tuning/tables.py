"""The README's sibling of Table 4: before and after fine-tuning, on images held out."""

from __future__ import annotations

from pathlib import Path

from companion.core.markdown import difference, p_value, percent, table
from companion.core.published import read_results
from companion.core.records import Record

_COLUMNS = ["Method", "Fine-tuning", "n", "Top-1 %", "Shifted top-1 %", "Consistency %", "Bit-identical when shifted %",
            "Labels changed by noise %"]  # fmt: skip
_FIELDS = ("top1", "shifted_top1", "consistency", "identical", "changed_by_noise")


def fine_tuning(root: Path) -> str:
    """Each method before and after the same steps."""
    records = _largest(root, "before") + _largest(root, "after")
    rows = [
        [
            r["method"],
            "none" if r["stage"] == "before" else f"{r['epochs']} epochs of {r['tuned']} images, lr {r['lr']:g}",
            f"{r['n']:,}",
            *(percent(r[name], r["n"]) for name in _FIELDS),
        ]
        for r in records
    ]
    note = (
        "MobileNetV2, official weights. Each image was held out of one of 5 folds and asked about there; batch statistics frozen. "
        "Noise of 2 grey levels, clipped. In brackets: 95% confidence (Wilson). Not Table 4, whose ResNet-18 saw all of ImageNet."
    )
    return table(_COLUMNS, rows, records, note)


def recovered(root: Path) -> str:
    """Image by image: before against after, and method against method."""
    records = _largest(root, "paired")
    rows = [
        [
            r["input"], r["method"], r["against"], f"{r['n']:,}", f"{r['only_before']} : {r['only_after']}",
            difference(r["difference"], r["low"], r["high"]), p_value(r["p"]), p_value(r["p_holm"]),
        ]
        for r in records
    ]  # fmt: skip
    columns = ["What", "Method", "Against", "n", "Only against : only method", "Difference", "p", "p (Holm)"]
    note = "Percentage points with 95% interval, McNemar's exact test, Holm's correction for each question's family."
    return table(columns, rows, records, note)


def _largest(root: Path, stage: str) -> list[Record]:
    """The records of a stage on the most images; those of the profile quick, of a few, measure nothing."""
    records = [r for r in read_results(root, "fine_tuning") if r["stage"] == stage and r["profile"] != "quick"]
    most = max((r["n"] for r in records), default=0)
    return [r for r in records if r["n"] == most]
