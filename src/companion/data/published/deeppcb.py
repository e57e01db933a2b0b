"""DeepPCB (Tang et al., 2019): 1,500 pairs of circuit boards, a template without defects and the board that is tested.

    PCBData/group00041/00041/00041000_temp.png      the template, 640 x 640, black and white
    PCBData/group00041/00041/00041000_test.png      the board
    PCBData/group00041/00041_not/00041000.txt       a defect a line: x1 y1 x2 y2 kind (1 to 6)
    PCBData/{trainval,test}.txt                     the official lists; they name 00041000.jpg

The authors aligned their pairs; how far a camera is off is asked by cutting the two out at different places. Licence: MIT, 'for
research purpose only' in the authors' README.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2.functional import pil_to_tensor

from companion.core.errors import Refusal
from companion.data.labelled import Labelled, Split

KINDS = ("open", "short", "mousebite", "spur", "copper", "pin hole")  # one less than in the files
SIDE, CROP, REACH = 640, 128, 32  # pixels: of an image, of a crop, and how far template and test are moved apart
_TRAINED, _TESTED = 250, 150  # pairs of the official lists that crops are cut from, two a pair


class DeepPcb(Dataset[tuple[Tensor, Tensor, Tensor, Tensor]]):
    """One official split; an item is (template (1, H, W), test (1, H, W), uint8; boxes (K, 4), kinds (K,), int64).

    Boxes are x1, y1, x2, y2 in pixels; kinds are indices into `KINDS`.

    Args:
        root: the project's folder; split: 'trainval' or 'test'.

    Raises:
        Refusal: where it was not fetched, for another split, or naming the file that is missing or broken.
    """

    def __init__(self, root: Path, split: str) -> None:
        if split not in ("trainval", "test"):
            raise Refusal(f"DeepPCB has the splits trainval and test, not {split!r}.")
        self.folder = root / "data" / "deeppcb" / "PCBData"
        listing = self.folder / f"{split}.txt"
        if not listing.exists():
            raise Refusal("data/deeppcb has not been fetched: run `make fetch DATA=deeppcb` with MIRROR=...")
        self.names = [line.split() for line in listing.read_text(encoding="utf-8").splitlines() if line.strip()]
        if not self.names or any(len(names) != 2 for names in self.names):
            raise Refusal(f"data/deeppcb/PCBData/{split}.txt must name an image and its boxes on every line.")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        image, boxes = self.names[index]
        template, test = (self._image(image.replace(".jpg", f"_{which}.png")) for which in ("temp", "test"))
        rows = self._text(boxes)
        return template, test, rows[:, :4], rows[:, 4] - 1

    def _image(self, name: str) -> Tensor:
        try:
            with Image.open(self.folder / name) as opened:
                return pil_to_tensor(opened.convert("L"))
        except OSError:
            raise Refusal(f"data/deeppcb/PCBData/{name} is missing or no image: fetch deeppcb again.") from None

    def _text(self, name: str) -> Tensor:
        try:
            lines = (self.folder / name).read_text(encoding="utf-8").splitlines()
            rows = [[int(value) for value in line.split()] for line in lines if line.strip()]
            found = torch.tensor(rows, dtype=torch.int64).reshape(len(rows), 5)
        except (OSError, ValueError, RuntimeError):
            raise Refusal(f"data/deeppcb/PCBData/{name} is missing, or holds no lines 'x1 y1 x2 y2 kind'.") from None
        if len(found) and not (int(found[:, 4].min()) >= 1 and int(found[:, 4].max()) <= len(KINDS)):
            raise Refusal(f"data/deeppcb/PCBData/{name} names a kind that is not 1 to {len(KINDS)}.")
        return found


def crops(boards: DeepPcb, pairs: int, seed: int, apart: int | None = 0) -> Split:
    """Two crops a pair, one around a defect (1) and one without any (0), at half their size: (N, 2, 64, 64), template and test.

    Args:
        pairs: the first ones of the split.
        apart: by how many pixels the test is cut out further down and to the right than the template, 0 to 32; None: by chance, crop
            by crop. The places that are cut out follow from the seed and do not depend on it.
    """
    if apart is not None and not 0 <= apart <= REACH:
        raise Refusal(f"Template and test can be 0 to {REACH} pixels apart, not {apart}.")
    generator, chance = (torch.Generator().manual_seed(seed) for _ in range(2))
    images, labels = [], []
    for index in range(min(pairs, len(boards))):
        template, test, boxes, _ = boards[index]
        for label, place in ((1, _around(boxes, generator)), (0, _beside(boxes, generator))):
            if place is not None:
                y, x = place
                by = int(torch.randint(REACH + 1, (), generator=chance)) if apart is None else apart
                images.append(torch.cat((_cut(template, y, x), _cut(test, y + by, x + by))))
                labels.append(label)
    return Split(torch.stack(images), torch.tensor(labels))


def whole(template: Tensor, test: Tensor, apart: int) -> Tensor:
    """Nearly whole boards, cut out as `crops` are and at half their size: (1, H, W), twice -> (1, 2, 288, 288)."""
    side = (SIDE - REACH) // 64 * 64  # halved, a multiple of 32: of the total stride of a network
    return torch.cat((_cut(template, 0, 0, side), _cut(test, apart, apart, side)))[None]


def difference(pairs: Tensor) -> Tensor:
    """How template and test differ, pixel by pixel: (N, 2, H, W) -> (N, 1, H, W), uint8."""
    template, test = pairs.int().unbind(1)
    return (template - test).abs().byte()[:, None]


def _cut(image: Tensor, y: int, x: int, side: int = CROP) -> Tensor:
    return F.avg_pool2d(image[:, y : y + side, x : x + side].float(), 2).round().byte()


def _around(boxes: Tensor, generator: torch.Generator) -> tuple[int, int] | None:
    """The corner of a crop around a defect's centre, far enough from the border to stay in the test's window; None without one."""
    centres = torch.stack((boxes[:, 1] + boxes[:, 3], boxes[:, 0] + boxes[:, 2]), 1) // 2 - CROP // 2
    centres = centres[((centres >= 16) & (centres <= SIDE - CROP - REACH - 16)).all(1)]
    if not len(centres):
        return None
    chosen = centres[int(torch.randint(len(centres), (), generator=generator))]
    y, x = ((chosen + torch.randint(-16, 17, (2,), generator=generator)) // 2 * 2).tolist()
    return y, x


def _beside(boxes: Tensor, generator: torch.Generator) -> tuple[int, int] | None:
    """The corner of a crop without a defect, nor within reach; None where there seems to be no place."""
    for y, x in (2 * torch.randint((SIDE - CROP - REACH) // 2 + 1, (50, 2), generator=generator)).tolist():
        beyond = CROP + REACH
        clear = (boxes[:, 0] >= x + beyond) | (boxes[:, 2] <= x) | (boxes[:, 1] >= y + beyond) | (boxes[:, 3] <= y)
        if clear.all():
            return y, x
    return None


def pairs(root: Path, apart: int | None = 0) -> Labelled:
    """Crops of pairs to train on and to test, template and test as two channels; apart as of `crops`."""
    train, test = (
        crops(DeepPcb(root, split), count, seed, apart)
        for seed, (split, count) in enumerate((("trainval", _TRAINED), ("test", _TESTED)))
    )
    return Labelled(train, test, (0.5, 0.5), (0.45, 0.45))


def differences(root: Path) -> Labelled:
    """The same crops; what is looked at is how template and test differ."""
    both = pairs(root)
    train, test = (Split(difference(split.images), split.labels) for split in (both.train, both.test))
    return Labelled(train, test, (0.05,), (0.2,))
