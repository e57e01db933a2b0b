"""The fifteen common corruptions of images, at five severities (after Hendrycks & Dietterich, 2019), by torch and torchvision.

Their kinds are those of ImageNet-C; their strengths are ours, chosen for images of 96 px, and frost and snow are drawn, not photographed.
So errors on them rank networks that were measured here, and are not to be put beside numbers of ImageNet-C.
(`imagecorruptions` 1.1.2, their reference in Python, imports what today's SciPy, scikit-image and setuptools no longer have.)
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as transform

SEVERITIES = (1, 2, 3, 4, 5)
Corruption = Callable[[Tensor, float, torch.Generator], Tensor]  # images in [0, 1], strength -> the same


def _gaussian_noise(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    return x + strength * torch.randn(x.shape, generator=generator)


def _shot_noise(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    return torch.poisson(x / strength, generator) * strength


def _impulse_noise(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    drawn = torch.rand(x.shape, generator=generator)
    return torch.where(drawn < strength / 2, 0.0, torch.where(drawn > 1 - strength / 2, 1.0, x))


def _filtered(x: Tensor, kernel: Tensor) -> Tensor:
    """Every channel by one kernel (k, k), k odd, borders reflected."""
    reach = kernel.shape[0] // 2
    padded = F.pad(x, [reach] * 4, mode="reflect")
    return F.conv2d(padded, kernel.expand(x.shape[1], 1, *kernel.shape) / kernel.sum(), groups=x.shape[1])


def _grid(reach: int) -> tuple[Tensor, Tensor]:
    line = torch.arange(-reach, reach + 1.0)
    return line[:, None], line[None]


def _defocus_blur(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    rows, columns = _grid(math.ceil(strength))
    return _filtered(x, (strength + 0.5 - (rows**2 + columns**2).sqrt()).clamp(0, 1))


def _glass_blur(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    moved = _displaced(x, (torch.rand(len(x), *x.shape[2:], 2, generator=generator) * 2 - 1) * strength)
    return transform.gaussian_blur(moved, [3, 3], [0.6, 0.6])


def _motion_blur(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    rows, columns = _grid(math.ceil(strength))
    angle = math.pi * float(torch.rand((), generator=generator))
    across = (rows * math.cos(angle) - columns * math.sin(angle)).abs()
    along = (rows * math.sin(angle) + columns * math.cos(angle)).abs()
    return _filtered(x, (1 - across).clamp(min=0) * (along <= strength))


def _zoom_blur(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    sizes = [round(x.shape[2] * (1 + strength * k / 6)) for k in range(7)]
    zoomed = [transform.center_crop(F.interpolate(x, (n, n), mode="bilinear"), list(x.shape[2:])) for n in sizes]
    return torch.stack(zoomed).mean(0)


def _cloud(shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Noise of all scales, each half as strong as the next coarser, in [0, 1]: (N, 1, H, W)."""
    count, height, width = shape
    total = torch.zeros(count, 1, height, width)
    for octave in range(1, 6):
        coarse = torch.rand(count, 1, 2**octave, 2**octave, generator=generator)
        total += F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False) / 2**octave
    low, high = (f(total, (2, 3), keepdim=True) for f in (torch.amin, torch.amax))
    return (total - low) / (high - low)


def _fog(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    return (x + strength * _cloud((len(x), *x.shape[2:]), generator)) / (1 + strength)


def _frost(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    crystals = _cloud((len(x), *x.shape[2:]), generator)
    return x * (1 - strength) + strength * torch.where(crystals > 0.5, 0.95, x * crystals * 2)


def _snow(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    flakes = (torch.rand(len(x), 1, *x.shape[2:], generator=generator) < strength / 8).float()
    fallen = _motion_blur(flakes, 3, generator) * 4
    return x * (1 - strength / 3) + strength / 6 + fallen


def _brightness(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    return x + strength


def _contrast(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * strength + mean


def _displaced(x: Tensor, by: Tensor) -> Tensor:
    """Pixels read elsewhere, at (column, row) offsets (N, H, W, 2) in pixels, borders reflected."""
    count, _, height, width = x.shape
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack((columns, rows), -1) + by
    places = (2 * places + 1) / torch.tensor([width, height]) - 1
    return F.grid_sample(x, places.expand(count, -1, -1, -1), padding_mode="reflection", align_corners=False)


def _elastic(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    field = torch.rand(len(x), 2, 6, 6, generator=generator) * 2 - 1
    smooth = F.interpolate(field, x.shape[2:], mode="bicubic", align_corners=False)
    return _displaced(x, smooth.permute(0, 2, 3, 1) * strength)


def _pixelate(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    coarse = [max(1, round(n * strength)) for n in x.shape[2:]]
    return F.interpolate(F.interpolate(x, coarse, mode="area"), x.shape[2:], mode="nearest")


def _jpeg(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    read = []
    for image in (x.clamp(0, 1) * 255).round().byte():
        file = io.BytesIO()
        transform.to_pil_image(image).save(file, "JPEG", quality=round(strength))
        read.append(transform.pil_to_tensor(Image.open(file)))
    return torch.stack(read) / 255


# A corruption and its strengths, by severity.
COMMON: dict[str, tuple[Corruption, tuple[float, ...]]] = {
    "Gaussian noise": (_gaussian_noise, (0.04, 0.06, 0.08, 0.11, 0.15)),
    "shot noise": (_shot_noise, (0.005, 0.01, 0.02, 0.04, 0.07)),
    "impulse noise": (_impulse_noise, (0.01, 0.02, 0.04, 0.08, 0.14)),
    "defocus blur": (_defocus_blur, (0.8, 1.2, 1.7, 2.4, 3.3)),
    "glass blur": (_glass_blur, (0.6, 0.9, 1.3, 1.8, 2.5)),
    "motion blur": (_motion_blur, (1.0, 1.7, 2.5, 3.5, 5.0)),
    "zoom blur": (_zoom_blur, (0.05, 0.09, 0.14, 0.2, 0.28)),
    "snow": (_snow, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "frost": (_frost, (0.15, 0.25, 0.35, 0.45, 0.55)),
    "fog": (_fog, (0.2, 0.4, 0.7, 1.1, 1.6)),
    "brightness": (_brightness, (0.05, 0.1, 0.17, 0.25, 0.35)),
    "contrast": (_contrast, (0.75, 0.6, 0.45, 0.3, 0.2)),
    "elastic transform": (_elastic, (0.7, 1.2, 1.8, 2.6, 3.6)),
    "pixelate": (_pixelate, (1 / 2, 1 / 3, 1 / 4, 1 / 6, 1 / 8)),
    "JPEG": (_jpeg, (60, 40, 25, 15, 8)),
}


def corrupt_commonly(images: Tensor, name: str, severity: int, seed: int = 0) -> Tensor:
    """Bytes (N, C, H, W) -> bytes, the same for the same seed.

    Raises:
        ValueError: for a corruption or a severity that is not known.

    >>> corrupt_commonly(torch.full((1, 1, 8, 8), 100, dtype=torch.uint8), "brightness", 5).unique()
    tensor([189], dtype=torch.uint8)
    """
    if name not in COMMON:
        raise ValueError(f"unknown corruption {name!r}; choose one of {', '.join(COMMON)}.")
    if severity not in SEVERITIES:
        raise ValueError(f"severity must be from 1 to 5, got {severity!r}.")
    corruption, strengths = COMMON[name]
    spoiled = corruption(images.float() / 255, strengths[severity - 1], torch.Generator().manual_seed(seed))
    return (spoiled.clamp(0, 1) * 255).round().byte()
