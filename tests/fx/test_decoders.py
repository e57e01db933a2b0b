"""Whole decoders: convert(m)(shift(x)) == shift(convert(m)(x)), bit for bit, for segmentation networks in use.

All architectures of segmentation-models-pytorch and torchvision, small encoders of different families; the full table is
companion.studies.going_back_up.benchmarks.decoders. BatchNorm is calibrated on photographs: without it activations vanish, and so does the test.
"""

import pytest
import torch

import mass
from companion.data.generated.hard_images import centred_photograph
from companion.models.random_weights import TORCHVISION_SEGMENTERS, segmenter

SMALL = (64, 96)
CASES = {  # architecture, encoder, size, output stride of the encoder
    "Unet": ("Unet", "resnet18", SMALL, None),
    "UnetPlusPlus": ("UnetPlusPlus", "resnet18", SMALL, None),
    "MAnet": ("MAnet", "resnet18", SMALL, None),
    "Linknet": ("Linknet", "resnet18", SMALL, None),
    "FPN": ("FPN", "resnet18", SMALL, None),
    "PSPNet": ("PSPNet", "resnet18", (48, 96), None),
    "PAN": ("PAN", "resnet18", (128, 256), 16),
    "DeepLabV3 / 8": ("DeepLabV3", "resnet18", SMALL, 8),
    "DeepLabV3Plus / 16": ("DeepLabV3Plus", "resnet18", SMALL, 16),
    "UPerNet": ("UPerNet", "mobilenet_v2", (192, 384), None),
    "Segformer": ("Segformer", "mit_b0", SMALL, None),
    "DPT": ("DPT", "tu-vit_tiny_patch16_224", SMALL, None),
    "efficientnet": ("FPN", "efficientnet-b0", SMALL, None),
    "densenet": ("Linknet", "densenet121", SMALL, None),
    "mobilenet": ("DeepLabV3Plus", "mobilenet_v2", SMALL, 16),
    "vgg": ("Unet", "vgg11_bn", SMALL, None),
    "convnext": ("Unet", "tu-convnext_atto", SMALL, None),
    "regnet": ("Unet", "tu-regnety_002", SMALL, None),
}


def certified(architecture, encoder, size, output_stride):
    x = centred_photograph(*size)
    converted = mass.convert(segmenter(architecture, encoder, size, output_stride), x)
    generator = torch.Generator().manual_seed(0)
    shifts = [tuple(int(torch.randint(n, (), generator=generator)) for n in size) for _ in range(3)]
    for dtype in (torch.float32, torch.bfloat16):
        certificate = mass.certify(converted.to(dtype), x.to(dtype), shifts)
        assert certificate.identical.all(), (dtype, certificate)
    return converted.float(), x


@pytest.mark.parametrize("name", CASES)
def test_segmentation_models(name):
    pytest.importorskip("segmentation_models_pytorch")
    certified(*CASES[name])


@pytest.mark.parametrize("name", TORCHVISION_SEGMENTERS)
def test_torchvision(name):
    converted, x = certified(name, "", (32, 64) if name == "fcn_resnet50" else SMALL, None)
    assert set(converted(x)) >= {"out"}


def test_other_sizes_and_a_batch():
    """Sizes that reach arguments are symbols."""
    pytest.importorskip("segmentation_models_pytorch")
    converted, _ = certified("Unet", "resnet18", (32, 64), None)
    x = torch.cat([centred_photograph(96, 64), centred_photograph(96, 64, 1)])
    assert converted(x).shape == (2, 5, 96, 64)
    assert mass.certify(converted, x, 2).identical.all()
    with pytest.raises(ValueError, match="not a multiple of the total stride"):
        converted(torch.randn(1, 3, 50, 64))


def test_symmetric_images():
    """An image with a symmetry that is no multiple of the stride: equal up to it, and equal when symmetrised."""
    smp = pytest.importorskip("segmentation_models_pytorch")
    x = centred_photograph(24, 24).repeat(1, 1, 4, 4)  # period 24, total stride 32
    model = segmenter("Linknet", "resnet18", (96, 96))
    assert isinstance(model, smp.Linknet)
    certificate = mass.certify(mass.convert(model, x), x, [(3, 5), (8, 16), (24, 40)])
    assert certificate, certificate
    certificate = mass.certify(mass.convert(model, x, symmetrise=True), x, [(3, 5), (8, 16), (24, 40)])
    assert certificate.identical.all(), certificate


@pytest.mark.parametrize(
    ("architecture", "size", "message"),
    [
        ("PSPNet", SMALL, "windows of unequal size; an input of 96 x 96 would do"),
        ("UPerNet", SMALL, "windows of unequal size; an input of 192 x 192 would do"),
    ],
)
def test_refusals_name_sizes_that_would_do(architecture, size, message):
    pytest.importorskip("segmentation_models_pytorch")
    with pytest.raises(mass.NotEquivariantError, match=message):
        mass.convert(segmenter(architecture, "resnet18", size), centred_photograph(*size))
