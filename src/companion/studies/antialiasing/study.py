"""What the pipeline and the README are told of notebook 09."""

from __future__ import annotations

from dataclasses import dataclass

from companion.core.study import Settings, Study
from companion.studies.antialiasing.published import MOVED
from companion.studies.antialiasing.tables import antialiasing


@dataclass(frozen=True)
class AntiAliasing(Settings):
    """Filters where networks sample, beside MASS."""

    size: int  # of the images whose features are compared
    nets: tuple[str, ...]  # keys of companion.studies.antialiasing.distance.LAYERS
    residues: int  # shifts along each axis: 0, …, residues - 1
    restored: str  # images that are restored: photographs, or voc-subset
    restored_images: int
    restorer_steps: int
    dataset: str  # of the networks that are trained, or fine-tuned
    net: str
    start: str  # their first weights: a file; or '' for random ones
    methods: tuple[str, ...]  # keys of companion.models.methods.METHODS
    seeds: int
    epochs: int
    batch: int
    lr: float
    probed: int  # test images that are moved and corrupted
    severities: tuple[int, ...]  # of corruptions
    reach: int  # by how many pixels at most zeros move in


STUDY = Study(
    notebook="09_antialiasing",
    description="Anti-aliased networks (Zhang, 2019) - alone, under MASS, and beside it",
    settings=AntiAliasing,
    inputs=("data/mobilenet_v2/mobilenet_v2-b0353104.pth",),
    remark=(
        "Not the solar cells, CIFAR-10's networks and VOC, which quick does without; results/cifar10.json is read as published, "
        "which is no dependency."
    ),
    keeps_checkpoints=True,
    benchmarks=("antialiased", MOVED),
    tables={"antialiasing": antialiasing},
)
