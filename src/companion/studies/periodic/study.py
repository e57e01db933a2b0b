"""What the pipeline and the README are told of notebook 11."""

from __future__ import annotations

from dataclasses import dataclass

from companion.core.study import Settings, Study
from companion.studies.periodic.tables import worst_cases, worst_cases_paired


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
    fractions: bool  # whether networks are also trained within a pixel of the camera's place
    noise: float  # grey levels
    whole: int  # side of the image that networks trained on tiles are run on
    weighed: tuple[int, ...]  # sides of the images whose memory is measured
    solar_epochs: int  # on solar cells, from nothing; 0: not run
    solar_seeds: int
    solar_few: tuple[int, ...]  # training images
    tuned_epochs: int  # on solar cells, from published weights; 0: not run
    tuned_methods: tuple[str, ...]
    tuned_seeds: int
    tuned_few: tuple[int, ...]  # training images
    tuned_few_epochs: int  # of as many steps as with all images
    tuned_few_seeds: int
    cut_methods: tuple[str, ...]  # on solar cells of 288 x 288 pixels, from published weights
    cut_epochs: int  # 0: not run
    cut_seeds: int
    tuned_probed: int  # test images that are asked about at all 1,024 residues
    tuned_probed_seeds: int  # of how many seeds' networks
    pair_epochs: int  # on circuit boards; 0: not run
    pair_seeds: int


STUDY = Study(
    notebook="11_periodic",
    description="Periodic structures with defects - what a detector makes of a camera that is out of its place",
    settings=Periodic,
    remark=(
        "Not data/elpv, data/deeppcb and data/mobilenet_v2, which quick does without: they are the published files or refused."
    ),
    keeps_checkpoints=True,
    tables={"worst_cases": worst_cases, "worst_cases_paired": worst_cases_paired},
)
