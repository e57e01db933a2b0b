"""The README's Table 3."""

from __future__ import annotations

from pathlib import Path

from companion.core.markdown import difference, p_value, percent, table, where
from companion.core.published import read_results
from companion.core.records import Record, is_study


def weight_transfer(root: Path) -> str:
    """The paper's Table 3: published weights in converted networks, without training."""
    records = _most_images([record for record in read_results(root, "weight_transfer") if not is_study(record)])
    columns = ["Network", "Method", "Images (n)", "Top-1 %", "Shifted top-1 %", "Consistency %"]
    rows = []
    for record in records:
        shares = (record[name] for name in ("top1", "shifted_top1", "consistency"))
        rows.append(
            [
                record["model"],
                record["method"],
                f"{record['dataset']} ({record['n']:,})",
                *(percent(share, record["n"]) for share in shares),
                where(record, records),
            ]
        )
    note = "In brackets: 95% confidence (Wilson) over the n images. The subset is easier than the validation set. The paper's sentences: notebook 13."
    return table([*columns, "Profile"], rows, records, note)


def loss(root: Path) -> str:
    """What conversion costs before training, image by image, on whole images and on cropped ones."""
    records = _largest(root, "top-1, paired")
    top1 = {(r["input"], r["method"]): r["top1"] for r in _largest(root, "view")}
    rows = [
        [
            *(r["input"], f"{r['method']} ({top1[r['input'], r['method']]:.1f})"),
            *(f"{r['against']} ({top1[r['input'], r['against']]:.1f})", f"{r['n']:,}"),
            *(f"{r['only_before']} : {r['only_after']}", *_difference(r)),
        ]
        for r in records
    ]
    columns = [
        "Images",
        "Method (top-1 %)",
        "Against (top-1 %)",
        "n",
        "Right in one only, against : method",
        "Difference",
    ]
    note = f"MobileNetV2, official weights, no training. {_TESTED}"
    return table([*columns, "p", "p (Holm)"], rows, records, note)


def noise(root: Path) -> str:
    """What changes labels under noise: borders, grids, origins that flip; and what the rule does about it."""
    arms = {r["method"]: r["changed_by_noise"] for r in _largest(root, "noise")}
    steps, rules = _largest(root, "noise, paired"), _largest(root, "rule")
    rows = [
        [
            f"{r['method']} ({arms[r['method']]:.1f})", f"{r['against']} ({arms[r['against']]:.1f})", f"{r['n']:,}",
            f"{r['only_before']} : {r['only_after']}", *_difference(r),
        ]
        for r in steps
    ]  # fmt: skip
    l2 = next((r["changed_by_noise"] for r in rules if r["rule"] == "l2"), 0)
    rows += [
        [
            f"MASS, rule {r['rule']} ({r['changed_by_noise']:.1f})", f"MASS, rule l2 ({l2:.1f})", f"{r['n']:,}",
            f"{r['only_before']} : {r['only_after']}", *_difference(r),
        ]
        for r in rules
        if r["rule"] != "l2"
    ]  # fmt: skip
    columns = ["Method (labels changed, %)", "Against", "n", "Changed in one only, against : method", "Difference"]
    note = f"Gaussian noise of 2 grey levels on the pixels, clipped; the same for all. {_TESTED} Arms and rules are two families."
    return table([*columns, "p", "p (Holm)"], rows, [*steps, *rules], note)


_TESTED = "Percentage points with 95% interval, McNemar's exact test, Holm's correction."


def _difference(r: Record) -> list[str]:
    return [difference(r["difference"], r["low"], r["high"]), p_value(r["p"]), p_value(r["p_holm"])]


def _largest(root: Path, stage: str) -> list[Record]:
    """The records of a stage on the most images."""
    records = [r for r in read_results(root, "weight_transfer") if r.get("stage") == stage]
    most = max((r["n"] for r in records), default=0)
    return [r for r in records if r["n"] == most]


def _most_images(records: list[Record]) -> list[Record]:
    """Of several runs of one network and method, that on the most images; the others stay in results/."""
    most: dict[tuple[str, str], Record] = {}
    for record in records:
        key = record["model"], record["method"]
        if key not in most or record["n"] > most[key]["n"]:
            most[key] = record
    return list(most.values())
