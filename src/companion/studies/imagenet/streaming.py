"""A data set evaluated in a stream: workers decode, pieces are files, so that it goes on where it was killed, anywhere.

The images are cut into pieces of so many, in the order of the listing, and each piece into batches. A process takes every
`world`-th piece; a piece that is finished is a file, with the answers for each of its images, and is not computed again.
So every image counts exactly once, by however many processes, and however often they were killed; and since a batch is the same
images everywhere, it is bit-identical.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from tqdm.auto import tqdm

from companion.core.errors import Refusal
from companion.data.published.imagenet import Listing
from companion.training.checkpoint import load_tensors, save_tensors

# Bytes (B, 3, S, S), labels (B,), their places in the listing -> answers by name, each (B,).
Ask = Callable[[Tensor, Tensor, list[int]], dict[str, Tensor]]


@dataclass(frozen=True)
class Pieces:
    """How a data set is cut; all that it is named by decides the answers."""

    count: int  # images
    piece: int  # images in a piece
    batch: int

    @property
    def total(self) -> int:
        return -(-self.count // self.piece)

    def batches(self, number: int) -> list[list[int]]:
        rows = list(range(number * self.piece, min(self.count, (number + 1) * self.piece)))
        return [rows[k : k + self.batch] for k in range(0, len(rows), self.batch)]

    def of(self, rank: int, world: int) -> range:
        """The pieces of one process."""
        return range(rank, self.total, world)


class Decoded(Dataset):
    """(index, bytes (3, side, side) or None, what was wrong): short side scaled to `side`, then the middle square."""

    def __init__(self, listing: Listing, side: int) -> None:
        self.listing = listing
        self.transform = v2.Compose([v2.Resize(side, antialias=True), v2.CenterCrop(side), v2.PILToTensor()])

    def __len__(self) -> int:
        return len(self.listing)

    def __getitem__(self, index: int) -> tuple[int, Tensor | None, str]:
        path = self.listing.files[index]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of EXIF data, which a few of ImageNet's images have broken
                with Image.open(path) as opened:
                    return index, self.transform(opened.convert("RGB")), ""
        except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
            told = "not an image" if isinstance(error, UnidentifiedImageError) else str(error).split("\n")[0]
            return index, None, f"{path.name}: {told}"


def evaluate(
    listing: Listing, pieces: Pieces, ask: Ask, folder: Path, made: dict[str, Any], *,
    side: int, workers: int, rank: int = 0, world: int = 1, description: str = "",
) -> None:  # fmt: skip
    """Compute the pieces of this process that `folder` does not hold.

    Args:
        made: what else decides the answers; a folder is of one run.
    """
    missing = [number for number in pieces.of(rank, world) if not _file(folder, number).exists()]
    plan = [batch for number in missing for batch in pieces.batches(number)]
    loader = DataLoader(Decoded(listing, side), batch_sampler=plan, num_workers=workers, collate_fn=list)
    stream = _answered(loader, listing, ask)
    mine = sum(len(batch) for number in pieces.of(rank, world) for batch in pieces.batches(number))
    left = sum(map(len, plan))
    with tqdm(total=mine, initial=mine - left, desc=description, unit="images", leave=False, disable=None) as bar:
        for number in missing:
            began, answers, unreadable = time.perf_counter(), [], []
            for batch in pieces.batches(number):
                found, wrong = next(stream)
                answers += [found] if found else []
                unreadable += wrong
                bar.update(len(batch))
            save_tensors(
                _file(folder, number),
                {
                    "made": made | {"count": pieces.count, "piece": pieces.piece, "batch": pieces.batch},
                    "answers": _joined(answers),
                    "unreadable": unreadable,
                    "seconds": time.perf_counter() - began,
                },
            )


def wait_for(pieces: Pieces, folder: Path) -> None:
    """Until all processes have finished; torchrun ends the one that waits when another cannot be started again."""
    while not all(_file(folder, number).exists() for number in range(pieces.total)):
        time.sleep(0.2)


def gathered(pieces: Pieces, folder: Path, made: dict[str, Any]) -> tuple[dict[str, Tensor], list[str], float]:
    """All answers, by name, in the order of the listing; which files could not be read; seconds of all processes.

    Raises:
        Refusal: when pieces are missing, or were made otherwise.
    """
    expected = made | {"count": pieces.count, "piece": pieces.piece, "batch": pieces.batch}
    answers, unreadable, seconds = [], [], 0.0
    for number in range(pieces.total):
        path = _file(folder, number)
        if not path.exists():
            raise Refusal(f"{folder} is not whole: piece {number + 1} of {pieces.total} is missing; start it again.")
        kept = load_tensors(path)
        if kept["made"] != expected:
            told = [f"{k} {v!r}, not {expected.get(k)!r}" for k, v in kept["made"].items() if v != expected.get(k)]
            raise Refusal(f"{path} is of another run ({'; '.join(told)}): move the folder away.")
        answers += [kept["answers"]] if kept["answers"] else []
        unreadable += kept["unreadable"]
        seconds += kept["seconds"]
    if not answers:
        raise Refusal(f"None of {pieces.count:,} images could be read; the first: {unreadable[0]}.")
    return _joined(answers), unreadable, seconds


def _answered(loader: DataLoader, listing: Listing, ask: Ask) -> Iterator[tuple[dict[str, Tensor], list[str]]]:
    for batch in loader:
        read = [(index, image) for index, image, _ in batch if image is not None]
        wrong = [told for _, image, told in batch if image is None]
        if not read:
            yield {}, wrong
            continue
        indices = [index for index, _ in read]
        labels = torch.tensor([listing.labels[index] for index in indices])
        with torch.inference_mode():
            yield ask(torch.stack([image for _, image in read]), labels, indices), wrong


def _file(folder: Path, number: int) -> Path:
    return folder / f"piece-{number:05}.pt"


def _joined(answers: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """By name; what was asked of some batches only is as long as these are together."""
    names = dict.fromkeys(name for found in answers for name in found)
    return {name: torch.cat([found[name] for found in answers if name in found]) for name in names}
