"""What the pipeline and the README are told of notebook 12."""

from __future__ import annotations

from dataclasses import dataclass

from companion.core.study import Settings, Study
from companion.studies.cost.tables import speed, training


@dataclass(frozen=True)
class Cost(Settings):
    """What exactness costs."""

    networks: tuple[str, ...]
    size: int
    batch: int
    rounds: int  # of which each time is the median
    sides: tuple[int, ...]  # of square maps, as cost grows
    batches: tuple[int, ...]
    strides: tuple[int, ...]


STUDY = Study(
    notebook="12_cost",
    description="Cost - bytes counted and times measured, before and after each change, and how both grow",
    settings=Cost,
    benchmarks=(
        "speed",
        "training",
    ),
    tables={"speed": speed, "training": training},
)
