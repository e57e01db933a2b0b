"""What the pipeline and the README are told of notebook 03."""

from __future__ import annotations

from dataclasses import dataclass

from companion.core.study import Settings, Study


@dataclass(frozen=True)
class Lattices(Settings):
    """Whole networks."""

    size: int
    shifts: int
    certified: int  # images under all residues
    certified_size: int
    images: int  # whose margins are read
    batch: int


STUDY = Study(
    notebook="03_lattices",
    description="Whole networks - lattices, Figure 3 and Table 1",
    settings=Lattices,
    inputs=(
        "data/imagenet-val-1300",
        "data/mobilenet_v2/mobilenet_v2-b0353104.pth",
    ),
    remark="A set of images holds a manifest once `make repro MIRROR=...` has found it, and nothing before: either way it exists.",
)
