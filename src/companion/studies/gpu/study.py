"""What the README is told of the measurements and trainings on a GPU: a study without a notebook."""

from __future__ import annotations

from companion.core.study import Study
from companion.studies.gpu.tables import exactness, settings

STUDY = Study(
    description="A GPU - exactness, speed and Table 2 at the paper's scale, in pieces of minutes",
    tables={"gpu": exactness, "gpu_exact": settings},
)
