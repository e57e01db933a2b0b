"""Filters of every size on CIFAR-10: ResNet-20 as notebook 05 trains it in `reduced`, its test images moved in ordinary ways.

    python -m companion.studies.antialiasing.benchmarks.filters                # `make fetch DATA=cifar10` first; resumable
    python -m companion.studies.antialiasing.benchmarks.filters --seeds 0 1 2
    make publish PROFILE=bench                                                 # to results/antialiased_cifar10.json

Zero padding, no filter or one 2, 3 or 5 wide, 13 epochs: half an hour of a core for a network that is not in
checkpoints/reduced/05_cifar10 yet, four minutes for its answers. A record a network: accuracy on all test images, and the share of them
whose two labels agree when they are moved circularly, by half a pixel, with zeros moving in, and as windows of an enlarged
image (BlurPool's protocol).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")  # before torch is loaded

from companion.core.bench import Member, run_bench
from companion.core.device import at_hand
from companion.core.paths import find_root
from companion.core.records import Record
from companion.data.datasets import labelled
from companion.fetching.catalogue import fingerprint
from companion.measures.accuracy import accuracy
from companion.measures.moves import agreement, small_moves, two_views
from companion.models.methods import METHODS
from companion.studies.antialiasing.published import AGREEMENT, FILTERED, MOVED
from companion.training.recipe import Recipe, every
from companion.training.record_run import trained
from companion.training.sweep import run_all

REACH = 4  # pixels that zeros move in, at most: an eighth of the image


def key(recipe: Recipe) -> Record:
    """What names a network's record."""
    return {
        "model": recipe.net,
        "method": METHODS[recipe.method].printed,
        "dataset": recipe.dataset,
        "seed": recipe.seed,
    }


def answers(recipe: Recipe, root: Path, folder: Path) -> Record:
    """What one network, trained where it is missing, answers to the test images, moved and not."""
    run_all([recipe], root, folder)
    started, device, data = time.monotonic(), at_hand(), labelled(recipe.dataset, root)
    model, test, moves = trained(folder / recipe.name)[0].to(device), data.test.to(device), small_moves(REACH)
    found = two_views({"": model}, data.test.batches(500), data.normalize, len(test), recipe.seed, moves, device)
    return key(recipe) | {
        "dataset_sha256": fingerprint(recipe.dataset),
        "epochs": recipe.epochs,
        "n": len(test),
        "top1": accuracy(model, test.batches(500), data.normalize),
        **{f"{AGREEMENT} {row['input']}": row["agreement"] for row in agreement(found)},
        "took": round(time.monotonic() - started, 1),
    }


def members(seeds: Sequence[int], root: Path) -> list[Member]:
    """A network of every filter and seed."""
    plans = every(FILTERED, seeds, net="resnet20", dataset="cifar10", epochs=13)
    folder = root / "checkpoints" / "reduced" / "05_cifar10"
    return [(key(plan), partial(answers, plan, root, folder)) for plan in plans]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    options = parser.parse_args()
    run_bench(MOVED, members(options.seeds, find_root()), lambda row: f"{row['method']}: top-1 {row['top1']:.2f}")


if __name__ == "__main__":
    main()
