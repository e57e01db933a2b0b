"""A piece of GPU time, used in order of value and recorded as it goes: `make gpu MINUTES=25 OUT=folder`.

    python -m companion.studies.gpu --minutes 25 --out FOLDER                    # goes on where FOLDER stands
    python -m companion.studies.gpu --minutes 25 --out FOLDER --resume EARLIER   # what an earlier piece left is taken over
    python -m companion.studies.gpu --minutes 5 --out FOLDER --parts training --epochs 13 --seeds 0 1 2 --methods aps-lpf3-cifar lps-annealed
    python -m companion.studies.gpu --minutes 1 --out FOLDER --device cpu --tiny # a rehearsal

Exactness, as the machine is and inside `mass.exact`, speed of passes and of selection, images per second by precision, and the
trainings of Table 2 (ResNet-20, 250 epochs; `make fetch DATA=cifar10` first). Killed at any moment, FOLDER holds what was
finished: records under runs/, weights under checkpoints/; `make publish RECORDS=FOLDER/runs` publishes them. --bundle writes the
same as a few archives, each below 16 MB. Code that came without its git is told its commit by MASS_COMMIT in the environment.
Needs torch, torchvision, scikit-learn, Pillow, numpy and tqdm alone.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch

from companion.core.errors import Refusal
from companion.core.paths import find_root
from companion.core.provenance import provenance
from companion.models.methods import METHODS
from companion.studies.gpu.book import Book
from companion.studies.gpu.queue import EPOCHS, FULL, GROUPS, PARTS, TINY, Queue, of_epochs, processors


def main() -> None:
    """The command line."""
    description = str(__doc__)
    parser = argparse.ArgumentParser("python -m companion.studies.gpu", description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--minutes", type=float, required=True, help="that may be used in all")
    parser.add_argument("--out", type=Path, required=True, help="folder of records and weights")
    parser.add_argument("--resume", type=Path, help="folder that an earlier call has left, or its archives")
    parser.add_argument("--bundle", type=Path, help="folder for archives of the same")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--methods", nargs="+", default=None, choices=list(METHODS), help="by default Table 2's")
    parser.add_argument(
        "--epochs", type=int, default=FULL.epochs, choices=list(EPOCHS), help="of the profile paper or reduced"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)))
    parser.add_argument("--width", type=int, default=9, help="runs that train side by side")
    parser.add_argument("--jobs", type=int, default=processors(), help="measurements that prepare at once")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true", help="a rehearsal: a small network, small images")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise Refusal("There is no GPU here: `--device cpu --tiny` rehearses.")
    if options.device == "cpu" and not options.tiny:
        raise Refusal("On a CPU the queue would take months: `--device cpu --tiny` rehearses.")
    if options.tiny:
        torch.set_num_threads(1)  # a rehearsal shares its machine
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")  # streams beyond 8 would wait for each other
    root = find_root()
    book = Book(options.out, provenance(root), options.bundle)
    if options.resume:
        book.resume(options.resume)
    methods = options.methods or (["baseline", "mass"] if options.tiny else [m for group in GROUPS for m in group])
    scale = TINY if options.tiny else of_epochs(options.epochs)
    queue = Queue(scale, book, root, 60 * options.minutes, options.width, options.jobs)
    queue.run(tuple(options.parts), tuple(methods), tuple(options.seeds))


if __name__ == "__main__":
    try:
        main()
    except Refusal as refusal:
        sys.exit(f"gpu: {refusal}")
