"""ImageNet's validation images, however they lie: which files there are, and what each shows.

| layout   | what is found                                                                                   |
|----------|-------------------------------------------------------------------------------------------------|
| archives | ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz, as published: torchvision unpacks them   |
| folders  | a folder per class, n01440764 and so on, here or in val/                                         |
| flat     | ILSVRC2012_val_00000001.JPEG and so on, beside the devkit (its ground truth and meta.mat)         |
| listed   | images and dataset.txt, "image, label" by line                                                   |
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from companion.core.errors import Refusal

CLASSES, IMAGES = 1000, 50_000
_ARCHIVES = ("ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz")
_DEVKIT, _TRUTH = "ILSVRC2012_devkit_t12", "data/ILSVRC2012_validation_ground_truth.txt"
_SUFFIXES = {".jpeg", ".jpg", ".png"}


@dataclass(frozen=True)
class Listing:
    """Files and labels, the class's place among the sorted WordNet ids, in the order of the files' names."""

    layout: str
    files: tuple[Path, ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.files)

    def first(self, count: int) -> Listing:
        return Listing(self.layout, self.files[:count], self.labels[:count])


def find_images(folder: Path) -> Listing:
    """The images of a folder in one of the layouts above.

    Raises:
        Refusal: when it is in none of them, or not whole: what was expected, and what was found.
    """
    if not folder.is_dir():
        raise Refusal(f"There is no folder {folder}: name the one that holds ImageNet's validation images.")
    for layout, is_so, read in _LAYOUTS:
        if is_so(folder):
            pairs = sorted(read(folder), key=lambda pair: pair[0].name)
            if not pairs:
                raise Refusal(f"{folder} looks like the layout '{layout}' and holds no images.")
            if _has_archives(folder) and len(pairs) != IMAGES:
                raise Refusal(
                    f"{folder / 'val'} holds {len(pairs):,} images, and the archive beside it {IMAGES:,}: unpacking was cut "
                    "short; remove val/, and it is unpacked again."
                )
            files, labels = zip(*pairs, strict=True)
            return Listing(layout, files, labels)
    held = sorted(path.name for path in folder.iterdir())
    shown = ", ".join(held[:5]) + (f" and {len(held) - 5:,} more" if len(held) > 5 else "")
    raise Refusal(
        f"{folder} is not laid out as ImageNet's validation set: expected {' with '.join(_ARCHIVES)}, a folder per class "
        f"(n01440764, …), ILSVRC2012_val_*.JPEG beside {_DEVKIT}/, or images with dataset.txt; found {shown or 'nothing'}."
    )


def _class_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and re.fullmatch(r"n\d{8}", path.name))


def _has_folders(folder: Path) -> bool:
    return any(_class_folders(place) for place in (folder, folder / "val") if place.is_dir())


def _by_folder(folder: Path) -> list[tuple[Path, int]]:
    place = folder if _class_folders(folder) else folder / "val"
    classes = _class_folders(place)
    if len(classes) != CLASSES:
        raise Refusal(
            f"{place} has {len(classes):,} folders named as n01440764, expected one for each of {CLASSES:,} classes: "
            "labels count them all."
        )
    return [(path, k) for k, one in enumerate(classes) for path in one.iterdir() if path.suffix.lower() in _SUFFIXES]


def _has_archives(folder: Path) -> bool:
    return all((folder / name).exists() for name in _ARCHIVES)


def _unpacked(folder: Path) -> list[tuple[Path, int]]:
    """torchvision checks the archives, unpacks them once to val/ and meta.bin, and sorts images into folders."""
    from torchvision.datasets import ImageNet

    try:
        found = ImageNet(str(folder), split="val")
    except RuntimeError as error:
        raise Refusal(f"The archives in {folder} are not as published: {error}") from None
    return [(Path(path), label) for path, label in found.samples]


def _flat(folder: Path) -> list[Path]:
    return sorted(folder.glob("ILSVRC2012_val_*.JPEG"))


def _by_ground_truth(folder: Path) -> list[tuple[Path, int]]:
    """The devkit numbers classes in an order of its own; meta.mat says which WordNet id each is."""
    places = [place for place in (folder / _DEVKIT, folder.parent / _DEVKIT, folder) if (place / _TRUTH).exists()]
    if not places:
        raise Refusal(f"{folder} holds images without labels: expected {_DEVKIT}/{_TRUTH} beside them.")
    truth, ids = list(map(int, (places[0] / _TRUTH).read_text().split())), _wordnet_ids(places[0] / "data" / "meta.mat")
    order = {wnid: k for k, wnid in enumerate(sorted(ids.values()))}
    files = _flat(folder)
    numbers = [int(path.stem.rpartition("_")[2]) for path in files]
    if max(numbers) > len(truth):
        raise Refusal(f"{folder} holds image {max(numbers):,}, and its ground truth only {len(truth):,} labels.")
    return [(path, order[ids[truth[number - 1]]]) for path, number in zip(files, numbers, strict=True)]


def _wordnet_ids(meta: Path) -> dict[int, str]:
    """The devkit's number of each class, and its WordNet id; what has children is no class."""
    from scipy.io import loadmat

    if not meta.exists():
        raise Refusal(f"{meta.parent} has no {meta.name}: unpack the devkit whole, for it numbers the classes.")
    synsets = loadmat(str(meta), squeeze_me=True)["synsets"]
    return {int(one["ILSVRC2012_ID"]): str(one["WNID"]) for one in synsets if int(one["num_children"]) == 0}


def _by_list(folder: Path) -> list[tuple[Path, int]]:
    """Each line names an image, perhaps in another folder than it is in, and its label."""
    pairs = []
    for number, line in enumerate((folder / "dataset.txt").read_text(encoding="utf-8").splitlines(), 1):
        name, _, label = line.rpartition(",")
        if not name or not label.strip().isdigit() or int(label) >= CLASSES:
            raise Refusal(
                f"Line {number} of {folder / 'dataset.txt'} is {line!r}: expected 'image, label' with a label below {CLASSES:,}."
            )
        pairs.append((folder / Path(name.strip()).name, int(label)))
    return pairs


_LAYOUTS: tuple[tuple[str, Callable[[Path], bool], Callable[[Path], list[tuple[Path, int]]]], ...] = (
    ("listed", lambda folder: (folder / "dataset.txt").is_file(), _by_list),
    ("folders", _has_folders, _by_folder),
    ("archives", _has_archives, _unpacked),
    ("flat", lambda folder: bool(_flat(folder)), _by_ground_truth),
)
