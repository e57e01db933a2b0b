"""The tables of this study's benchmarks: training, blending for less, dense outputs, features before a LayerNorm."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from companion.core.markdown import difference, p_value, percent, table
from companion.core.published import read_results
from companion.core.records import Record
from companion.studies.stability.networks import PLAIN

TRAINING, CHEAPER, MASKS, WAYS = (f"stability_{name}" for name in ("training", "cheaper", "segmentation", "ways"))
MOBILENET, MOBILENET_BLENDED = "stability_training_mobilenet", "stability_training_mobilenet_blended"
_PAIRED = ["Method", "Against", "n", "In one only, against : method", "Difference", "p", "p (Holm)"]


def tuned_records(root: Path) -> list[Record]:
    """The small network as published and tuned, with noise and without."""
    return _stage(root, TRAINING, "tuned")


def tuned(root: Path) -> str:
    """The same as a table: accuracy, consistency, stability."""
    steps = next((r for r in _stage(root, TRAINING, "steps")), None)
    how = (
        ""
        if steps is None
        else f" Tuned: {steps['steps']} steps of SGD on training images, rate {steps['lr']:g}, batch statistics frozen."
    )
    about = f"noise of 2 grey levels, in training too where it says so.{how}"
    return _tuned(root, TRAINING, "The published ResNet-20 of CIFAR-10, {n:,} test images; " + about)


def tuned_mobilenet(root: Path, topic: str = MOBILENET) -> str:
    """MobileNetV2 as published and tuned, likewise."""
    about = "MobileNetV2, official weights; tuned as in notebook 07 on half of the images at hand, asked about the other half, "
    how = "{n:,} images; noise of 2 grey levels. p: McNemar's exact test of origins frozen against chosen anew, Holm's correction."
    return _tuned(root, topic, about + how)


def _tuned(root: Path, topic: str, note: str) -> str:
    records = _stage(root, topic, "tuned")
    rows = [
        [
            r["method"], percent(r["top1"], r["n"]), f"{r['consistency']:.1f}", percent(r["changed_by_noise"], r["n"]),
            _frozen(r), f"{r['mean_jump']:.2f}", f"{r['largest_jump']:.2f}",
        ]
        for r in records
    ]  # fmt: skip
    columns = [
        "Network",
        "Top-1 %",
        "Consistency, circular %",
        "Labels changed by noise %",
        "The same, origins frozen %",
    ]
    columns += ["Mean logit change, 1 grey level", "Largest"]
    return table(columns, rows, records, note.format(n=records[0]["n"] if records else 0))


def _frozen(record: Record) -> str:
    if "changed_when_frozen" not in record:
        return "–"
    tested = f" (p {p_value(record['frozen_p_holm'])})" if "frozen_p_holm" in record else ""
    return f"{record['changed_when_frozen']:.1f}{tested}"


def tuned_paired(root: Path) -> str:
    """What tuning, noise in it and blending do to the small network's stability, image by image."""
    return _tuned_paired(root, TRAINING)


def tuned_mobilenet_paired(root: Path, topic: str = MOBILENET) -> str:
    """The same of MobileNetV2."""
    return _tuned_paired(root, topic)


tuned_blended = partial(tuned_mobilenet, topic=MOBILENET_BLENDED)
tuned_blended_paired = partial(tuned_mobilenet_paired, topic=MOBILENET_BLENDED)


def _tuned_paired(root: Path, topic: str) -> str:
    records = _stage(root, topic, "changed by noise, paired")
    shares = {r["method"]: r["changed_by_noise"] for r in _stage(root, topic, "tuned")}
    note = "Labels changed by noise of 2 grey levels (in brackets, %). McNemar's exact test; Holm's correction for all rows."
    return table(_PAIRED, [_pair(r, shares) for r in records], records, note)


def cheaper(root: Path) -> str:
    """Settings of blending, tried on few images: what they cost and how far noise moves the logits."""
    records = _stage(root, CHEAPER, "tried")
    chosen = next((r["setting"] for r in _stage(root, CHEAPER, "main") if r.get("setting")), "")
    rows = [
        [
            f"**{r['method']}**" if r["method"] == chosen else r["method"], f"{r['mean_jump']:.3f}",
            percent(r["changed_by_noise"], r["n"]), f"{r['paths']:.1f}", f"{r['ratio']:.2f}",
        ]
        for r in records
    ]  # fmt: skip
    columns = [
        "Network",
        "Mean change of the logit that moves most",
        "Labels changed by noise %",
        "Paths",
        "Time / plain",
    ]
    n = records[0]["n"] if records else 0
    note = f"MobileNetV2, official weights, {n} images, noise of 2 grey levels. Bold: the steadiest within 3 times the plain time."
    return table(columns, rows, records, note)


