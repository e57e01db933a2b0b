"""Networks for tests and measurements: torchvision's architectures, with random weights in a realistic regime."""

from __future__ import annotations

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from companion.data.generated.hard_images import centred_photograph

# The smallest members of torchvision's convolutional families.
FAMILIES = (
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "densenet121",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "convnext_tiny",
    "efficientnet_b0",
    "regnet_x_400mf",
    "regnet_y_400mf",
    "shufflenet_v2_x0_5",
)


def calibrated(name: str, seed: int = 0, size: int = 96) -> nn.Module:
    """A torchvision classifier with random weights, its BatchNorm statistics taken from photographs; in eval mode.

    Without calibration a random network's activations vanish or explode with depth, and a moved origin can hide.
    """
    torch.manual_seed(seed)
    return calibrate(torchvision.models.get_model(name, weights=None), (size, size))


def calibrate(model: nn.Module, size: tuple[int, int] = (96, 96), examples: Tensor | None = None) -> nn.Module:
    """Give every BatchNorm of a network random weights and the statistics of photographs, or of `examples`; eval mode."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            module.momentum = None  # a plain average over the batches seen
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    if examples is None:
        photos = torch.cat([centred_photograph(*size, which) for which in (0, 1)])
        examples = torch.cat((photos, photos.flip(3), photos.roll(size[0] // 3, 2), photos * 0.5))
    with torch.no_grad():
        model.train()(examples)
    return model.eval()


def vary_constants(model: nn.Module) -> nn.Module:
    """The network, in which nothing is constant that was made so: layer scales of 1e-6 and zeroed branches would hide much."""
    with torch.no_grad():
        for p in model.parameters():
            if p.numel() > 1 and p.is_floating_point() and bool((p == p.flatten()[0]).all()):
                p.add_(torch.randn_like(p), alpha=0.2)
    return model


class M5(nn.Module):
    """M5, a classifier of waveforms (Dai et al., 2017, "Very deep convolutional neural networks for raw waveforms").

    With the stride of 16 of PyTorch's speech command tutorial, for 35 words at 8 kHz. Shape: (B, 1, L) -> (B, 35).
    """

    def __init__(self, classes: int = 35) -> None:
        super().__init__()
        widths = (1, 32, 32, 64, 64)
        self.convs = nn.ModuleList(
            nn.Conv1d(widths[k], widths[k + 1], *((80, 16) if k == 0 else (3,))) for k in range(4)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in widths[1:])
        self.head = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.max_pool1d(F.relu(norm(conv(x))), 4)
        return self.head(F.avg_pool1d(x, x.shape[-1]).flatten(1))


ARCHITECTURES = (
    "Unet",
    "UnetPlusPlus",
    "MAnet",
    "Linknet",
    "FPN",
    "PSPNet",
    "PAN",
    "DeepLabV3",
    "DeepLabV3Plus",
    "UPerNet",
    "Segformer",
    "DPT",
)  # of segmentation-models-pytorch

TORCHVISION_SEGMENTERS = ("fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large")

# The smallest members of families that segmentation-models-pytorch offers as encoders; DPT takes only transformers.
ENCODERS = (
    "resnet18",
    "resnet50",
    "mobilenet_v2",
    "efficientnet-b0",
    "densenet121",
    "vgg11_bn",
    "tu-convnext_atto",
    "tu-regnety_002",
    "mit_b0",
)


def segmenter(
    architecture: str, encoder: str, size: tuple[int, int], output_stride: int | None = None, seed: int = 0
) -> nn.Module:
    """A segmentation network of 5 classes with random weights, BatchNorm calibrated on photographs of this size.

    Args:
        architecture: one of `ARCHITECTURES` or `TORCHVISION_SEGMENTERS` (whose encoder is in their name).
        encoder: a name that segmentation-models-pytorch knows; of a `tu-vit…`, DPT takes images of any size.
        output_stride: of DeepLab's and PAN's encoders, 8, 16 or 32.
    """
    torch.manual_seed(seed)
    if architecture in TORCHVISION_SEGMENTERS:
        model = torchvision.models.get_model(architecture, weights=None, weights_backbone=None, num_classes=5)
        return calibrate(model, size)
    import segmentation_models_pytorch as smp

    options: dict = {"encoder_weights": None, "classes": 5}
    if output_stride is not None:
        options["encoder_output_stride"] = output_stride
    if architecture == "DPT":
        options["dynamic_img_size"] = True
    return calibrate(getattr(smp, architecture)(encoder_name=encoder, **options), size)
