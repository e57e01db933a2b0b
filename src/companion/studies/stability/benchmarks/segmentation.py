"""A segmentation network under noise, blended too: DeepLabV3+ on MobileNetV2, on the part of VOC at hand.

    python -m companion.studies.stability.benchmarks.segmentation   # 10 minutes on one core; `make fetch DATA=voc-subset`
    make publish PROFILE=bench                                      # to results/stability_segmentation.json

It is trained plain, by the recipe of notebook 08 (200 iterations at half the size: its masks are poor), then
converted with its weights as all networks of notebook 15 are.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from itertools import islice

os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")  # before torch is loaded

import mass
from companion.core.paths import find_root
from companion.data.datasets import DATASETS
from companion.data.segmented import Segmented
from companion.studies.stability import masks, measures, networks
from companion.studies.stability.benchmarks.recording import Bench
from companion.studies.stability.benchmarks.subjects import PATHS, SHARE
from companion.training.recipe import Recipe
from companion.training.record_run import trained
from companion.training.train import train

TOPIC = "stability_segmentation"
SIZE, NOISE, TIMED, ROUNDS = 256, 2.0, 4, 3
NET, START = "deeplabv3plus-mobilenet_v2", "data/mobilenet_v2/mobilenet_v2-b0353104.pth"


def recipe(iterations: int) -> Recipe:
    """Notebook 08's, for the plain network."""
    return Recipe(
        net=NET,
        method="baseline-zero",
        dataset="voc-subset",
        epochs=1,
        iterations=iterations,
        batch=8,
        lr=0.05,
        encoder_lr=0.1,
        schedule="poly",
        weight_decay=1e-4,
        size=SIZE,
        start=START,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=48, help="of the 462 test images, the first so many")
    parser.add_argument("--iterations", type=int, default=200)
    options = parser.parse_args()
    root = find_root()
    bench = Bench(root, TOPIC)
    plain = trained(train(recipe(options.iterations), root, bench.kept))[0]
    bench.say("trained")
    data = DATASETS["voc-subset"](root)
    assert isinstance(data, Segmented)
    batches = list(islice(data.test_batches(SIZE), -(-options.images // 8)))
    x = data.normalize(batches[0][0][:TIMED])
    ways = networks.versions(plain, x[:1], SHARE, PATHS)
    last = networks.origins_of(ways[networks.MASS])[-1]
    ways["MASS, all phases of the last origin"] = mass.convert(plain, x[:1], blend={last: networks.WHOLE}, paths=4)
    made, said = {"images": options.images, "iterations": options.iterations}, {}
    for name, network in ways.items():
        asked = partial(masks.masks, network, batches, data, NOISE, 0, name)
        said[name] = masks.Masks(**bench.once(name, made, lambda asked=asked: vars(asked())))  # type: ignore[misc]
    costs = {row["method"]: row for row in measures.costs(ways, x, ROUNDS)}
    rows = [
        row | costs[row["method"]] | {"stage": "masks", "iterations": options.iterations} for row in masks.rows(said)
    ]
    bench.write(rows + masks.paired(said), model=NET, dataset="voc-subset", size=SIZE)


if __name__ == "__main__":
    main()
