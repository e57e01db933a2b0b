"""What the pipeline and the README are told of notebook 15."""

from __future__ import annotations

from dataclasses import dataclass

from companion.core.study import Settings, Study
from companion.studies.stability.bench_tables import (
    CHEAPER,
    MASKS,
    MOBILENET,
    MOBILENET_BLENDED,
    TRAINING,
    WAYS,
    before_the_norm,
    cheaper,
    cheaper_paired,
    masks,
    masks_paired,
    tuned,
    tuned_blended,
    tuned_blended_paired,
    tuned_mobilenet,
    tuned_mobilenet_paired,
    tuned_paired,
)
from companion.studies.stability.tables import blending, blending_cifar10, stability, stability_cifar10, ways_paired


@dataclass(frozen=True)
class Stability(Settings):
    """Blending beside choosing, and beside other ways to be exact."""

    size: int
    images: int  # of those at hand
    batch: int
    share: float  # how far behind the best a blended phase may lie
    paths: int
    steps: int  # on the line through a tie


STUDY = Study(
    notebook="15_stability",
    description="Exact and stable - blending over near ties, and the other ways to be exact",
    settings=Stability,
    inputs=("data/imagenet-val", "data/imagenet-val-1300", "data/mobilenet_v2/mobilenet_v2-b0353104.pth"),
    benchmarks=("stability_cifar10", TRAINING, MOBILENET, MOBILENET_BLENDED, CHEAPER, MASKS, WAYS),
    tables={
        "stability": stability,
        "blending": blending,
        "ways_paired": ways_paired,
        "stability_cifar10": stability_cifar10,
        "blending_cifar10": blending_cifar10,
        "stability_tuned": tuned,
        "stability_tuned_paired": tuned_paired,
        "stability_tuned_mobilenet": tuned_mobilenet,
        "stability_tuned_mobilenet_paired": tuned_mobilenet_paired,
        "stability_tuned_blended": tuned_blended,
        "stability_tuned_blended_paired": tuned_blended_paired,
        "stability_cheaper": cheaper,
        "stability_cheaper_paired": cheaper_paired,
        "stability_masks": masks,
        "stability_masks_paired": masks_paired,
        "stability_before_the_norm": before_the_norm,
    },
)
