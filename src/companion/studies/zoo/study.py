"""What the pipeline and the README are told of a study without a notebook."""

from __future__ import annotations

from companion.core.study import Study
from companion.studies.zoo.page import PLACE, zoo_page
from companion.studies.zoo.tables import libraries, zoo

STUDY = Study(
    description="The zoo - which networks in use convert, and are then exactly equivariant",
    benchmarks=("zoo", "libraries"),
    tables={"zoo": zoo, "libraries": libraries},
    pages={PLACE: zoo_page},
)
