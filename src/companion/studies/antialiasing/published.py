"""What notebook 09's drawing cells take from its measuring ones, read from published records; and the table of claims."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from companion.core.records import Record
from companion.studies.antialiasing.claims import Claim, cifar10_runs, further_seeds, of_the_seed


def names(records: Sequence[Record]) -> dict[str, Any]:
    """By the names that the notebook gives them; of grids of feature distances their means are left."""
    ordered = sorted(records, key=lambda record: record["row"])
    stages: dict[str, list[Record]] = {}
    for record in ordered:
        stages.setdefault(record.get("stage", "run" if "epochs" in record else ""), []).append(record)
    found: dict[str, dict[tuple[str, str], Any]] = {}
    for record in stages.get("feature distance", []):
        found.setdefault(record["model"], {})[record["method"], record["layer"]] = torch.tensor(record["mean"])
    return {
        "records": stages.get("run", []),
        "found": found,
        "stable": {record["method"]: record["stability"] for record in stages.get("generation", [])},
        "agree": stages.get("moved", []),
        "wrong": stages.get("corrupted", []),
        "relative": stages.get("mean corruption error", []),
    }


def claims(records: Sequence[Record], root: Path) -> list[Claim]:
    """The seed's claims against one profile's records, and notebooks 05's and 11's published runs."""
    made = names(records)
    runs = [*made["records"], *further_seeds(root, made["records"])]
    return of_the_seed(runs, cifar10_runs(root), made["found"], made["stable"], made["relative"])
