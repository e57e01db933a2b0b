"""The README's Table 5."""

from __future__ import annotations

from pathlib import Path

from companion.core.markdown import table, where
from companion.core.published import read_results
from companion.core.records import Record, mean_std
from companion.paper import verdicts

_TABLE_5 = {"mascc_paper": 4, "mascc_lps": 4, "identical": 2}  # fields, and their digits


def segmentation(root: Path) -> str:
    """The paper's Table 5: trained segmenters, mean and standard deviation over seeds."""
    records = [r for r in read_results(root, "segmentation") if r["dataset"] != "scenes"]
    runs: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        key = (record["model"], record["method"], record["dataset"], f"{record['iterations']:,}")
        runs.setdefault((*key, record["profile"]), []).append(record)
    rows = [
        [
            *(*key, str(len(group)), f"{group[0]['n']:,}"),
            *(mean_std([r[field] for r in group], digits) for field, digits in _TABLE_5.items()),
            where(group[0], records),
            segmentation_verdict(group),
        ]
        for (*key, _), group in runs.items()
    ]
    columns = ["Network", "Method", "Data set", "Iterations", "Seeds", "Images", "mASCC % (eq. 5)"]
    note = (
        "Shifts of eq. 5: two, anywhere in the image; up to 32: five, by LPS's protocol but on images and sizes of ours. Bit-identical: "
        "images whose scores moved along exactly. About 30% of an image is padding of the mean colour, on which labels agree easily: "
        "mASCC is flattered by it, the last column is not. So briefly trained, no network segments well enough (mIoU 9 to 15%, in "
        "results/) to be compared by accuracy. The paper trains 30,000 iterations on 10,582 images; the numbers of its Table 5 are lost."
    )
    return table([*columns, "mASCC % (shifts up to 32)", "Bit-identical %", "Profile", "Verdict"], rows, records, note)


def segmentation_verdict(records: list[Record]) -> str:
    """Whether a row of Table 5 bears out 'perfect shift equivariance'."""
    at_scale = records[0]["profile"] == "paper"
    if records[0]["method"] != "MASS":
        return "–"
    return verdicts.on_promise(min(r["mascc_paper"] for r in records) == 100, at_scale)
