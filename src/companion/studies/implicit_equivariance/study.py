"""What the pipeline and the README are told of notebook 10."""

from __future__ import annotations

from dataclasses import dataclass

from companion.core.study import Settings, Study
from companion.studies.implicit_equivariance.tables import implicit_equivariance


@dataclass(frozen=True)
class Implicit(Settings):
    """Networks with and without the equivariance loss, steerable ones, and MASS."""

    rotated: str  # data sets
    reflected: str
    scaled: str
    net: str  # networks, keys of companion.models.methods.NETS
    centred: str  # that is converted: its maps have the image's centre
    small: str  # of as many parameters as the steerable one
    steerable: str
    mixed: str
    eighths: str
    arms: tuple[str, ...]  # keys of companion.studies.implicit_equivariance.arms.ARMS
    seeds: int
    more: tuple[str, ...]  # arms that get more seeds, to be told apart
    more_seeds: int
    epochs: int
    batch: int
    beta: float
    rounds: int  # of timing
    certified: int  # test images
    tracking_width: int  # of the trackers' first layer
    tracking_steps: int
    tracking_sequences: int  # to train on; as many to test
    tracking_frames: int
    tracking_seeds: int


STUDY = Study(
    notebook="10_implicit_equivariance",
    description="Implicit equivariance - Khetan et al. (2021), a loss instead of a basis, and the same over MASS",
    settings=Implicit,
    remark="Not MNIST, which quick does without: it is the official files or refused.",
    keeps_checkpoints=True,
    tables={"implicit_equivariance": implicit_equivariance},
)
