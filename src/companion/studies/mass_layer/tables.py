"""The README's table of exactness."""

from __future__ import annotations

from pathlib import Path

from companion.core.markdown import table, where
from companion.core.published import read_results


def exactness(root: Path) -> str:
    """Notebook 02: the share of shifts that change a logit by more than rounding, by method and dtype, over all images."""
    records = [record for record in read_results(root, "mass_layer") if "another_grid" in record]
    dtypes = list(dict.fromkeys(record["dtype"] for record in records))
    cells: dict[tuple[str, ...], dict[str, tuple[float, int]]] = {}
    for record in records:
        row = cells.setdefault((record["model"], record["method"], where(record, records)), {})
        share, n = row.get(record["dtype"], (0.0, 0))
        more = record["shifts"]
        row[record["dtype"]] = ((share * n + record["another_grid"] * more) / (n + more), n + more)
    rows = [
        [model, method, *(f"{row[d][0]:.1f} (n = {row[d][1]})" if d in row else "–" for d in dtypes), where]
        for (model, method, where), row in cells.items()
    ]
    # No interval: the shifts of one image are no independent draws.
    note = "Percent of n circular shifts, over all images of notebook 02."
    return table(["Network (random weights)", "Method", *dtypes, "Profile"], rows, records, note)
