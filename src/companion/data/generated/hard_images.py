"""Images on which published methods lose their equivariance (notebook 02 counts how often), beside photographs.

Each is a float tensor (1, 3, H, W). What makes an image awkward is a near-tie between sampling phases: a symmetry that
gives two phases the same values, in the same or in another order.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def centred_photograph(height: int, width: int, which: int = 0) -> Tensor:
    """One of scikit-learn's two photographs (a temple, a flower), resized, with values in [-2, 2]: about 0, as networks
    expect it, and not in [0, 1], as `companion.data.images.photographs` has them."""
    from sklearn.datasets import load_sample_images

    image = torch.from_numpy(load_sample_images().images[which].copy()).permute(2, 0, 1)[None].float()
    return F.interpolate(image, (height, width), mode="bilinear", antialias=True) / 63.75 - 2


def film(height: int, width: int, frames: int, which: int = 0) -> Tensor:
    """A photograph that moves and brightens a little from frame to frame, (1, 3, frames, height, width)."""
    still = centred_photograph(height, width, which)
    return torch.stack([still.roll((k, 2 * k), (2, 3)) + 0.1 * k for k in range(frames)], 2)


def _objects(height: int, width: int, places: list[tuple[int, int]], background: float = 0.0) -> Tensor:
    x = torch.full((1, 3, height, width), background)
    for i, j in places:
        x[:, 0, i : i + 5, j : j + 5] = 1.0
        x[:, 1, i : i + 3, j + 1 : j + 5] = -0.7
    return x


def _lattice(height: int, width: int) -> Tensor:
    """A periodic structure, period 8, as on a chip, with two equal defects an odd distance apart."""
    rows, columns = torch.arange(height)[:, None] % 8, torch.arange(width)[None] % 8
    x = ((rows < 3) & (columns < 5)).float().expand(1, 3, height, width).clone()
    for i, j in ((height // 4, width // 4), (height // 4 + 19, width // 4 + 13)):
        x[:, :, i : i + 2, j : j + 2] = 0.5
    return x


def awkward_images(height: int, width: int) -> dict[str, Tensor]:
    """All of them by name, each (1, 3, height, width); height at least 40, width at least 48."""
    photo = centred_photograph(height, width)
    generator = torch.Generator().manual_seed(0)
    top, left = photo[:, :, : height // 2], photo[..., : width // 2]
    square = torch.zeros(1, 3, height, width)
    square[:, :, 20:29, 30:39] = 1.0
    around_pixel = photo.clone()  # symmetric about column w / 2, and about column 0
    around_pixel[..., width // 2 + 1 :] = photo[..., 1 : width // 2].flip(3)
    turned = torch.cat((top, top.flip(2, 3)), 2)
    return {
        "photograph": photo,
        "another photograph": centred_photograph(height, width, 1),
        "constant": torch.full((1, 3, height, width), 0.3),
        "zeros": torch.zeros(1, 3, height, width),
        "periodic": torch.randn(1, 3, 8, 8, generator=generator).repeat(1, 1, height // 8, width // 8),
        "mirrored about an edge": torch.cat((left, left.flip(3)), 3),
        "mirrored about a pixel": around_pixel,
        "turned by 180 degrees": turned,
        "two levels": (photo > 0).float(),
        "one square on black": square,
        "two equal objects": _objects(height, width, [(6, 9), (27, 38)]),
        "three equal objects": _objects(height, width, [(4, 7), (21, 30), (33, 16)], 0.2),
        "lattice with equal defects": _lattice(height, width),
    }
