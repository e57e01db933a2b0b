"""The README's tables of notebook 14."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from statistics import mean

from companion.core.markdown import difference, p_value, percent, table, where
from companion.core.published import read_results
from companion.core.records import Record, mean_std

Columns = dict[str, Callable[[Record], str]]  # by its head, what a cell of it says of a record
_SETS = {
    "deeppcb-boards": "circuit boards",
    "deeppcb-boards-640": "circuit boards, full size",
    "periodic-boxes": "generated vias",
    "voc-subset": "VOC",
    "imagenet-val-1300": "ImageNet",
}


def detectors(root: Path) -> str:
    """AP of trained detectors: unmoved, on average, and between the worst and the best choice of shifts."""
    records = [r for r in read_results(root, "detection") if r.get("stage") == "precision"]
    all_images: dict[tuple[str, ...], list[float]] = {}
    for r in read_results(root, "detection"):
        if r.get("stage") == "tested":
            all_images.setdefault((r["profile"], r["dataset"], r["method"]), []).append(r["ap33"])
    groups: dict[tuple[str, ...], list[Record]] = {}
    for r in records:
        groups.setdefault((r["profile"], r["dataset"], r["protocol"], r["method"]), []).append(r)
    rows = []
    for group in groups.values():
        first = group[0]
        shares = [mean_std([r[name] for r in group], 1) for name in ("ap", "mean_ap", "worst_ap", "best_ap")]
        same = percent(mean(r["identical"] for r in group), first["n"]) if "identical" in first else "–"
        error = f"{max(r['worst_error'] for r in group):.1f}" if "worst_error" in first else "–"
        whole = all_images.get((first["profile"], first["dataset"], first["method"]), [])
        unmoved = mean_std(whole, 1) if whole and first["protocol"] == "circular" else "–"
        about = [_SETS[first["dataset"]], first["protocol"], first["method"], str(len(group)), f"{first['n']:,}"]
        rows.append([*about, unmoved, *shares, same, error, where(first, records)])
    columns = [
        "Images",
        "Moved",
        "Method",
        "Seeds",
        "n",
        "AP, all images %",
        "AP unmoved %",
        "Mean AP %",
        "Worst AP %",
        "Best AP %",
    ]
    columns += ["Bit-identical sets %", "Worst centre error, px", "Profile"]
    note = (
        "AP at IoU > 0.33 (DeepPCB's), mean over kinds; of all images: unmoved, of the whole test set; the others of its first n images. Worst and best: a greedy search over shifts, image by image (after Manfredi & Wang, "
        "2020). Means and standard deviations over seeds. Bit-identical: images whose set of detections moved along under all shifts."
    )
    return table(columns, rows, records, note)


def detectors_paired(root: Path) -> str:
    """The same, method against method, seed by seed."""
    columns: Columns = {
        "AP": lambda r: {"ap33": "unmoved, all test images", "worst_ap": "worst"}[r["input"]],
        "Method": lambda r: r["method"],
        "Against": lambda r: r["against"],
        "Seeds": lambda r: str(r["n"]),
        "Difference, points": lambda r: difference(r["difference"], r.get("low", math.nan), r.get("high", math.nan)),
        "p": lambda r: p_value(r.get("p", math.nan)),  # none where all seeds differ alike
        "p (Holm)": lambda r: p_value(r.get("p_holm", math.nan)),
    }
    note = "Circular shifts. Differences seed by seed, Student's interval; all rows are one family."
    return _of_stage(root, "precision, paired", columns, note)


def masks(root: Path) -> str:
    """A small Mask R-CNN over shifts: how well masks overlap, and how many of their pixels stay."""
    columns: Columns = {
        "Network": lambda r: r["method"],
        "n": lambda r: f"{r['n']:,}",
        "IoU of masks, unmoved %": lambda r: f"{r['iou']:.1f}",
        "at worst %": lambda r: f"{r['worst_iou']:.1f}",
        "AP unmoved %": lambda r: f"{r['ap']:.1f}",
        "Worst AP %": lambda r: f"{r['worst_ap']:.1f}",
        "Best AP %": lambda r: f"{r['best_ap']:.1f}",
        "Pixels of masks that stay %": lambda r: f"{r['pixels']:.1f}",
        "Bit-identical sets %": lambda r: percent(r["identical"], r["n"]),
        "Profile": lambda r: r["profile"],
    }
    note = (
        "A Mask R-CNN of torchvision's, small, trained here on generated vias; shifts that cut no defect. IoU: of each defect with the best mask of its kind, mean "
        "over defects; at worst: each image at its worst shift. AP of masks at IoU 0.5. Pixels: of those in a mask before or after a shift. Bit-identical: boxes, labels, scores and masks."
    )
    return _of_stage(root, "masks", columns, note)


def fastestdet(root: Path) -> str:
    """FastestDet's published weights: how often detections change when a photograph moves."""
    columns: Columns = {
        "Images": lambda r: _SETS[r["dataset"]],
        "Moved": lambda r: r["protocol"],
        "Network": lambda r: r["method"],
        "n": lambda r: f"{r['n']:,}",
        "Bit-identical sets %": lambda r: percent(r["identical"], r["n"]),
        "Other objects %": lambda r: percent(r["changed"], r["n"]),
        "Lost or new a move": lambda r: f"{r['lost']:.2f}",
        "Score changes by, mean (worst)": lambda r: f"{r['mean_score']:.3f} ({r['worst_score']:.3f})",
        "Centre off by, mean (worst) px": lambda r: f"{r['mean_error']:.1f} ({r['worst_error']:.1f})",
    }
    note = (
        "FastestDet, COCO weights, photographs of VOC, and of ImageNet enlarged from 224 px, at 352 px, scores from 0.65; several moves of up to 31 pixels each way. Other objects: after some move one "
        "appeared, vanished or had another name. A window sees something new: nothing is promised there, and boxes in both views count."
    )
    return _of_stage(root, "photographs", columns, note)


