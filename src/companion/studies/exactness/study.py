"""The slow searches for what breaks exactness; they have no notebook."""

from __future__ import annotations

from companion.core.study import Study

STUDY = Study(
    description="Exactness - all residues at full size, and images made to break it",
)
