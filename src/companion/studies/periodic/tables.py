"""The README's table of notebook 11."""

from __future__ import annotations

from pathlib import Path
from statistics import mean

from companion.core.markdown import percent, table, where
from companion.core.published import read_results
from companion.core.records import Record

_SHARES = ("top1", "shifted_top1", "worst_top1", "steady")
_SETS = {"periodic": "generated vias", "solar-cells-64": "solar cells"}


def worst_cases(root: Path) -> str:
    """Accuracy in place, on average and in the worst case of all residues, by method and data set."""
    found = [r for r in read_results(root, "periodic") if r.get("stage") == "worst case"]
    records = [r for r in found if r["profile"] != "quick"] or found  # quick only where nothing larger was run
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for r in records:
        groups.setdefault((r["profile"], r["dataset"], r["method"]), []).append(r)
    rows = []
    for group in groups.values():
        first = group[0]
        shares = [percent(mean(r[name] for r in group), first["n"]) for name in _SHARES]
        about = [_SETS.get(first["dataset"], first["dataset"]), first["method"], str(first["epochs"])]
        rows.append([*about, str(len(group)), f"{first['n']:,}", *shares, where(first, records)])
    columns = ["Images", "Method", "Epochs", "Seeds", "n", "In place %", "Mean of residues %", "Worst residue %"]
    columns += ["One label at all residues %", "Profile"]
    note = (
        "Trained with the camera in its place; then asked at all 64 residues of the total stride 8. Worst residue: images that are right at "
        "every one. Means over seeds; in brackets 95% confidence (Wilson) over n images. With zero padding 64 shifts are not all there are."
    )
    return table(columns, rows, records, note)
