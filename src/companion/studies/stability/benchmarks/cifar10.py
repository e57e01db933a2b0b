"""Notebook 15's comparison for a small network: the published ResNet-20 of CIFAR-10 (option A, its classifier's own test images).

    python -m companion.studies.stability.benchmarks.cifar10      # 10 minutes on one core; `make fetch DATA="cifar10 resnet20"`
    make publish PROFILE=bench                                    # to results/stability_cifar10.json

At 32 x 32 pixels its last maps are 8 x 8, and its total stride is 4. The changes, networks and tests are those of the notebook.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")  # before torch is loaded

from companion.core.paths import find_root
from companion.data.normalisation import normalize
from companion.studies.stability import answers, measures, networks
from companion.studies.stability.benchmarks.recording import Bench
from companion.studies.stability.benchmarks.subjects import PATHS, SHARE, small

TOPIC = "stability_cifar10"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000, help="of the 10,000 test images, the first so many")
    options = parser.parse_args()
    subject = small()
    bench, batches, x = Bench(find_root(), TOPIC), subject.batches(options.images), subject.example(subject.batch)
    four = networks.versions(subject.plain, x, SHARE, PATHS)
    members = max(2, round(networks.paths_of(four[networks.BLENDED], x)))
    ways = four | networks.objections(four, x, SHARE, members, seed=0)
    changes = answers.SHIFTS | answers.NOISES | {answers.ONE_LEVEL: answers.CHANGES[answers.ONE_LEVEL]}
    said = {}
    for name, network in ways.items():
        said[name] = answers.answers(network, batches, normalize, changes, 0, name)
        bench.say(name)
    main_four = {name: said[name] for name in four}
    rows = [row | {"stage": "ways"} for row in measures.ways(said, ways, x)]
    rows += [row | {"stage": "main"} for row in measures.main_rows(main_four)] + measures.paired(main_four)
    bench.write(rows, **subject.measured)


if __name__ == "__main__":
    main()
