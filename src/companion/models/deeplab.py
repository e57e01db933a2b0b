"""DeepLabV3+ (Chen et al., 2018) on small encoders with published ImageNet weights: section 5.2 of the paper.

Two heads, of 256 channels over an encoder of output stride 16. The paper's is that of VainF's implementation, whose atrous
convolutions are whole; segmentation-models-pytorch's has separable ones, a quarter of the work. VainF's momentum of 0.01 for the
encoder's BatchNorm is taken for both. Borders are zero-padded here; `companion.models.methods` makes them wrap.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from companion.core.errors import Refusal
from companion.models.antialias import antialias
from companion.models.loading import load_into

STRIDE = 16  # of the encoder's output


class VainFDeepLab(nn.Module):
    """DeepLabV3+ with the head of VainF's DeepLabV3Plus-Pytorch: (B, 3, H, W) -> (B, classes, H, W), H and W multiples of 16.

    Atrous convolutions of rates 6, 12 and 18, a 1 x 1 convolution and the image's mean, joined; 48 channels of the encoder's map at
    stride 4 beside them; a 3 x 3 convolution; logits, enlarged bilinearly. (VainF's own ResNets begin at 50 layers; a ResNet-18
    has 64 and 512 channels where they have 256 and 2048.)

    Args:
        encoder: one of segmentation-models-pytorch's; classes: of a pixel.

    >>> VainFDeepLab("resnet18", 21).eval()(torch.zeros(1, 3, 64, 96)).shape
    torch.Size([1, 21, 64, 96])
    """

    def __init__(self, encoder: str, classes: int) -> None:
        super().__init__()
        from segmentation_models_pytorch.encoders import get_encoder  # not on a machine that classifies
        from torchvision.models.segmentation.deeplabv3 import ASPP

        self.encoder = get_encoder(encoder, weights=None, output_stride=STRIDE)
        *_, near, _, _, far = self.encoder.out_channels  # at strides 4, 8, 16 and again 16
        self.aspp = ASPP(far, [6, 12, 18])
        self.aspp.project[-1] = nn.Dropout(0.1)
        self.project = nn.Sequential(nn.Conv2d(near, 48, 1, bias=False), nn.BatchNorm2d(48), nn.ReLU(inplace=True))
        self.classifier = nn.Sequential(
            nn.Conv2d(256 + 48, 256, 3, padding=1, bias=False),
            nn.BatchNorm2d(256),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, classes, 1),
        )
        for head in (self.aspp, self.project, self.classifier):
            for module in head.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        *_, near, _, _, far = self.encoder(x)
        near = self.project(near)
        far = F.interpolate(self.aspp(far), size=near.shape[2:], mode="bilinear", align_corners=False)
        logits = self.classifier(torch.cat([near, far], 1))
        return F.interpolate(logits, size=x.shape[2:], mode="bilinear", align_corners=False)


def _smp(encoder: str, classes: int) -> nn.Module:
    import segmentation_models_pytorch as smp  # not on a machine that classifies

    return smp.DeepLabV3Plus(encoder, encoder_weights=None, encoder_output_stride=STRIDE, classes=classes)


def _deeplab(head: Callable[[str, int], nn.Module], encoder: str, classes: int) -> Callable[..., nn.Module]:
    """A maker of DeepLabV3+: (filtering, place, weights of the encoder or None)."""

    def make(filtering: str | None = None, place: str = "after", weights: dict[str, Tensor] | None = None) -> nn.Module:
        if filtering is not None and place != "after":
            raise Refusal(f"DeepLabV3+ has its filters behind the convolutions, not {place!r} them.")
        model = head(encoder, classes)
        encoding = model.get_submodule("encoder")
        if weights is not None:
            load_into(encoding, dict(weights), f"the encoder {encoder}")
        for module in encoding.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.01
        if filtering is not None:
            antialias(encoding, filtering)
        return model

    return make


SEGMENTERS = {
    "deeplabv3plus-vainf-resnet18": _deeplab(VainFDeepLab, "resnet18", 21),
    "deeplabv3plus-resnet18": _deeplab(_smp, "resnet18", 21),
    "deeplabv3plus-mobilenet_v2": _deeplab(_smp, "mobilenet_v2", 21),
    "deeplabv3plus-scenes": _deeplab(
        _smp, "mobilenet_v2", 11
    ),  # for the quick profile: ten digits and what is behind them
}
