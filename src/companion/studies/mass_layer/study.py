"""What the pipeline and the README are told of notebook 02."""

from __future__ import annotations

from dataclasses import dataclass

from companion.core.study import Settings, Study
from companion.studies.mass_layer.tables import exactness


@dataclass(frozen=True)
class MassLayer(Settings):
    """One layer."""

    size: int
    shifts: int


STUDY = Study(
    notebook="02_mass_layer",
    description="The MASS layer - Figures 1 and 2 from computation",
    settings=MassLayer,
    tables={"exactness": exactness},
)
