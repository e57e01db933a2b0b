"""The README's Table 3."""

from __future__ import annotations

from pathlib import Path

from companion.core.markdown import percent, table, where
from companion.core.published import read_results
from companion.core.records import Record, is_study
from companion.paper import verdicts
from companion.paper.printed import VALIDATION_SET

# What the paper's text still says of its Table 3, whose body is lost. Only the first can be checked row by row.
_STATEMENTS = {"MASS": "100% consistency", "APS": "transfer 'significantly' worse"}


def weight_transfer(root: Path) -> str:
    """The paper's Table 3: published weights in converted networks, without training."""
    records = _most_images([record for record in read_results(root, "weight_transfer") if not is_study(record)])
    columns = ["Network", "Method", "Images (n)", "Top-1 %", "Shifted top-1 %", "Consistency %", "Changed by noise %"]
    rows = []
    for record in records:
        shares = (record[name] for name in ("top1", "shifted_top1", "consistency", "changed_by_noise"))
        rows.append(
            [
                record["model"],
                record["method"],
                f"{record['dataset']} ({record['n']:,})",
                *(percent(share, record["n"]) for share in shares),
                where(record, records),
                _STATEMENTS.get(record["method"], "–"),
                transfer_verdict(record),
            ]
        )
    note = "In brackets: 95% confidence (Wilson) over the n images. The subset is easier than the validation set."
    return table([*columns, "Profile", "The paper states", "Verdict"], rows, records, note)


def _most_images(records: list[Record]) -> list[Record]:
    """Of several runs of one network and method, that on the most images; the others stay in results/."""
    most: dict[tuple[str, str], Record] = {}
    for record in records:
        key = record["model"], record["method"]
        if key not in most or record["n"] > most[key]["n"]:
            most[key] = record
    return list(most.values())


def transfer_verdict(record: Record) -> str:
    """Whether a row of Table 3 bears the paper out."""
    at_scale = record["profile"] == "paper" and record["n"] >= VALIDATION_SET
    if record["method"] != "MASS":
        return verdicts.without_number(at_scale)
    return verdicts.on_promise(record["consistency"] == 100, at_scale)
