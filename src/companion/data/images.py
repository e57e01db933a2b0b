"""The images that notebooks look at, as tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset
from torchvision.transforms import v2

from companion.core.errors import Refusal
from companion.core.paths import find_root
from companion.fetching.catalogue import IMAGE_SETS
from companion.fetching.manifest import read_manifest, set_folder

IMAGENET, SUBSET = "imagenet-val", "imagenet-val-1300"
_A_FEW = 200  # images: so many are asked for to look at, and photographs will do as well


def photographs(size: int | tuple[int, int] = 224) -> Tensor:
    """scikit-learn's two photographs, a temple and a flower, in [0, 1]. Shape: (2, 3, H, W).

    Each is scaled until it covers `size` (height, width) and cropped at its centre.
    """
    from sklearn.datasets import load_sample_images  # not on a bare GPU machine

    height, width = (size, size) if isinstance(size, int) else size
    return torch.stack([_cover(torch.tensor(photo), height, width) for photo in load_sample_images().images])


def temple_roofs() -> Tensor:
    """A window of the temple's photograph, of 224 x 224 of its pixels: roofs whose label hangs on where the grid lies."""
    from sklearn.datasets import load_sample_images

    photo = torch.tensor(load_sample_images().images[0])[100:324, 280:504]
    return v2.functional.to_dtype(photo.permute(2, 0, 1), torch.float32, scale=True)


def _cover(photo: Tensor, height: int, width: int) -> Tensor:
    """(H, W, 3) in bytes -> (3, height, width) in [0, 1]."""
    photo = v2.functional.to_dtype(photo.permute(2, 0, 1), torch.float32, scale=True)
    scale = max(height / photo.shape[1], width / photo.shape[2])
    scaled = [round(side * scale) for side in photo.shape[1:]]
    photo = v2.functional.resize(photo, scaled, antialias=True).clamp(0, 1)
    return v2.functional.center_crop(photo, [height, width])


class ImageSubset(Dataset[tuple[Tensor, int]]):
    """Images of a manifest with their labels; an item is (image (3, size, size) in [0, 1], label)."""

    def __init__(self, folder: Path, entries: list[dict[str, Any]], size: int, scaled: bool = False) -> None:
        self.folder = folder
        self.entries = entries
        # The 1,300 images were squashed to 227 x 227 as wholes: unscaled, all but three rows and columns stay.
        scale = [v2.Resize(round(size / 224 * 256), antialias=True)] if scaled else []
        self.transform = v2.Compose([*scale, v2.CenterCrop(size), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        entry = self.entries[index]
        path = self.folder / entry["file"]
        if not path.exists():
            raise Refusal(f"The image {entry['file']} is gone since it was fetched: run `make repro MIRROR=...` again.")
        with Image.open(path) as opened:
            return self.transform(opened.convert("RGB")), entry["label"]


def imagenet_subset(limit: int | None = None, size: int = 224) -> ImageSubset | None:
    """The first `limit` of the 1,300 ImageNet validation images, or None when they were never fetched.

    They are easier than the whole validation set (725 classes, whole images squashed to 227 x 227): good for
    comparing networks with each other, never to be quoted as ImageNet accuracy.
    """
    return _images(SUBSET, limit, size)


def _images(name: str, limit: int | None, size: int, cropped: bool = False) -> ImageSubset | None:
    root = find_root()
    entries = read_manifest(root, name)
    if entries is None:
        return None
    return ImageSubset(set_folder(root, name) / "images", entries[:limit], size, scaled=cropped or name == IMAGENET)


def labelled_images(limit: int, size: int = 224, cropped: bool = False) -> tuple[Dataset[Any], str]:
    """The first `limit` ImageNet validation images, of the 1,300 where those are enough; and what their set is called.

    With `cropped` the 1,300, which are whole images squashed to squares, are scaled by 256 / 224 and cropped, so that their
    borders leave as in the ordinary crop (their proportions stay wrong).

    A few are asked for to look at: then the two photographs stand in where nothing was fetched. Their labels are
    those of ImageNet that fit: palace (698) and daisy (985).
    """
    (wanted,) = (images for images in IMAGE_SETS if images.name == (SUBSET if limit <= 1300 else IMAGENET))
    images = _images(wanted.name, limit, size, cropped)
    if images is not None:
        return images, wanted.name
    if limit > _A_FEW:
        raise Refusal(
            f"This profile reads {limit:,} images, and {wanted.name} ({wanted.count:,}) has not been fetched: "
            f"run `make repro MIRROR=...` with a folder that holds {wanted.place.path}/."
        )
    return TensorDataset(photographs(size), torch.tensor([698, 985])), "photographs"


def digit(index: int = 3, channels: int = 1) -> Tensor:
    """One of scikit-learn's 8 x 8 digits as a feature map (1, channels, 8, 8); channel 2 holds its vertical edges."""
    from sklearn.datasets import load_digits

    x = torch.tensor(load_digits().images[index], dtype=torch.float32)[None, None]
    edges = (x - x.roll(1, 3)).abs()
    return torch.cat((x, edges), 1)[:, :channels]


def in_bytes(limit: int, size: int) -> tuple[Tensor, Tensor, str]:
    """Images (N, 3, size, size) in bytes, labels (N,), and what their set is called; the two photographs where it is not there."""
    data, dataset = labelled_images(limit, size)
    count = len(data)  # type: ignore[arg-type]
    images = torch.empty(count, 3, size, size, dtype=torch.uint8)
    labels = torch.empty(count, dtype=torch.int64)
    for k in range(count):
        image, labels[k] = data[k]
        images[k] = (image * 255).round().to(torch.uint8)
    return images, labels, dataset
