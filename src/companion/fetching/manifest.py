"""Image sets that stay where they are: a link to the folder, and a manifest of what it holds.

The manifest (name, label, size and hash of every image) is what stages depend on; the images never enter DVC's
cache. It does not say where the folder is, so that it is the same file on every machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from companion.core.errors import Refusal
from companion.core.files import read_json, sha256, write_atomic
from companion.fetching.catalogue import ImageSet


def set_folder(root: Path, name: str) -> Path:
    """Where manifest and link lie."""
    return root / "data" / name


def link_images(images: ImageSet, root: Path, mirror: Path) -> bool:
    """Link the mirror's images and write their manifest, once checked; whether the mirror has the set at all."""
    folder = mirror / images.place.path
    if not folder.is_dir():
        return False
    manifest = json.dumps(_entries(images, folder), indent=0) + "\n"
    found = hashlib.sha256(manifest.encode()).hexdigest()
    if images.sha256 not in (None, found):
        raise Refusal(f"{folder} does not hold the {images.count:,} images of {images.name}: some differ or lack.")
    target = set_folder(root, images.name)
    target.mkdir(parents=True, exist_ok=True)
    link = target / "images.new"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.resolve(), target_is_directory=True)
    os.replace(link, target / "images")
    write_atomic(target / "manifest.json", manifest)
    return True


def read_manifest(root: Path, name: str) -> list[dict[str, Any]] | None:
    """The entries of a set that was fetched, else None."""
    path = set_folder(root, name) / "manifest.json"
    return read_json(path) if path.exists() else None


def _entries(images: ImageSet, folder: Path) -> list[dict[str, Any]]:
    labelled = list(_by_folder(images, folder) if images.labels is None else _by_list(images.labels, images, folder))
    if len(labelled) != images.count:
        raise Refusal(f"{folder} holds {len(labelled):,} images, but {images.name} has {images.count:,}.")
    return [
        {
            "file": image.relative_to(folder).as_posix(),
            "label": label,
            "size": image.stat().st_size,
            "sha256": sha256(image),
        }
        for image, label in labelled
    ]


def _by_list(labels: str, images: ImageSet, folder: Path) -> Iterator[tuple[Path, int]]:
    """Images side by side, and a file that lists "image, label"."""
    if not (folder / labels).is_file():
        raise Refusal(f"{folder} is not laid out as {images.name}: it lacks {labels}.")
    for line in (folder / labels).read_text().splitlines():
        name, _, label = line.rpartition(",")
        image = folder / Path(name).name  # the list names another folder than the one the images are in
        if not image.is_file():
            raise Refusal(f"{folder} is not laid out as {images.name}: it lacks {image.name}.")
        yield image, int(label)


def _by_folder(images: ImageSet, folder: Path) -> Iterator[tuple[Path, int]]:
    """A folder per class, as torchvision's ImageNet has them: labels count the folders in the order of their names."""
    classes = sorted(path for path in folder.iterdir() if re.fullmatch(r"n\d{8}", path.name))
    if len(classes) != 1000:
        raise Refusal(
            f"{folder} is not laid out as {images.name}: "
            f"it has {len(classes):,} folders named as n01440764, one for each of the 1,000 classes."
        )
    for label, folder_of_class in enumerate(classes):
        yield from ((image, label) for image in sorted(folder_of_class.glob("*.JPEG")))
