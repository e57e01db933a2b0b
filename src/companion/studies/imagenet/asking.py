"""What is asked of a network about each image: Table 3's columns, image by image.

Images come scaled so that the short side is 256 and cropped to 256 x 256, as bytes; the ordinary crop is their middle 224. Shifts and noise
follow (seed, image), so that who computes, in which order and batch, changes no draw.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

import mass

CROP, SCALED = 224, 256
_AT = {"mass": CROP, "aps": CROP, "lps": SCALED, "crop": SCALED, "zero": CROP}  # the side of what each protocol shifts
PROTOCOLS = tuple(_AT)
NOISE = 2.0  # grey levels


def _generator(seed: int, image: int, purpose: int) -> torch.Generator:
    return torch.Generator().manual_seed((seed * 1_000_003 + image) * 31 + purpose)


def draws(protocol: str, indices: list[int], seed: int) -> list[Tensor]:
    """Two shifts of each image by a protocol, each (B, 2)."""
    purpose = PROTOCOLS.index(protocol)
    pairs = [mass.PROTOCOLS[protocol].draw(2, _generator(seed, index, purpose)) for index in indices]
    return list(torch.stack(pairs).unbind(1))


def ask(
    model: nn.Module, normalize: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, indices: list[int],
    moved: int, seed: int, device: str,
) -> dict[str, Tensor]:  # fmt: skip
    """A batch of images (B, 3, 256, 256) in bytes, answered.

    Args:
        moved: only images of a smaller index are shifted; a batch is shifted as a whole or not at all.

    Returns:
        index, label and top1, top5, changed_by_noise (B,); and for shifted batches consistency_<protocol>, bool.
    """
    colours = images.to(device).float() / 255

    def logits(x: Tensor) -> Tensor:
        return model(normalize(x)).float()

    cropped = v2.functional.center_crop(colours, [CROP, CROP])
    scores = logits(cropped)
    best, truth = scores.topk(5).indices, labels.to(device)[:, None]
    noise = torch.stack([torch.randn(3, CROP, CROP, generator=_generator(seed, index, 30)) for index in indices])
    noisy = (cropped + NOISE / 255 * noise.to(device)).clamp(0, 1)
    found = {
        "top1": best[:, 0] == truth[:, 0],
        "top5": (best == truth).any(1),
        "changed_by_noise": logits(noisy).argmax(1) != best[:, 0],
    }
    if indices[0] < moved:
        for protocol, side in _AT.items():
            x = normalize(colours if side == SCALED else cropped)
            views = [mass.PROTOCOLS[protocol].move(x, by) for by in draws(protocol, indices, seed)]
            first, second = (model(view).argmax(1) for view in views)
            found[f"consistency_{protocol}"] = first == second
    return {"index": torch.tensor(indices), "label": best[:, 0].cpu()} | {
        name: which.cpu() for name, which in found.items()
    }
