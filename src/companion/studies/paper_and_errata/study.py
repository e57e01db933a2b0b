"""What the pipeline and the README are told of notebook 13."""

from __future__ import annotations

from dataclasses import dataclass

from companion.core.study import Settings, Study
from companion.studies.paper_and_errata.summary import summary


@dataclass(frozen=True)
class PaperAndErrata(Settings):
    """The paper's tables and figures beside ours."""


STUDY = Study(
    notebook="13_paper_and_errata",
    description="The paper's tables and figures beside ours, and its errata",
    settings=PaperAndErrata,
    tables={"summary": summary},
    remark="Reads results/ and figures/ as they are published, which is no dependency: `make publish` writes both after the stages.",
)
