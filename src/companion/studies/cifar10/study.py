"""What the pipeline and the README are told of notebook 05."""

from __future__ import annotations

from dataclasses import dataclass

from companion.core.study import Settings, Study
from companion.studies.cifar10.tables import against_aps, cifar10, cifar10_paper, transfer


@dataclass(frozen=True)
class Cifar10(Settings):
    """Networks trained with every method of Table 2."""

    dataset: str
    nets: tuple[str, ...]
    methods: tuple[str, ...]  # keys of companion.models.methods.METHODS
    seeds: int  # runs of each
    compared: tuple[str, ...]  # methods that get more runs, to be told apart
    compared_seeds: int
    epochs: int
    batch: int
    precision: str
    jobs: int  # runs at once
    probed: int  # test images of the studies of corruptions and noise
    noises: tuple[float, ...]  # standard deviations, in grey levels
    trained_net: str  # whose weights are transferred: a net, and a file
    trained_weights: str
    finetune_epochs: int
    finetune_lr: float


STUDY = Study(
    notebook="05_cifar10",
    description="CIFAR-10 - Table 2, what is real in it, and the trained ResNet-20 transferred",
    settings=Cifar10,
    remark="Not CIFAR-10 and the published weights, which quick does without: both are the official files or refused.",
    keeps_checkpoints=True,
    tables={"cifar10": cifar10, "cifar10_paper": cifar10_paper, "against_aps": against_aps, "transfer": transfer},
)
