"""What the pipeline and the README are told of notebook 06."""

from __future__ import annotations

from dataclasses import dataclass

from companion.core.study import Settings, Study
from companion.studies.weight_transfer.tables import loss, moves, noise, weight_transfer


@dataclass(frozen=True)
class WeightTransfer(Settings):
    """Published weights in converted networks, without training."""

    size: int
    images: int  # how many of the ImageNet images at hand
    moved: int  # how many of these are moved in other ways than circularly
    batch: int
    noise: float  # standard deviation, in grey levels


STUDY = Study(
    notebook="06_weight_transfer",
    description="ImageNet weight transfer - Table 3, on the images at hand",
    settings=WeightTransfer,
    inputs=(
        "data/imagenet-val",
        "data/imagenet-val-1300",
        "data/mobilenet_v2/mobilenet_v2-b0353104.pth",
    ),
    remark="A set of images holds a manifest once `make repro MIRROR=...` has found it, and nothing before: either way it exists.",
    tables={"weight_transfer": weight_transfer, "loss": loss, "noise": noise, "moves": moves},
)
