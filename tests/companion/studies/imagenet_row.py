"""One process of a test: a network of random weights asked about the images of a folder.

    torchrun --nproc-per-node 2 imagenet_row.py FOLDER CHECKPOINTS ROOT [kill]

With `kill` the second process of the first life kills itself when it has finished a piece.
"""

import os
import signal
import sys
from pathlib import Path

import torch
import torchvision

from companion.core.files import sha256
from companion.data.published.imagenet import find_images
from companion.studies.imagenet import streaming
from companion.studies.imagenet.networks import Row
from companion.studies.imagenet.table_3 import Options, Processes, measure

OPTIONS = Options("made up", piece=4, batch=2, moved=6)


def random_row(root: Path) -> Row:
    """A row of the smallest network at hand, its weights in a file that is named after their hash, as published ones are."""
    folder = root / "data" / "squeezenet1_1"
    if not (found := list(folder.glob("*.pth"))):
        folder.mkdir(parents=True)
        torch.manual_seed(0)
        torch.save(torchvision.models.squeezenet1_1().state_dict(), folder / "new")
        found = [(folder / "new").rename(folder / f"squeezenet1_1-{sha256(folder / 'new')[:8]}.pth")]
    return Row("squeezenet1_1", "random", found[0].name)


def main() -> None:
    images, checkpoints, root, *kill = sys.argv[1:]
    here = Processes()
    if kill and here.rank == 1 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        whole = streaming.save_tensors

        def save_and_die(path: Path, value: object) -> None:
            whole(path, value)
            os.kill(os.getpid(), signal.SIGKILL)

        streaming.save_tensors = save_and_die
    torch.set_num_threads(1)
    measure(
        random_row(Path(root)), ["plain"], find_images(Path(images)), OPTIONS, Path(root), Path(checkpoints), 0, here
    )


if __name__ == "__main__":
    main()
