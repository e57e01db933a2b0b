"""Networks with published weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from companion.core.errors import Refusal
from companion.core.files import sha256
from companion.core.paths import find_root
from companion.fetching.catalogue import FILES, Source
from companion.models.detectors.fastestdet import FastestDet


def mobilenet_v2() -> nn.Module:
    """torchvision's MobileNetV2 with its official ImageNet weights, in eval mode."""
    return _published("mobilenet_v2")


def resnet18() -> nn.Module:
    """torchvision's ResNet-18 with its official ImageNet weights, in eval mode."""
    return _published("resnet18")


def fastestdet() -> nn.Module:
    """FastestDet with its authors' weights, trained on COCO, in eval mode; images are blue, green, red in [0, 1]."""
    return _published("fastestdet")


def is_fetched(name: str) -> bool:
    """Whether the file of that name in the catalogue is there."""
    return _place(name)[1].exists()


def _place(name: str) -> tuple[Source, Path]:
    (source,) = (source for source in FILES if source.name == name)
    return source, find_root() / "data" / source.name / source.file


def _published(name: str) -> nn.Module:
    source, path = _place(name)
    if not path.exists():
        command = (
            "run `make repro`, or python -m companion.fetch" if source.required else f"run `make fetch DATA={name}`"
        )
        raise Refusal(f"{source.file} has not been fetched: {command}.")
    model: nn.Module = FastestDet() if name == "fastestdet" else torchvision.models.get_model(name)
    if sha256(path) != source.sha256:  # also ahead of unpickling: what is not the published file is not read
        place = path.relative_to(find_root())
        raise Refusal(
            f"{place} is damaged or another file (its hash is wrong): remove it, then python -m companion.fetch."
        )
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.eval()


def efficientnet_lite0(weights: Mapping[str, Tensor]) -> nn.Module:
    """timm's EfficientNet-Lite0 with TensorFlow's weights as ML Illustrated names them, in eval mode.

    Both list the same tensors in the same order. Images are normalised by a mean and a deviation of 0.5.

    Raises:
        Refusal: for another network's weights.
    """
    import timm  # not on a bare GPU machine

    model = timm.create_model("tf_efficientnet_lite0")
    ours = model.state_dict()
    shapes = [[tuple(tensor.shape) for tensor in tensors.values()] for tensors in (weights, ours)]
    if shapes[0] != shapes[1]:
        raise Refusal(
            f"These are not the weights of efficientnet_lite0: {len(weights)} tensors, of other shapes than its {len(ours)}."
        )
    model.load_state_dict(dict(zip(ours, weights.values(), strict=True)))
    return model.eval()


def imagenet_classes() -> list[str]:
    """The names of the 1,000 classes, in the order of the logits."""
    return list(torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"])
