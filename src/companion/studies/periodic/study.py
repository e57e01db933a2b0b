"""What the pipeline and the README are told of notebook 11."""

from __future__ import annotations

from dataclasses import dataclass

from companion.core.study import Settings, Study
from companion.studies.periodic.tables import worst_cases


@dataclass(frozen=True)
class Periodic(Settings):
    """Detectors of defects, trained with the camera in its place and asked with it elsewhere."""

    methods: tuple[str, ...]  # keys of companion.models.methods.METHODS
    compared: tuple[str, ...]  # those of the smaller questions
    seeds: int
    epochs: int
    lengths: tuple[int, ...]  # epochs, of the cost of augmentation
    few: tuple[int, ...]  # training images
    cells: tuple[int, ...]  # along a side, of the question of the pitch
    probed: int  # test images
    misregistrations: tuple[float, ...]  # in pixels
    noise: float  # grey levels
    whole: int  # side of the image that tiles are taken from
    cell_epochs: int  # on solar cells; 0: not run
    pair_epochs: int  # on circuit boards; 0: not run


STUDY = Study(
    notebook="11_periodic",
    description="Periodic structures with defects - what a detector makes of a camera that is out of its place",
    settings=Periodic,
    remark="Not data/elpv and data/deeppcb, which quick does without: both are the published files or refused.",
    keeps_checkpoints=True,
    tables={"worst_cases": worst_cases},
)
