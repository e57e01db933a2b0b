"""Table 4 as the paper has it: ResNet-18, 3 epochs of ImageNet's training set at a learning rate of 0.001.

    torchrun --nproc-per-node 8 -m companion.studies.fine_tuning.at_scale FOLDER
    python -m companion.studies.imagenet FOLDER --models resnet18 --methods MASS --weights checkpoints/fine_tuning/resnet18-mass.pth

FOLDER holds train/, a folder per class; the second command asks the tuned network about val/. The weights have the plain
network's names. Killed, it goes on with the epoch it was in. It has not been run at this scale; docs/scale.md says what it takes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import mass
from companion.core.device import at_hand
from companion.core.errors import Refusal
from companion.core.paths import find_root
from companion.models.pretrained import resnet18
from companion.training.checkpoint import save_tensors
from companion.training.tune import Epochs, Tuning, fine_tune

_CROP = 224


class _Cropped(Dataset):
    """An epoch's images in random crops and flips, which follow (seed, epoch, image): the same whoever decodes them."""

    def __init__(self, data: ImageFolder, seed: int) -> None:
        self.data, self.seed = data, seed

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * len(self.data) + index)
            item: tuple[Tensor, int] = self.data[index]
        return item


def streamed(folder: Path, tuning: Tuning, workers: int, classes: int = 1000) -> Epochs:
    """Images of a folder per class, decoded by workers; each process decodes its own share.

    Raises:
        Refusal: when there is no such folder, or it has another number of classes, or an empty one: labels count them all.
    """
    if not folder.is_dir():
        raise Refusal(
            f"There is no folder {folder}: expected ImageNet's training images, a folder per class (n01440764, …)."
        )
    steps = v2.RandomResizedCrop(_CROP, antialias=True), v2.RandomHorizontalFlip(), v2.ToImage()
    try:
        data = ImageFolder(str(folder), v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True)]))
    except FileNotFoundError as error:
        raise Refusal(f"{folder} is not ImageNet's training set: {error}") from None
    if len(data.classes) != classes:
        raise Refusal(f"{folder} has {len(data.classes):,} folders, expected one for each of {classes:,} classes.")

    def epoch(number: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Tensor, Tensor, int]]:
        order = torch.randperm(len(data), generator=tuning.generator(number))
        batches = [rows for rows in order.split(tuning.batch) if len(rows) >= world]  # each process has some of each
        shares = [rows[rank::world].tolist() for rows in batches]
        cropped = _Cropped(data, 1_000_003 * tuning.seed + number)
        loader = DataLoader(cropped, batch_sampler=shares, num_workers=workers)
        for (images, labels), rows in zip(loader, batches, strict=True):
            yield images, labels, len(rows)

    return epoch


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m companion.studies.fine_tuning.at_scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="with train/")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=256, help="of all processes together")
    parser.add_argument("--lr", type=float, default=0.001)
    parser.add_argument("--workers", type=int, default=8, help="for each process")
    options = parser.parse_args()
    try:
        _tune(options)
    except Refusal as refusal:
        sys.exit(f"fine_tuning: {refusal}")


def _tune(options: argparse.Namespace) -> None:
    tuning = Tuning(options.epochs, options.batch, options.lr)
    epochs = streamed(options.folder / "train", tuning, options.workers)
    plain = resnet18()
    device = str(at_hand())
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        dist.init_process_group("gloo" if device == "cpu" else "nccl")
    model = mass.convert(plain, torch.zeros(1, 3, _CROP, _CROP)).to(device)
    place = find_root() / "checkpoints" / "fine_tuning" / "resnet18-mass.pth"
    losses = fine_tune(model, epochs, tuning, place.with_suffix(".checkpoint"), device)
    if not dist.is_initialized() or dist.get_rank() == 0:
        save_tensors(place, {name: tensor.cpu() for name, tensor in model.state_dict().items()})
        print(f"{place.name}: mean loss by epoch {', '.join(f'{loss:.3f}' for loss in losses)}")
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
