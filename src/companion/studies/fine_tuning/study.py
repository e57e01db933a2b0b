"""What the pipeline and the README are told of notebook 07."""

from __future__ import annotations

from dataclasses import dataclass

from companion.core.study import Settings, Study
from companion.studies.fine_tuning.tables import fine_tuning, recovered


@dataclass(frozen=True)
class FineTuning(Settings):
    """Converted networks, fine-tuned and asked about images that they were not tuned on."""

    size: int
    images: int  # how many of the ImageNet images at hand
    folds: int
    tuned: int  # how many images a fold's networks are tuned on, of those in the other folds
    epochs: int
    batch: int
    lr: float
    noise: float  # standard deviation, in grey levels


STUDY = Study(
    notebook="07_fine_tuning",
    description="Fine-tuning - Table 4, and its sibling on the images at hand",
    settings=FineTuning,
    inputs=("data/imagenet-val", "data/imagenet-val-1300", "data/mobilenet_v2/mobilenet_v2-b0353104.pth"),
    remark="A set of images holds a manifest once `make repro MIRROR=...` has found it, and nothing before: either way it exists.",
    keeps_checkpoints=True,
    tables={"fine_tuning": fine_tuning, "recovered": recovered},
)
