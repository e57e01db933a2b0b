"""Tuned for stability: MobileNetV2 with official weights, as notebook 07 fine-tunes it, and asked about the images it was not shown.

    python -m companion.studies.stability.benchmarks.training_mobilenet           # 35 minutes on one core
    python -m companion.studies.stability.benchmarks.training_mobilenet --noise   # 20 more
    python -m companion.studies.stability.benchmarks.training_mobilenet --blended # 40, of a record of its own
    make publish PROFILE=bench                                                    # to results/stability_training_mobilenet*.json

`make fetch DATA="imagenet-val-1300 mobilenet_v2"` first. Half of the images, drawn class by class, tune every network for three
epochs; the other half is asked. Killed, it goes on with the network it was at.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict

os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")  # before torch is loaded

from torch import nn

from companion.core.paths import find_root
from companion.data.folds import stratified
from companion.data.images import in_bytes
from companion.data.normalisation import normalize
from companion.models.pretrained import mobilenet_v2
from companion.studies.stability import networks, trained
from companion.studies.stability.benchmarks.arms import NOISE, PATHS, SHARE, before_and_after
from companion.studies.stability.benchmarks.recording import Bench
from companion.training.tune import Tuning, fine_tune, in_memory

TOPIC = "stability_training_mobilenet"
TUNING = Tuning(epochs=3, batch=8, lr=0.000002)  # as notebook 07 in `reduced`
ARMS = [trained.Arm(method, 0.0) for method in (networks.PLAIN, networks.CIRCULAR, networks.MASS)]
NOISY_ARMS = [trained.Arm(method, NOISE) for method in (networks.PLAIN, networks.MASS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--images", type=int, default=1300, help="of those at hand, the first so many: half to tune on, half to ask"
    )
    parser.add_argument("--noise", action="store_true", help="tune two networks more, with noise on their images")
    parser.add_argument(
        "--blended", action="store_true", help="instead of these, tune the plain network and the blended one"
    )
    options = parser.parse_args()
    bench = Bench(find_root(), f"{TOPIC}_blended" if options.blended else TOPIC)
    images, labels, dataset = in_bytes(options.images, 224)
    half = stratified(labels, 2)
    pairs = zip(images[half == 1].split(5), labels[half == 1].split(5), strict=True)
    test = [(pixels.float() / 255, true) for pixels, true in pairs]
    epochs = in_memory(images[half == 0], labels[half == 0], TUNING)
    four = networks.versions(mobilenet_v2(), normalize(test[0][0][:1]), SHARE, PATHS)

    def tune(network: nn.Module, noise: float) -> list[float]:
        return fine_tune(network, trained.noisy(epochs, noise) if noise else epochs, TUNING)

    arms = ARMS + NOISY_ARMS * options.noise
    if options.blended:
        four = {name: four[name] for name in (networks.PLAIN, networks.BLENDED)}
        arms = [trained.Arm(name, 0.0) for name in four]
    made = {"images": options.images, "share": SHARE, "paths": PATHS}
    rows, took = before_and_after(bench, four, arms, tune, test, made, made | asdict(TUNING))
    bench.write(rows + [row | {"lr": TUNING.lr} for row in took], model="mobilenet_v2", dataset=dataset, size=224)


if __name__ == "__main__":
    main()
