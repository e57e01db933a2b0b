"""What an article on Zhang (2019) and the authors of BlurPool print, to stand beside our numbers and never among them."""

from __future__ import annotations

from typing import NamedTuple

FILTERS = ("none", "Rect-2", "Tri-3", "Bin-5")


class Printed(NamedTuple):
    """ImageNet, percent: top-1, and consistency under two crops of 224 from 256."""

    top1: float
    consistency: float


# The table of the official repository (adobe/antialiased-cnns), a row a filter.
IMAGENET = {
    "ResNet-18": (Printed(69.74, 85.11), Printed(71.39, 86.90), Printed(71.69, 87.51), Printed(71.38, 88.25)),
    "ResNet-50": (Printed(76.16, 89.20), Printed(76.81, 89.96), Printed(76.83, 90.91), Printed(77.04, 91.31)),
    "VGG16": (Printed(71.59, 88.52), Printed(72.15, 89.24), Printed(72.20, 89.60), Printed(72.33, 90.19)),
    "DenseNet-121": (Printed(74.43, 88.81), Printed(75.04, 89.53), Printed(75.14, 89.78), Printed(75.03, 90.39)),
    "MobileNetV2": (Printed(71.88, 86.50), Printed(72.63, 87.33), Printed(72.59, 87.46), Printed(72.50, 87.79)),
}

# The seed's own trial: an anti-aliased ResNet-18, fine-tuned on fewer than 4,000 grey images, test accuracy in percent.
TRIAL = {"plain": 95.865, "anti-aliased": 97.115}
