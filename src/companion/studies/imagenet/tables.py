"""The README's Table 3 at scale, what was not run, and the table of canvases."""

from __future__ import annotations

from pathlib import Path

from companion.core.markdown import difference, p_value, percent, table, where
from companion.core.published import read_results
from companion.core.records import Record
from companion.studies.imagenet.networks import ROWS

_COLUMNS = ["Network (weights)", "Method", "Images (n)", "Top-1 %", "Top-5 %", "Consistency % (n): MASS's shifts", "APS's", "LPS's",
            "crops", "zeros come in", "Labels changed by noise %", "Profile"]  # fmt: skip
_PROTOCOLS = ("consistency", "consistency_aps", "consistency_lps", "consistency_crop", "consistency_zero")


def rows(root: Path) -> str:
    """Networks with their published weights, by method, all columns; and what was not run."""
    records = _of(root, "row")
    lines = []
    for r in records:
        same = [f"{r[name]:.1f}" for name in _PROTOCOLS]
        same[0] += f" ({r['moved']:,})"
        shares = (percent(r[name], r["n"]) for name in ("top1", "top5"))
        noise = percent(r["changed_by_noise"], r["n"])
        lines.append(
            [
                f"{r['model']} ({r['input']})",
                r["method"],
                f"{r['dataset']} ({r['n']:,})",
                *shares,
                *same,
                noise,
                where(r, records),
            ]
        )
    measured = {(r["model"], r["input"]) for r in records}
    missing = [
        f"{row.model} {row.weights.removeprefix('IMAGENET1K_')}"
        for row in ROWS
        if (row.model, row.weights) not in measured
    ]
    note = (
        "The ordinary crop: short side to 256, the middle 224. Two random shifts by each protocol; noise of 2 grey levels, clipped; in "
        "brackets 95% confidence (Wilson). The 1,300 images are whole photographs squashed to squares, and easier than the validation set: "
        f"never to be quoted as ImageNet's. Not run, for their weights are not at hand: {', '.join(missing)}; LPF-3 in all."
    )
    return table(_COLUMNS, lines, records, note)


def rows_paired(root: Path) -> str:
    """What a method costs, on the same images."""
    records = [r for column in ("top-1", "noise") for r in _of(root, f"{column}, paired")]
    names = {"top-1, paired": "top-1", "noise, paired": "labels changed by noise"}
    lines = [[f"{r['model']} ({r['input']})", names[r["stage"]], *_compared(r)] for r in records]
    columns = [
        "Network (weights)",
        "What",
        "Method",
        "Against",
        "n",
        "Only against : only method",
        "Difference",
        "p",
        "p (Holm)",
    ]
    return table(columns, lines, records, f"{_TESTED} A network's comparisons of one kind are a family.")


def canvas(root: Path) -> str:
    """MobileNetV2 on images put on a larger canvas."""
    records = _of(root, "canvas")
    lines = [
        [
            _canvas(r["input"]), r["method"], percent(r["top1"], r["n"]),
            *(percent(r[name], r["moved"]) for name in ("agree_placed", "identical", "agree_zero")),
        ]
        for r in records
    ]  # fmt: skip
    moved = ", ".join(dict.fromkeys(f"{r['moved']:,}" for r in records))
    columns = ["Canvas (side, ground)", "Method", "Top-1 %", "Put elsewhere: same label %", "Put elsewhere: bit-identical %",
               "Zeros come in: same label %"]  # fmt: skip
    note = (
        f"MobileNetV2, official weights; 224 x 224 images ({', '.join(dict.fromkeys(str(r['n']) for r in records))}) of ImageNet squashed to "
        f"squares; labels under two random moves of the first {moved}. Without a canvas there is nowhere else to put an image. "
        "Zeros come in: by up to 31 pixels, and content leaves; nothing is promised."
    )
    return table(columns, lines, records, note)


def canvas_paired(root: Path) -> str:
    """MASS on each canvas beside the networks without one, on the same images."""
    records = _of(root, "canvas, paired")
    columns = ["Method, canvas", "Against", "n", "Only against : only method", "Difference in top-1", "p", "p (Holm)"]
    return table(columns, [_compared(r) for r in records], records, f"{_TESTED} One family.")


def _canvas(name: str) -> str:
    """At the image's own size there is none."""
    return name.replace("224, ImageNet's mean", "none")


_TESTED = "Percentage points with 95% interval, McNemar's exact test, Holm's correction."


def _compared(r: Record) -> list[str]:
    counts = f"{r['n']:,}", f"{r['only_before']} : {r['only_after']}"
    return [
        _canvas(r["method"]),
        _canvas(r["against"]),
        *counts,
        difference(r["difference"], r["low"], r["high"]),
        p_value(r["p"]),
        p_value(r["p_holm"]),
    ]


def _of(root: Path, stage: str) -> list[Record]:
    return [r for r in read_results(root, "imagenet") if r["stage"] == stage]
