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
from companion.measures.noise import labels_under_noise
from companion.models.cifar_resnets import CIFAR_NETS
from companion.studies.stability import answers, networks, trained
from companion.studies.stability.benchmarks.recording import Bench
from companion.training.checkpoint import load_weights
from companion.training.tune import Tuning

TOPIC = "stability_training"
NET, WEIGHTS = "resnet20a", "data/resnet20/resnet20-12fca82f.th"
SHARE, PATHS, NOISE = 0.005, 8, 2.0
RATES, PROBED = (0.0003, 0.001, 0.003), 20  # steps of each
HELD_OUT = 1000  # training images that choose the rate
CHANGES = {name: change for name, change in answers.SHIFTS.items() if name.startswith("circular")}
CHANGES |= {name: answers.CHANGES[name] for name in ("noise 2", answers.ONE_LEVEL)}


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

    def tune(method: str, steps: int, tuning: Tuning, noise: float) -> tuple[nn.Module, list[float]]:
        network = copy.deepcopy(four[method])
        return network, trained.tuned(network, train, steps, tuning, noise)

    def probe(method: str, tuning: Tuning) -> dict[str, float]:
        try:
            network, losses = tune(method, PROBED, tuning, 0.0)
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
    said, frozen = {}, {}

    def ask(name: str, network: nn.Module, made: dict[str, Any]) -> None:
        said[name] = bench.answered(name, made, lambda: answers.answers(network, test, normalize, CHANGES, 0, name))

    def freeze(name: str, network: nn.Module, made: dict[str, Any]) -> None:
        def under_noise() -> dict[str, Any]:
            return trained.frozen_row(labels_under_noise(network, test, normalize, NOISE, 1, 0, freeze=True))

        frozen[name] = bench.once(f"frozen origins of {name}", made, under_noise)

    for name, network in four.items():
        ask(name, network, made)
    freeze(networks.MASS, four[networks.MASS], made)
    took: list[dict[str, Any]] = []
    for arm in trained.arms(NOISE):
        how = made | asdict(tuning) | {"steps": options.steps}

        def weights(arm: trained.Arm = arm) -> dict[str, Any]:
            network, losses = tune(arm.method, options.steps, tuning, arm.noise)
            return {"state": network.state_dict(), "loss": losses[-1]}

        kept = bench.once(f"weights of {arm.used()}", how, weights)
        took.append({"stage": "steps", "method": arm.used(), "loss": kept["loss"], "steps": options.steps, "lr": best})
        for method in (arm.method, *[networks.BLENDED] * (arm.method == networks.MASS)):
            network = copy.deepcopy(four[method])
            network.load_state_dict(kept["state"])
            ask(arm.used(method), network, how)
            if method == networks.MASS:
                freeze(arm.used(), network, how)
    rows = [row | {"stage": "tuned"} | frozen.get(row["method"], {}) for row in trained.rows(said)]
    bench.write(rows + trained.compared(said, NOISE) + rates + took, model=NET, dataset="cifar10", size=32)


if __name__ == "__main__":
    main()
