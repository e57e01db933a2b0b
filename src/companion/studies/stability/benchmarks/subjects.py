"""The two networks that are asked, and their images, in the batches that notebook 15 and its benchmarks have published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from companion.core.paths import find_root
from companion.data.images import labelled_images
from companion.data.normalisation import normalize
from companion.data.published.cifar10 import cifar10
from companion.models.cifar_resnets import CIFAR_NETS
from companion.models.pretrained import mobilenet_v2
from companion.studies.stability.networks import BLENDED, objections, paths_of, versions
from companion.training.checkpoint import load_weights

SHARE, PATHS = 0.005, 8
RESNET20, WEIGHTS = "resnet20a", "data/resnet20/resnet20-12fca82f.th"


@dataclass(frozen=True)
class Subject:
    """A network with published weights, and labelled images in [0, 1]."""

    model: str
    plain: nn.Module
    images: Dataset[tuple[Tensor, Tensor]]
    dataset: str
    size: int
    batch: int

    @property
    def measured(self) -> dict[str, object]:
        """What a record says of it."""
        return {"model": self.model, "dataset": self.dataset, "size": self.size}

    def part(self, first: int, last: int) -> Subset[tuple[Tensor, Tensor]]:
        """Some of its images, fewer where it has fewer."""
        count = len(self.images)  # type: ignore[arg-type]
        return Subset(self.images, range(min(first, count), min(last, count)))

    def batches(self, count: int) -> DataLoader[tuple[Tensor, Tensor]]:
        """The first images."""
        return DataLoader(self.part(0, count), self.batch)

    def example(self, count: int) -> Tensor:
        """The first images in one normalised batch, (count, 3, size, size)."""
        images: Tensor = next(iter(DataLoader(self.part(0, count), count)))[0]
        return normalize(images)

    def versions(self) -> dict[str, nn.Module]:
        """The four of the main comparison."""
        return versions(self.plain, self.example(1), SHARE, PATHS)

    def ways(self) -> dict[str, nn.Module]:
        """All ways to be exact, or continuous, or both."""
        four, x = self.versions(), self.example(self.batch)
        members = max(2, round(paths_of(four[BLENDED], x)))
        return four | objections(four, x[:1], SHARE, members, seed=0)


def small() -> Subject:
    """The published ResNet-20 of CIFAR-10 (option A), and that data set's test images."""
    root = find_root()
    test = cifar10(root).test
    plain = CIFAR_NETS[RESNET20](weights=load_weights(root / WEIGHTS)).eval()
    images: Any = TensorDataset(test.images.float() / 255, test.labels)
    return Subject(RESNET20, plain, images, "cifar10", 32, 50)


def mobilenet() -> Subject:
    """MobileNetV2 with official weights, and the images of ImageNet at hand."""
    images, dataset = labelled_images(1300, 224)
    return Subject("mobilenet_v2", mobilenet_v2(), images, dataset, 224, 5)


SUBJECTS = {"mobilenet_v2": mobilenet, RESNET20: small}
