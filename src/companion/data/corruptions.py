"""Common corruptions of images, by torchvision and Pillow: does a network keep its answers off its training set?

They are ours in kind and strength, not those of CIFAR-10-C, and are not to be compared with numbers measured there.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as transform


def jpeg(image: Tensor, quality: int) -> Tensor:
    """(3, H, W), compressed and read again; torchvision's own coder is on its way out."""
    file = io.BytesIO()
    transform.to_pil_image(image).save(file, "JPEG", quality=quality)
    return transform.pil_to_tensor(Image.open(file))


CORRUPTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda images: images,
    "noise": lambda images: transform.gaussian_noise(images, sigma=0.08),
    "blur": lambda images: transform.gaussian_blur(images, [5, 5], [1.0, 1.0]),
    "JPEG": lambda images: torch.stack([jpeg(image, 20) for image in images]),
    "dark": lambda images: transform.adjust_brightness(images, 0.4),
    "low contrast": lambda images: transform.adjust_contrast(images, 0.35),
}


def corrupt(images: Tensor, name: str, seed: int = 0) -> Tensor:
    """Bytes (N, C, H, W) -> bytes, the same for the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if name == "noise":  # torchvision draws noise for floats alone
            return v2.functional.to_dtype(CORRUPTIONS[name](images.float() / 255).clamp(0, 1), torch.uint8, scale=True)
        return CORRUPTIONS[name](images)
