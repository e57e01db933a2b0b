"""What notebook 09's drawing cells take from its measuring ones, read from published records; and the table of claims."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from companion.core.published import read_results
from companion.core.records import Record
from companion.models.methods import METHODS
from companion.studies.antialiasing.claims import Claim, cifar10_runs, further_seeds, of_the_seed

FILTERED = ("baseline-zero", "blur2", "blur", "blur5")  # zero padding, behind filters of every size
CIRCULAR = ("baseline", "lpf3", "baseline-shifts", "aps", "mass", "mass-lpf3")  # what stands beside them
MOVED = "antialiased_cifar10"  # the topic of companion.studies.antialiasing.benchmarks.filters
AGREEMENT = "agreement:"  # begins the names of what its records say of moves


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


def beside_filters(records: Sequence[Record]) -> list[Record]:
    """Of `cifar10_runs` those with a filter of every size, and what they are compared with, method by method."""
    chosen = [METHODS[method].printed for method in (*FILTERED, *CIRCULAR)]
    return sorted((r for r in records if r["method"] in chosen), key=lambda r: chosen.index(r["method"]))


def filters_moved(root: Path) -> pd.DataFrame:
    """ResNet-20 on CIFAR-10 with filters of every size: percentages of labels that agree, a column a way to move; means over seeds."""
    frame = pd.DataFrame(read_results(root, MOVED))
    ways = [name for name in frame if name.startswith(AGREEMENT)]
    by_method = frame.groupby("method")
    table = by_method[["top1", *ways]].mean().assign(seeds=by_method["seed"].nunique())
    by_size = [METHODS[method].printed for method in FILTERED]
    return table.reindex(by_size).rename(columns=lambda name: name.removeprefix(AGREEMENT).strip())


def claims(records: Sequence[Record], root: Path) -> list[Claim]:
    """The seed's claims against one profile's records, and notebooks 05's and 11's published runs."""
    made = names(records)
    runs = [*made["records"], *further_seeds(root, made["records"])]
    return of_the_seed(runs, cifar10_runs(root), made["found"], made["stable"], made["relative"])
