"""The networks of Table 3, each with every generation of its published weights, and the methods they are asked in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torchvision.transforms import v2

import mass
from companion.core.errors import Refusal
from companion.core.files import sha256
from companion.data.normalisation import MEAN, STD
from companion.models.loading import load_into
from companion.models.pretrained import efficientnet_lite0
from companion.training.checkpoint import load_weights
from mass.baselines.aps import convert_to_aps

TABLE_3 = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "densenet121", "densenet161", "densenet169", "densenet201",
    "mobilenet_v2", "convnext_tiny", "convnext_small", "convnext_base", "convnext_large",
)  # fmt: skip

METHODS: dict[str, Callable[[nn.Module, Tensor], nn.Module]] = {
    "plain": lambda model, example: model,
    "circular padding": lambda model, example: mass.convert(model, example, origin="zero"),
    "MASS": mass.convert,
    "APS": convert_to_aps,
}


@dataclass(frozen=True)
class Row:
    """One network with one set of weights.

    Attributes:
        model: its name in torchvision, or timm's.
        weights: which of its published ones.
        file: their name, in which the hash begins; where it lies is data/<model>/ or torch.hub's cache.
        url: of that file; '' where only a package has it.
        mean, std: by which it expects images in [0, 1] to be normalised.
        given: where other weights of it are, fine-tuned ones say; their hash is not known.
    """

    model: str
    weights: str
    file: str
    url: str = ""
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    given: Path | None = None

    def normalize(self, images: Tensor) -> Tensor:
        return v2.functional.normalize(images, list(self.mean), list(self.std))

    def place(self, root: Path) -> Path | None:
        """Where its weights are, if they are at hand."""
        if self.given is not None:
            return self.given if self.given.exists() else None
        places = root / "data" / self.model / self.file, Path(torch.hub.get_dir()) / "checkpoints" / self.file
        return next((path for path in places if path.exists()), None)

    def load(self, root: Path) -> nn.Module:
        """The plain network, in eval mode.

        Raises:
            Refusal: when its weights are not at hand, are not the published file, or another network's.
        """
        path = self.place(root)
        if path is None:
            raise Refusal(
                f"{self.model} was not run: {self.file} is neither in data/{self.model}/ nor in torch.hub's cache."
            )
        known = "" if self.given is not None else Path(self.file).stem.rpartition("-")[2]
        if not sha256(path).startswith(known):
            raise Refusal(f"{path} is damaged or another file: its hash does not begin with {known}.")
        if self.model == "efficientnet_lite0":
            return efficientnet_lite0(load_weights(path))
        model = torchvision.models.get_model(self.model)
        load_into(model, load_weights(path), f"{self.model}, {self.weights}")
        return model.eval()


def _official(model: str) -> list[Row]:
    return [
        Row(model, weights.name, Path(weights.url).name, weights.url, MEAN, STD)
        for weights in torchvision.models.get_model_weights(model)
    ]


ROWS = (
    *(row for model in TABLE_3 for row in _official(model)),
    # TensorFlow's, as converted by ML Illustrated; not in the paper's table.
    Row(
        "efficientnet_lite0", "TensorFlow", "efficientnet-lite0-57934424.pth", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    ),
)
