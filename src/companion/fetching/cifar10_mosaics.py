"""CIFAR-10's official batches, bit-identical, from a lossless rearrangement of its images.

The mirror holds the images as mosaics, one class at a time, 1,000 in a WebP file of 10 columns; official-order.xz
says for each batch which image comes where, and holds the bytes before and after the pixels.
"""

from __future__ import annotations

import lzma
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy
from PIL import Image, UnidentifiedImageError

from companion.fetching.download import Unavailable

_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_TILES = {"train": 5, "test": 1}  # mosaics of a class
_INDEX, _META = "official-order.xz", "batches.meta"


def rebuild(mosaics: Path, batches: Path) -> None:
    """Write the official files into the folder `batches`; their hashes are the caller's to check."""
    batches.mkdir(parents=True, exist_ok=True)
    try:
        pixels = {split: _pixels(mosaics, split) for split in _TILES}
        with lzma.open(mosaics / _INDEX) as index:
            for name, head, tail, order in _batches(index):
                found = pixels["test" if name == "test_batch" else "train"][order]
                (batches / Path(name).name).write_bytes(head + found.tobytes() + tail)
        shutil.copyfile(mosaics / _META, batches / _META)
    except FileNotFoundError as error:
        raise Unavailable(f"lacks {Path(error.filename).name}") from None
    except (UnidentifiedImageError, lzma.LZMAError, EOFError, struct.error, ValueError, IndexError):
        raise Unavailable("is corrupted") from None


def _pixels(mosaics: Path, split: str) -> numpy.ndarray:
    """All images of a split in the order of mosaics -> (N, 3072), planar, as CIFAR stores them."""
    parts = []
    for label in _CLASSES:
        for tile in range(5):
            if tile >= _TILES[split]:  # an index counts 5,000 a class in both splits
                parts.append(numpy.zeros((1000, 3072), numpy.uint8))
                continue
            with Image.open(mosaics / f"{split}-{label}-{tile}.webp") as opened:
                mosaic = numpy.asarray(opened.convert("RGB"))  # (3200, 320, 3)
            parts.append(mosaic.reshape(100, 32, 10, 32, 3).transpose(0, 2, 4, 1, 3).reshape(1000, 3072))
    return numpy.concatenate(parts)


def _batches(index: lzma.LZMAFile) -> Iterator[tuple[str, bytes, bytes, numpy.ndarray]]:
    """Name, bytes before and after the pixels, and order of images, of every batch; each part after its length."""

    def part() -> bytes:
        (length,) = struct.unpack("<I", index.read(4))
        return index.read(length)

    while index.peek(1):
        name, head, tail, order = part(), part(), part(), part()
        yield name.decode(), head, tail, numpy.frombuffer(order, numpy.uint16)
