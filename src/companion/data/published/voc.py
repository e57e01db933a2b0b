"""PASCAL VOC 2012 with the augmented annotations, in the layout of its development kit.

    VOCdevkit/VOC2012/JPEGImages/2007_000032.jpg
    VOCdevkit/VOC2012/SegmentationClassAug/2007_000032.png      (labels 0 to 20; 255: not counted)
    VOCdevkit/VOC2012/ImageSets/Segmentation/{train_aug,val}.txt

The images and the list of `val` are the official archive's. SegmentationClassAug (the Semantic Boundaries Dataset's
annotations as PNGs; Hariharan et al., 2011) and the list of `train_aug` come beside other people's code.
"""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2.functional import pil_to_tensor

from companion.core.errors import Refusal

CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor"),
)

IGNORED = 255  # the label of pixels that count for nothing, at an object's border

_ARCHIVE = "it is in VOCtrainval_11-May-2012.tar of http://host.robots.ox.ac.uk/pascal/VOC/voc2012/"
_AUGMENTED = "it comes with the code of DeepLabV3Plus-Pytorch (https://github.com/VainF/DeepLabV3Plus-Pytorch)"
_WHERE = {
    "JPEGImages": _ARCHIVE,
    "SegmentationClassAug": f"SegmentationClassAug.zip; {_AUGMENTED}",
    "ImageSets/Segmentation/val.txt": _ARCHIVE,
    "ImageSets/Segmentation/train_aug.txt": _AUGMENTED,
}


class Voc(Dataset[tuple[Tensor, Tensor]]):
    """One split; an item is (image (3, H, W), uint8, labels (H, W), uint8), of the image's own size.

    Args:
        folder: which holds VOCdevkit/VOC2012.
        split: 'train_aug' or 'val'.
        count: how many images the split must have; None: as many as it lists.

    Raises:
        Refusal: naming the first piece that is missing, and where to get it.
    """

    def __init__(self, folder: Path, split: str, count: int | None = None) -> None:
        self.folder = folder / "VOCdevkit" / "VOC2012"
        listing = f"ImageSets/Segmentation/{split}.txt"
        for piece in (listing, "JPEGImages", "SegmentationClassAug"):
            if not (self.folder / piece).exists():
                raise Refusal(f"{self._shown(piece)} is missing: {_WHERE[piece]}.")
        self.names = (self.folder / listing).read_text(encoding="utf-8").split()
        if not self.names or (count is not None and len(self.names) != count):
            raise Refusal(f"{self._shown(listing)} lists {len(self.names):,} images, not {count or 'any'}.")
        for name in self.names:
            for piece, ending in (("JPEGImages", "jpg"), ("SegmentationClassAug", "png")):
                if not (self.folder / piece / f"{name}.{ending}").exists():
                    raise Refusal(f"{self._shown(f'{piece}/{name}.{ending}')} is missing: {_WHERE[piece]}.")

    def _shown(self, piece: str) -> str:
        return "/".join(["data", self.folder.parts[-3], "VOCdevkit", "VOC2012", piece])

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        name = self.names[index]
        with Image.open(self.folder / "JPEGImages" / f"{name}.jpg") as opened:
            image = pil_to_tensor(opened.convert("RGB"))
        with Image.open(self.folder / "SegmentationClassAug" / f"{name}.png") as mask:
            return image, pil_to_tensor(mask)[0]


def palette() -> Tensor:
    """The development kit's colours of the 256 labels, (256, 3) in [0, 1]: the bits of a label, spread over red, green, blue.

    >>> (palette()[15] * 255).int().tolist()
    [192, 128, 128]
    """
    label = torch.arange(256)
    colours = torch.zeros(256, 3, dtype=torch.int64)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (label >> channel & 1) << (7 - bit)
        label = label >> 3
    return colours / 255
