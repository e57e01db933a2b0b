"""DeepLabV3+ (Chen et al., 2018) on small encoders with published ImageNet weights: section 5.2 of the paper.

The decoder is segmentation-models-pytorch's, of 256 channels over an encoder of output stride 16. The paper trains that of
another implementation (VainF), whose atrous convolutions are not separable; its momentum of 0.01 for the encoder's
BatchNorm is taken over. Borders are zero-padded here; `companion.models.methods` makes them wrap.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from companion.core.errors import Refusal
from companion.models.antialias import antialias
from companion.models.loading import load_into


def _deeplab(encoder: str, classes: int) -> Callable[..., nn.Module]:
    """A maker of DeepLabV3+: (filtering, place, weights of the encoder or None)."""

    def make(filtering: str | None = None, place: str = "after", weights: dict[str, Tensor] | None = None) -> nn.Module:
        import segmentation_models_pytorch as smp  # not on a machine that classifies

        if filtering is not None and place != "after":
            raise Refusal(f"DeepLabV3+ has its filters behind the convolutions, not {place!r} them.")
        model = smp.DeepLabV3Plus(encoder, encoder_weights=None, encoder_output_stride=16, classes=classes)
        if weights is not None:
            load_into(model.encoder, dict(weights), f"the encoder {encoder}")
        for module in model.encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.01
        if filtering is not None:
            antialias(model.encoder, filtering)
        return model

    return make


SEGMENTERS = {
    "deeplabv3plus-resnet18": _deeplab("resnet18", 21),
    "deeplabv3plus-mobilenet_v2": _deeplab("mobilenet_v2", 21),
    "deeplabv3plus-scenes": _deeplab("mobilenet_v2", 11),  # for the quick profile: ten digits and what is behind them
}
