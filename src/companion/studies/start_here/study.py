"""What the pipeline and the README are told of notebook 00."""

from __future__ import annotations

from dataclasses import dataclass

from companion.core.study import Settings, Study


@dataclass(frozen=True)
class StartHere(Settings):
    """One network, one image moved around."""

    size: int  # side of the images, in pixels
    shifts: int  # random circular shifts tried


STUDY = Study(
    notebook="00_start_here",
    description="Start here - a pretrained network becomes exactly shift-invariant in one call",
    settings=StartHere,
    inputs=("data/mobilenet_v2/mobilenet_v2-b0353104.pth",),
)
