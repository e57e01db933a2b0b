"""The tables of notebook 15, and of the same comparison for a small network."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from companion.core.markdown import p_value, percent, table
from companion.core.published import read_results
from companion.core.records import Record
from companion.studies.stability.networks import BLENDED, CIRCULAR, MASS, PLAIN

MOBILENET = "MobileNetV2, official weights"
RESNET20 = "The published ResNet-20 of CIFAR-10"


def stability(root: Path, topic: str = "stability", network: str = MOBILENET) -> str:
    """Every way to be exact or continuous, on the same images; time and memory are the benchmark's (benchmarks.ways)."""
    order = {name: place for place, name in enumerate((PLAIN, CIRCULAR, MASS, BLENDED))}
    records = sorted(_most(root, topic, "ways"), key=lambda r: order.get(r["method"], len(order)))
    alike = {(r["model"], r["n"]) for r in records}
    further = read_results(root, "stability_ways")
    records += [r for r in further if r["stage"] == "ways" and (r["model"], r["n"]) in alike]
    models = {model for model, _ in alike}
    costs = {r["method"]: r for r in further if r["stage"] == "cost" and r["model"] in models}
    rows = [
        [
            r["method"], percent(r["top1"], r["n"]), *(f"{r[name]:.1f}" for name in ("shifted_top1", "consistency", "ordinary_consistency")),
            percent(r["changed_by_noise"], r["n"]), f"{r['largest_jump']:.2f}", *_cost(r["method"], costs),
        ]
        for r in records
    ]  # fmt: skip
    n = records[0]["n"] if records else 0
    columns = ["Network", "Top-1 %", "Shifted top-1 %", "Consistency, circular %", "Consistency, ordinary %"]
    columns += [
        "Labels changed by noise %",
        "Largest logit change, 1 grey level",
        "Paths",
        "Time / plain",
        "Memory / plain",
    ]
    batch = next((r["batch"] for r in costs.values()), 0)
    note = (
        f"{network}, {n:,} images, the same changes for all; noise of 2 grey levels. Paths, time and peak memory of a batch "
        f"of {batch} images, all in turns in one run."
    )
    return table(columns, rows, records + list(costs.values()), note)


def _cost(method: str, costs: Mapping[str, Record]) -> list[str]:
    """Paths, time and memory, the latter beside the plain network's."""
    if method not in costs or PLAIN not in costs:
        return ["–"] * 3
    own, base = costs[method], costs[PLAIN]
    return [f"{own['paths']:.1f}", *(f"{own[name] / base[name]:.2f}" for name in ("milliseconds", "megabytes"))]


def blending(root: Path, topic: str = "stability", network: str = MOBILENET, which: str = "paired") -> str:
    """Blending against choosing, image by image; with `which` "ways paired" the other ways."""
    values = {f"changed by noise, {which}": "changed_by_noise", f"top-1, {which}": "top1"}
    records = [record for kind in values for record in _most(root, topic, kind)]
    found = {
        (r["method"], r["n"]): r
        for stage in ("ways", "main")
        for r in read_results(root, topic)
        if r.get("stage") == stage
    }
    rows = [
        [
            r["stage"].partition(",")[0],
            *(f"{r[name]} ({found[r[name], r['n']][values[r['stage']]]:.1f})" for name in ("method", "against")),
            f"{r['n']:,}", f"{r['only_before']} : {r['only_after']}",
            f"{r['difference']:+.1f} ({r['low']:+.1f} to {r['high']:+.1f})", p_value(r["p"]), p_value(r["p_holm"]),
        ]
        for r in records
    ]  # fmt: skip
    columns = ["Labels, %", "Method", "Against", "n", "In one only, against : method", "Difference", "p", "p (Holm)"]
    note = f"{network}; noise of 2 grey levels. McNemar's exact test; Holm's correction within each family."
    return table(columns, rows, records, note)


ways_paired = partial(blending, which="ways paired")
stability_cifar10 = partial(stability, topic="stability_cifar10", network=RESNET20)
blending_cifar10 = partial(blending, topic="stability_cifar10", network=RESNET20)


def _most(root: Path, topic: str, stage: str) -> list[Record]:
    records = [r for r in read_results(root, topic) if r.get("stage") == stage]
    most = max((r["n"] for r in records), default=0)
    return [r for r in records if r["n"] == most]