def cheaper_paired(root: Path) -> str:
    """The setting that was chosen, on all other images."""
    records = _stage(root, CHEAPER, "changed by noise, paired") + _stage(root, CHEAPER, "top-1, paired")
    main = {r["method"]: r for r in _stage(root, CHEAPER, "main")}
    shares = {name: {method: r[name] for method, r in main.items()} for name in ("changed_by_noise", "top1")}
    rows = [
        [
            r["stage"].partition(",")[0],
            *_pair(r, shares["top1" if r["stage"].startswith("top-1") else "changed_by_noise"]),
        ]
        for r in records
    ]
    note = "MobileNetV2, official weights, images that no setting was tried on. McNemar's exact test; Holm's correction within each family."
    return table(["Labels, %", *_PAIRED], rows, records, note)


def masks(root: Path) -> str:
    """A segmentation network: which pixels change their label."""
    records = _stage(root, MASKS, "masks")
    base = next((r["milliseconds"] for r in records if r["method"] == PLAIN), 1.0)
    rows = [
        [
            r["method"], f"{r['pixels_right']:.1f}", f"{r['pixels_changed_by_noise']:.2f}", f"{r['pixels_changed_by_shift']:.2f}",
            percent(r["identical"], r["n"]), f"{r['paths']:.1f}", f"{r['milliseconds'] / base:.2f}",
        ]
        for r in records
    ]  # fmt: skip
    columns = [
        "Network",
        "Pixels right %",
        "Changed by noise %",
        "Changed by a shift %",
        "Bit-identical scores %",
        "Paths",
        "Time / plain",
    ]
    n, iterations = (records[0]["n"], records[0]["iterations"]) if records else (0, 0)
    note = (
        f"DeepLabV3+ on MobileNetV2, trained plain for {iterations} iterations on the part of VOC, {n} test images of 256 px, labelled "
        "pixels, means over images; noise of 2 grey levels, a circular shift undone."
    )
    return table(columns, rows, records, note)


def masks_paired(root: Path) -> str:
    """The same, image by image."""
    records = _stage(root, MASKS, "pixels changed by noise, paired") + _stage(root, MASKS, "pixels right, paired")
    rows = [
        [
            r["stage"].partition(",")[0], f"{r['method']} ({r['after']:.2f})", f"{r['against']} ({r['before']:.2f})", str(r["n"]),
            difference(r["difference"], r["low"], r["high"], 2), p_value(r["p"]), p_value(r["p_holm"]),
        ]
        for r in records
    ]  # fmt: skip
    columns = ["Pixels, %", "Method", "Against", "n", "Difference", "p", "p (Holm)"]
    note = "Means over images; Wilcoxon's signed-rank test on their shares of pixels; Holm's correction within each family."
    return table(columns, rows, records, note)


def before_the_norm(root: Path) -> str:
    """How near to a tie ConvNeXt's origins are, by the map that they are read off."""
    records = _stage(root, WAYS, "margins")
    rows = [[r["input"], f"{r['median']:.1e}", f"{r['within_float32']:.1f}"] for r in records]
    n = records[0]["n"] if records else 0
    note = f"ConvNeXt-T, random weights, {n} images, all origins but the first, which is read off the image."
    return table(["Origins read", "Median margin", "Within float32's rounding of a tie %"], rows, records, note)


def _stage(root: Path, topic: str, stage: str) -> list[Record]:
    return sorted((r for r in read_results(root, topic) if r.get("stage") == stage), key=lambda r: r.get("row", 0))


def _pair(r: Record, shares: dict[str, float]) -> list[str]:
    return [
        *(f"{r[name]} ({shares[r[name]]:.1f})" for name in ("method", "against")), f"{r['n']:,}",
        f"{r['only_before']} : {r['only_after']}", difference(r["difference"], r["low"], r["high"]),
        p_value(r["p"]), p_value(r["p_holm"]),
    ]  # fmt: skip
