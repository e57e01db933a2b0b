"""Tuned for stability: the published ResNet-20 of CIFAR-10 as four networks, with noise of 2 grey levels in training and without.

    python -m companion.studies.stability.benchmarks.training     # 15 minutes on one core; `make fetch DATA="cifar10 resnet20"`
    make publish PROFILE=bench                                    # to results/stability_training.json

The rate is the best of three for the plain network and circular padding together, on training images that none is tuned
on; the test images see one rate alone. Killed, it goes on with the network it was at.
"""

from __future__ import annotations

import argparse
import copy
import os
from dataclasses import asdict, replace
from typing import Any

os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")  # before torch is loaded

from torch import nn

from companion.core.errors import Refusal
from companion.core.paths import find_root
from companion.data.labelled import Split
from companion.data.normalisation import normalize
from companion.data.published.cifar10 import cifar10
from companion.measures.accuracy import accuracy
from companion.models.cifar_resnets import CIFAR_NETS
from companion.studies.stability import networks, trained
from companion.studies.stability.benchmarks.arms import NOISE, PATHS, SHARE, before_and_after
from companion.studies.stability.benchmarks.recording import Bench
from companion.training.checkpoint import load_weights
from companion.training.tune import Tuning

TOPIC = "stability_training"
NET, WEIGHTS = "resnet20a", "data/resnet20/resnet20-12fca82f.th"
RATES, PROBED = (0.0003, 0.001, 0.003), 20  # steps of each
HELD_OUT = 1000  # training images that choose the rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000, help="of the 10,000 test images, the first so many")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=128)
    options = parser.parse_args()
    root = find_root()
    bench, data = Bench(root, TOPIC), cifar10(root)
    train = data.train.first(len(data.train) - HELD_OUT)
    held_out = Split(data.train.images[len(train) :], data.train.labels[len(train) :])
    test = [(images.float() / 255, labels) for images, labels in data.test.first(options.images).batches(250)]
    plain = CIFAR_NETS[NET](weights=load_weights(root / WEIGHTS)).eval()
    four = networks.versions(plain, normalize(test[0][0][:2]), SHARE, PATHS)

    def probe(method: str, tuning: Tuning) -> dict[str, float]:
        network = copy.deepcopy(four[method])
        try:
            losses = trained.tuned(network, train, PROBED, tuning, 0.0)
        except Refusal:  # the loss is no longer finite
            return {"top1": 0.0}
        batches = [(images.float() / 255, labels) for images, labels in held_out.batches(250)]
        return {"loss": losses[-1], "top1": accuracy(network, batches, normalize)}

    base = Tuning(1, options.batch, RATES[0])
    rates: list[dict[str, Any]] = []
    for rate in RATES:
        for method in (networks.PLAIN, networks.CIRCULAR):
            made = asdict(replace(base, lr=rate)) | {"steps": PROBED}
            found = bench.once(f"rate {rate:g} {method}", made, lambda m=method, r=rate: probe(m, replace(base, lr=r)))  # type: ignore[misc]
            rates.append(
                {"stage": "rate", "method": method, "input": f"{rate:g}", "lr": rate, "n": len(held_out)} | found
            )
    best = max(RATES, key=lambda rate: sum(row["top1"] for row in rates if row["lr"] == rate))
    tuning = replace(base, lr=best)
    bench.say(f"rate {best:g}")

    made = {"images": options.images, "share": SHARE, "paths": PATHS}
    how = made | asdict(tuning) | {"steps": options.steps}

    def tune_one(network: nn.Module, noise: float) -> list[float]:
        return trained.tuned(network, train, options.steps, tuning, noise)

    rows, took = before_and_after(bench, four, trained.arms(NOISE), tune_one, test, made, how)
    took = [row | {"steps": options.steps, "lr": best} for row in took]
    bench.write(rows + rates + took, model=NET, dataset="cifar10", size=32)


if __name__ == "__main__":
    main()
