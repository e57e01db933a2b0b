"""What the pipeline and the README are told of a study without a notebook."""

from __future__ import annotations

from companion.core.study import Study

STUDY = Study(
    description="Exactness - all residues at full size, and images made to break it",
)
