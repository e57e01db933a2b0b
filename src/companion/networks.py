"""Networks for tests and measurements: torchvision's architectures, with random weights in a realistic regime."""

from __future__ import annotations

import torch
import torchvision
from torch import nn

from .awkward import photograph

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


def calibrate(model: nn.Module, size: tuple[int, int] = (96, 96)) -> nn.Module:
    """Give every BatchNorm of a network that takes images random weights and the statistics of photographs; eval mode."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # a plain average over the batches seen
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    photos = torch.cat([photograph(*size, which) for which in (0, 1)])
    photos = torch.cat((photos, photos.flip(3), photos.roll(size[0] // 3, 2), photos * 0.5))
    with torch.no_grad():
        model.train()(photos)
    return model.eval()


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
