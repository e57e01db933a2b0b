"""The README's tables of notebook 11."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import mean

from companion.core.markdown import difference, p_value, percent, table, where
from companion.core.published import read_results
from companion.core.records import Record

_SHARES = ("top1", "shifted_top1", "worst_top1", "steady")
_SETS = {
    "periodic": "generated vias, small ResNet",
    "solar-cells-64": "solar cells, small ResNet",
    "solar-cells": "solar cells, MobileNetV2",
    "deeppcb": "circuit boards, small ResNet",
}


def _records(root: Path, stage: str) -> list[Record]:
    found = [r for r in read_results(root, "periodic") if r.get("stage") == stage]
    found.sort(key=lambda record: list(_SETS).index(record["dataset"]))
    return [r for r in found if r["profile"] != "quick"] or found  # quick only where nothing larger was run


def worst_cases(root: Path) -> str:
    """Accuracy in place, on average and in the worst case of all residues, by method and data set."""
    records = _records(root, "worst case")
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for r in records:
        groups.setdefault((r["profile"], r["dataset"], r["method"]), []).append(r)
    rows = []
    for group in groups.values():
        first = group[0]
        shares = [percent(mean(r[name] for r in group), first["n"]) for name in _SHARES]
        asked = [
            str(len(group)),
            f"{first['n']:,}",
            f"{first['residues']:,}",
            f"{first['majority']:.1f}" if "majority" in first else "–",
        ]
        about = [_SETS.get(first["dataset"], first["dataset"]), first["method"], str(first["epochs"]), *asked]
        rows.append([*about, *shares, where(first, records)])
    columns = [
        "Images, network",
        "Method",
        "Epochs",
        "Seeds",
        "n",
        "Residues",
        "One answer to all %",
        "In place %",
        "Mean of residues %",
    ]
    columns += ["Worst residue %", "One label at all residues %", "Profile"]
    note = (
        "Trained with the camera in its place; then asked at all residues of the total stride, 8 or 32; of circuit "
        "boards, crops whose template and test are 0, 2, 4, 8, 16 and 32 pixels apart. Worst residue: images that are right at every one. Means over seeds; in brackets 95% confidence (Wilson) over n images. With zero padding the residues are a part of all "
        "shifts that matter. One answer to all: what the more frequent answer, given to every image, would get right."
    )
    return table(columns, rows, records, note)


def worst_cases_paired(root: Path) -> str:
    """MASS against every other method, in place and at the worst residue: over images, and over seeds."""
    records = _records(root, "worst case, paired")
    rows = []
    for r in records:
        about = [_SETS.get(r["dataset"], r["dataset"]), r["input"], r["against"]]
        over_images = [f"{r['n']:,}", difference(r["difference"], r["low"], r["high"]), p_value(r["p_holm"])]
        over_seeds = ["1", "–", "–"]
        if "seed_difference" in r:
            bounds = (r.get("seed_low", math.nan), r.get("seed_high", math.nan))  # none where all seeds differ alike
            told = difference(r["seed_difference"], *bounds)
            over_seeds = [str(r["seeds"]), told, p_value(r.get("seed_p_holm", math.nan))]
        rows.append([*about, *over_images, *over_seeds])
    columns = ["Images, network", "Asked", "MASS less", "n", "Over images, points", "p (Holm)", "Seeds"]
    columns += ["Over seeds, points", "p (Holm)"]
    note = (
        "How many more images are right with MASS, in percentage points; of circuit boards, with MASS on registered differences. Over images: the first seed's networks, McNemar's exact test. Over "
        "seeds: means of paired differences, Student's test. Intervals are 95%, each alone; Holm's correction over all rows of a network."
    )
    return table(columns, rows, records, note)