def fastestdet_paired(root: Path) -> str:
    """The same, network against network, image by image."""
    columns: Columns = {
        "Images": lambda r: _SETS[r["dataset"]],
        "Moved": lambda r: r["protocol"],
        "Method": lambda r: r["method"],
        "Against": lambda r: r["against"],
        "n": lambda r: f"{r['n']:,}",
        "In one only, against : method": lambda r: f"{r['only_before']} : {r['only_after']}",
        "Difference, points": lambda r: difference(r["difference"], r["low"], r["high"]),
        "p": lambda r: p_value(r["p"]),
        "p (Holm)": lambda r: p_value(r["p_holm"]),
    }
    note = "Images with other objects after some move. McNemar's exact test; Holm's correction within each set and kind of move."
    return _of_stage(root, "photographs, paired", columns, note)


def architectures(root: Path) -> str:
    """torchvision's detectors, converted with random weights: are sets of detections bit-identical under shifts?"""
    columns: Columns = {
        "Detector": lambda r: r["model"],
        "Converts": lambda r: "yes" if r["converts"] else f"no: {r['reason']}",
        "Image, px": lambda r: str(r["size"]),
        "n": lambda r: f"{r['n']:,}",
        "Detections an image": lambda r: f"{r['found']:.1f}",
        "Bit-identical sets, plain %": lambda r: percent(r["plain_identical"], r["n"]),
        "converted %": lambda r: percent(r["identical"], r["n"]) if "identical" in r else "–",
        "converted, float64 %": lambda r: percent(r["identical_float64"], r["n"]) if "identical_float64" in r else "–",
        "Time, of plain": lambda r: f"{r['time_ratio']:.2f}" if "time_ratio" in r else "–",
        "Total stride": lambda r: r.get("total_stride", "–"),
    }
    note = (
        "Random weights, small; n pairs of an image and a circular shift. Bit-identical: boxes, labels, scores, masks and keypoints, moved back by whole pixels. "
        "Time: CPU time of a forward pass, the median of five that took turns with the plain detector's."
    )
    return _drawn(read_results(root, "detectors"), columns, note)


def _of_stage(root: Path, stage: str, columns: Columns, note: str) -> str:
    return _drawn([r for r in read_results(root, "detection") if r.get("stage") == stage], columns, note)


def _drawn(records: list[Record], columns: Columns, note: str) -> str:
    return table(list(columns), [[cell(r) for cell in columns.values()] for r in records], records, note)
