"""The README's tables of notebook 14."""

from __future__ import annotations

from pathlib import Path
from statistics import mean

from companion.core.markdown import difference, p_value, percent, table, where
from companion.core.published import read_results
from companion.core.records import Record, mean_std

_SETS = {"deeppcb-boards": "circuit boards", "periodic-boxes": "generated vias"}


def detectors(root: Path) -> str:
    """AP of trained detectors: unmoved, on average, and between the worst and the best choice of shifts."""
    records = [r for r in read_results(root, "detection") if r.get("stage") == "precision"]
    groups: dict[tuple[str, ...], list[Record]] = {}
    for r in records:
        groups.setdefault((r["profile"], r["dataset"], r["protocol"], r["method"]), []).append(r)
    rows = []
    for group in groups.values():
        first = group[0]
        shares = [mean_std([r[name] for r in group], 1) for name in ("ap", "mean_ap", "worst_ap", "best_ap")]
        same = percent(mean(r["identical"] for r in group), first["n"]) if "identical" in first else "–"
        error = f"{max(r['worst_error'] for r in group):.1f}" if "worst_error" in first else "–"
        about = [_SETS[first["dataset"]], first["protocol"], first["method"], str(len(group)), f"{first['n']:,}"]
        rows.append([*about, *shares, same, error, where(first, records)])
    columns = ["Images", "Moved", "Method", "Seeds", "n", "AP unmoved %", "Mean AP %", "Worst AP %", "Best AP %"]
    columns += ["Bit-identical sets %", "Worst centre error, px", "Profile"]
    note = (
        "AP at IoU > 0.33 (DeepPCB's), mean over kinds. Worst and best: a greedy search over shifts, image by image (after Manfredi & Wang, "
        "2020). Means and standard deviations over seeds. Bit-identical: images whose set of detections moved along under all shifts."
    )
    return table(columns, rows, records, note)


def fastestdet(root: Path) -> str:
    """FastestDet's published weights: how often detections change when a photograph moves."""
    records = [r for r in read_results(root, "detection") if r.get("stage") == "photographs"]
    rows = [
        [
            r["protocol"], r["method"], f"{r['n']:,}", percent(r["identical"], r["n"]), percent(r["changed"], r["n"]), f"{r['lost']:.2f}",
            f"{r['mean_score']:.3f} ({r['worst_score']:.3f})", f"{r['mean_error']:.1f} ({r['worst_error']:.1f})",
        ]
        for r in records
    ]  # fmt: skip
    columns = ["Moved", "Network", "n", "Bit-identical sets %", "Other objects %", "Lost or new a move"]
    columns += ["Score changes by, mean (worst)", "Centre off by, mean (worst) px"]
    note = (
        "FastestDet, COCO weights, VOC photographs at 352 px, scores from 0.65; several moves of up to 31 pixels each way. Other objects: after some move one "
        "appeared, vanished or had another name. A window sees something new: nothing is promised there, and boxes in both views count."
    )
    return table(columns, rows, records, note)


def fastestdet_paired(root: Path) -> str:
    """The same, network against network, image by image."""
    records = [r for r in read_results(root, "detection") if r.get("stage") == "photographs, paired"]
    rows = [
        [
            r["protocol"], r["method"], r["against"], f"{r['n']:,}", f"{r['only_before']} : {r['only_after']}",
            difference(r["difference"], r["low"], r["high"]), p_value(r["p"]), p_value(r["p_holm"]),
        ]
        for r in records
    ]  # fmt: skip
    columns = [
        "Moved",
        "Method",
        "Against",
        "n",
        "In one only, against : method",
        "Difference, points",
        "p",
        "p (Holm)",
    ]
    note = (
        "Images with other objects after some move. McNemar's exact test; Holm's correction within each kind of move."
    )
    return table(columns, rows, records, note)


def architectures(root: Path) -> str:
    """torchvision's detectors, converted with random weights: are sets of detections bit-identical under shifts?"""
    records = read_results(root, "detectors")
    rows = [
        [
            r["model"], "yes" if r["converts"] else "no", f"{r['n']:,}", f"{r['found']:.1f}",
            *(percent(r[name], r["n"]) if r["converts"] else "–" for name in ("plain_identical", "identical")),
            f"{r['total_stride']}" if r["converts"] else r["reason"],
        ]
        for r in records
    ]  # fmt: skip
    columns = [
        "Detector",
        "Converts",
        "n",
        "Detections an image",
        "Bit-identical sets, plain %",
        "Bit-identical sets, converted %",
        "Total stride",
    ]
    note = "Random weights, small; n pairs of an image and a circular shift. Bit-identical: boxes, labels, scores, masks and keypoints, moved back by whole pixels."
    return table(columns, rows, records, note)
