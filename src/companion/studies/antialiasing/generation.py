"""Stability of generation (Zhang, 2019, section 4.3): does a shift of the input shift the output, and nothing else?

A small U-Net learns to restore blurred, noisy images. Of n images and every residue of its total stride, the output for the shifted
input is compared with the shifted output: their peak signal-to-noise ratio, in dB, of colours in [0, 1].
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

import mass
from companion.data.images import photographs
from companion.data.segmented import voc_subset
from companion.models.restorer import Restorer
from companion.studies.antialiasing.versions import VERSIONS
from mass.nn.blurpool import BlurPool
from mass.nn.evaluating import evaluating

STRIDE = 4  # of the network
NOISE = 0.05
_CROP, _BATCH = 48, 8


def spoiled(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images blurred by a binomial filter 9 wide, with noise."""
    blurred = BlurPool(3, 9, 1)(images)
    return blurred + NOISE * torch.randn(images.shape, generator=generator)


def pictures(source: str, count: int, root: Path, size: int) -> tuple[Tensor, Tensor]:
    """Colour images in [0, 1] to train on and to test on, both (N, 3, size, size).

    Of the photographs: crops of the temple, and of the flower. Of voc-subset: images of its two splits, in the middle.
    """
    if source == "photographs":
        temple, flower = photographs((2 * size, 4 * size))
        crops = [
            [v2.functional.center_crop(photo.roll(k * size // 2, 2), [size, size]) for k in range(count)]
            for photo in (temple, flower)
        ]
        return torch.stack(crops[0]), torch.stack(crops[1])
    data = voc_subset(root)
    return tuple(  # type: ignore[return-value]
        torch.stack([v2.functional.center_crop(split[k][0], [size, size]) for k in range(n)]).float() / 255
        for split, n in ((data.train, 10 * count), (data.test, count))
    )


def trained(version: str, images: Tensor, steps: int, seed: int) -> nn.Module:
    """A restorer of one version, from the same first weights and on the same crops as every other; in eval mode."""
    torch.manual_seed(seed)
    model = VERSIONS[version](Restorer(), torch.zeros(1, 3, _CROP, _CROP)).train()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        rows = torch.randint(len(images), (_BATCH,), generator=generator)
        top, left = (int(torch.randint(n - _CROP + 1, (), generator=generator)) for n in images.shape[2:])
        target = images[rows, :, top : top + _CROP, left : left + _CROP]
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * 0.5 * (1 + math.cos(math.pi * step / steps))
        loss = (model(spoiled(target, generator)) - target).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return model.eval()


def psnr(error: float) -> float:
    """Of a mean squared error of colours in [0, 1], in dB; infinite for none.

    >>> psnr(0.01)
    20.0
    """
    return -10 * math.log10(error) if error else math.inf


def stability(model: nn.Module, images: Tensor, seed: int) -> dict[str, Any]:
    """How well outputs move along with inputs, over all images and all residues of the stride but (0, 0).

    Returns:
        n (pairs), `identical` (percent of bit-identical pairs), stability (mean PSNR of the others, None if there are none),
        restored (PSNR of outputs against the images before they were spoiled).
    """
    x = spoiled(images, torch.Generator().manual_seed(seed))
    errors = []
    with evaluating(model):
        still = model(x)
        for by in torch.cartesian_prod(torch.arange(STRIDE), torch.arange(STRIDE))[1:]:
            difference = mass.restore(model(mass.shift(x, by)), by) - still
            errors += difference.double().square().mean((1, 2, 3)).tolist()
    moved = [psnr(error) for error in errors if error]
    return {
        "n": len(errors),
        "identical": 100 * (len(errors) - len(moved)) / len(errors),
        "stability": sum(moved) / len(moved) if moved else None,
        "restored": psnr((still - images).double().square().mean().item()),
    }


def outputs_and_difference(
    model: nn.Module, image: Tensor, by: tuple[int, int], seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The output, that of the shifted input moved back, and their absolute difference: three of (3, H, W)."""
    x, shift = spoiled(image[None], torch.Generator().manual_seed(seed)), torch.tensor(by)
    with evaluating(model):
        still, moved = model(x), mass.restore(model(mass.shift(x, shift)), shift)
    return still[0], moved[0], (moved - still)[0].abs()
