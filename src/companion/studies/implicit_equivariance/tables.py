"""The README's table of implicit equivariance."""

from __future__ import annotations

from pathlib import Path

from companion.core.markdown import table, where
from companion.core.published import read_results
from companion.core.records import Record, is_study, mean_std


def implicit_equivariance(root: Path) -> str:
    """Trained networks, mean and standard deviation over seeds; quick's digits are left out where MNIST's are known."""
    records = [r for r in read_results(root, "implicit_equivariance") if not is_study(r)]
    records = [r for r in records if r["profile"] != "quick"] or records
    runs: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        runs.setdefault((record["dataset"], record["method"], record["profile"]), []).append(record)
    rows = [
        [
            *(dataset, method, f"{group[0]['parameters']:,}", str(len(group)), f"{group[0]['n']:,}"),
            *(mean_std([r[field] for r in group]) for field in ("top1", "worst_step")),
            mean_std([r[_last_error(r)] for r in group], 3),
            mean_std([r["consistency"] for r in group]),
            where(group[0], records),
        ]
        for (dataset, method, _), group in runs.items()
    ]
    columns = [
        "Data set",
        "Network",
        "Parameters",
        "Seeds",
        "Images",
        "Top-1 %",
        "Worst angle or scale %",
        "Error of the last layer",
    ]
    note = (
        "All networks of a data set see the same images and transformed copies; IEN adds the loss. Error: relative, under quarter turns "
        "(or scalings), of the last layer's pooled groups. Consistency: one label under two circular shifts. Which differences are real: notebook 10."
    )
    return table([*columns, "Consistency (shifts) %", "Profile"], rows, records, note)


def _last_error(record: Record) -> str:
    kind = "error_scale_" if "error_scale_1" in record else "error_quarter_"
    return max((name for name in record if name.startswith(kind)), key=lambda name: int(name.rpartition("_")[2]))
