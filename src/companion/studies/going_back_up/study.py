"""What the pipeline and the README are told of notebook 04."""

from __future__ import annotations

from dataclasses import dataclass

from companion.core.study import Settings, Study
from companion.studies.going_back_up.tables import decoders


@dataclass(frozen=True)
class GoingUp(Settings):
    """Decoders."""

    height: int
    width: int
    shifts: int
    architectures: tuple[str, ...]  # of segmentation-models-pytorch
    encoder: str


STUDY = Study(
    notebook="04_going_back_up",
    description="Going back up - Figure 4, every upsampling, decoders, and what symmetry forbids",
    settings=GoingUp,
    benchmarks=("decoders",),
    tables={"decoders": decoders},
)
