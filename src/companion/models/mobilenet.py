"""torchvision's MobileNetV2 as a network to be trained: its ImageNet weights but for the head, which learns other classes."""

from __future__ import annotations

from collections.abc import Callable

import torchvision
from torch import Tensor, nn

from companion.core.errors import Refusal
from companion.models.antialias import antialias
from companion.models.loading import load_into

_HEAD = "classifier.1."


def _mobilenet_v2(classes: int) -> Callable[..., nn.Module]:
    def make(filtering: str | None = None, place: str = "after", weights: dict[str, Tensor] | None = None) -> nn.Module:
        if place != "after":
            raise Refusal("In MobileNetV2 a filter follows the convolution that had the stride.")
        model = torchvision.models.mobilenet_v2(num_classes=classes)
        if weights is not None:  # of a network of such classes, or of others: then the head is new
            own = {key: value for key, value in model.state_dict().items() if key.startswith(_HEAD)}
            same = all(key in weights and weights[key].shape == value.shape for key, value in own.items())
            load_into(model, weights if same else weights | own, "torchvision's MobileNetV2")
        return antialias(model, filtering) if filtering else model

    return make


MOBILENETS = {"mobilenet_v2-2-classes": _mobilenet_v2(2)}
