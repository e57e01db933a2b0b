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
    columns = ["Images", "Method (top-1 %)", "Against (top-1 %)", "n", "Right in one only, against : method"]
    note = f"MobileNetV2, official weights, no training. {_TESTED} Squashed and cropped images are a family each."
    return _by_input(records, top1, columns, note)


def noise(root: Path) -> str:
    """What changes labels under noise: borders, grids, origins that flip; and what the rule does about it."""
    arms = {r["method"]: r["changed_by_noise"] for r in _largest(root, "noise")}
    steps, rules = _largest(root, "noise, paired"), _largest(root, "rule")
    rows = [_compared(r, *(arms[r[side]] for side in _SIDES)) for r in steps]
    l2 = next((r["changed_by_noise"] for r in rules if r["rule"] == "l2"), 0)
    rows += [
        _compared(r | {"method": f"MASS, rule {r['rule']}", "against": "MASS, rule l2"}, r["changed_by_noise"], l2)
        for r in rules
        if r["rule"] != "l2"
    ]
    columns = ["Method (labels changed, %)", "Against", "n", "Changed in one only, against : method", "Difference"]
    note = f"Gaussian noise of 2 grey levels on the pixels, clipped; the same for all. {_TESTED} Arms and rules are two families."
    return table([*columns, "p", "p (Holm)"], rows, [*steps, *rules], note)


def moves(root: Path) -> str:
    """Whose labels agree more often under moves that are no circular shift by whole pixels, image by image."""
    records = _largest(root, "move, paired")
    agree = {(r["input"], r["method"]): r["agreement"] for r in _largest(root, "move")}
    columns = ["Two views", "Method (labels agree, %)", "Against", "n", "Agree in one only, against : method"]
    note = f"MobileNetV2, official weights; both methods see the same views. {_TESTED} One family."
    return _by_input(records, agree, columns, note)


def _by_input(records: list[Record], shares: dict[tuple[str, str], float], columns: list[str], note: str) -> str:
    """Paired tests as a table, what was asked about in front; shares by that and the method."""
    rows = [[r["input"], *_compared(r, *(shares[r["input"], r[side]] for side in _SIDES))] for r in records]
    return table([*columns, "Difference", "p", "p (Holm)"], rows, records, note)


_TESTED = "Percentage points with 95% interval, McNemar's exact test, Holm's correction."


_SIDES = ("method", "against")


def _compared(r: Record, share: float, other: float) -> list[str]:
    """A paired test's cells: both sides with their shares in percent, n, the images on which they differ, and what follows."""
    sides = [f"{r['method']} ({share:.1f})", f"{r['against']} ({other:.1f})"]
    found = [difference(r["difference"], r["low"], r["high"]), p_value(r["p"]), p_value(r["p_holm"])]
    return [*sides, f"{r['n']:,}", f"{r['only_before']} : {r['only_after']}", *found]


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
