"""What every way of notebook 15 costs, in time and in memory, and what features of another depth do to the choice.

    python -m companion.studies.stability.benchmarks.ways         # 13 minutes on one core
    make publish PROFILE=bench                                    # to results/stability_ways.json

Both networks: MobileNetV2 on the ImageNet images at hand, the published ResNet-20 on CIFAR-10. Time and memory are of one
batch, all ways in turns; memory is the growth of a process that gives freed memory back. Of ConvNeXt no weights are at
hand: of random ones it is told how near to a tie its origins are, read off the map behind its LayerNorms and before.
"""

from __future__ import annotations

import argparse
import json
import os
from functools import partial
from typing import Any

os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")  # before torch is loaded

import torch

import mass
from companion.core.paths import find_root
from companion.data.normalisation import normalize
from companion.measures.margins import margins
from companion.measures.memory import grown, printed_by
from companion.models.random_weights import calibrated
from companion.studies.stability import answers, measures, networks
from companion.studies.stability.benchmarks.recording import Bench
from companion.studies.stability.benchmarks.subjects import SUBJECTS, Subject, mobilenet

TOPIC = "stability_ways"
BATCH = {"mobilenet_v2": 10, "resnet20a": 100}  # images timed at once
ASKED = {"mobilenet_v2": 1300, "resnet20a": 2000}  # as in the published tables
ROUNDS, NEAR = 5, 40
CHANGES = answers.SHIFTS | {name: answers.CHANGES[name] for name in ("noise 2", answers.ONE_LEVEL)}
BEHIND, BEFORE = "behind the LayerNorm", "before the LayerNorm"


def all_ways(subject: Subject) -> dict[str, torch.nn.Module]:
    """Those of the notebook, and origins read off features of another depth."""
    ways = subject.ways()
    return ways | {
        name: networks.reading_earlier(ways[networks.MASS], steps) for name, steps in networks.EARLIER.items()
    }


def memory(name: str) -> dict[str, float]:
    """Peak megabytes of one batch, by way; to be called in a process that gives memory back."""
    subject, found = SUBJECTS[name](), {}
    x = subject.example(BATCH[name])
    with torch.no_grad():
        for way, network in all_ways(subject).items():
            network(x)  # libraries allocate at their first call
            found[way] = grown(partial(network, x))
    return found


def memory_apart(name: str) -> dict[str, float]:
    """The same, from here."""
    found: dict[str, float] = json.loads(printed_by(__spec__.name, "--memory", name))
    return found


def before_the_norm(images: int) -> list[dict[str, Any]]:
    """How near to a tie ConvNeXt-T's origins are: the median margin, and how many are within float32's rounding."""
    subject, rows = mobilenet(), []
    network = mass.convert(calibrated("convnext_tiny"), subject.example(1), verify=False)
    for place, read in ((BEHIND, network), (BEFORE, networks.reading_earlier(network, 3))):
        table = margins(read, subject.batches(images), normalize)
        later = table[~table["origin"].str.startswith("1:")]["margin"]  # the first is read off the image
        near = 100 * float((later < torch.finfo(torch.float32).eps).mean())
        rows.append({"stage": "margins", "model": "convnext_tiny", "dataset": subject.dataset, "size": subject.size}
                    | {"input": place, "n": images, "median": float(later.median()), "within_float32": near})  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=list(SUBJECTS), default=list(SUBJECTS))
    parser.add_argument("--memory", choices=list(SUBJECTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print(json.dumps(memory(options.memory)))
        return
    bench, rows = Bench(find_root(), TOPIC), []
    for name in options.networks:
        subject = SUBJECTS[name]()
        ways = all_ways(subject)
        costs = measures.costs(ways, subject.example(BATCH[name]), ROUNDS)
        megabytes = memory_apart(name)
        rows += [
            {**subject.measured, "batch": BATCH[name], "stage": "cost", **row, "megabytes": megabytes[row["method"]]}
            for row in costs
        ]
        bench.say(f"{name}, costs")
        said = {}
        for way in networks.EARLIER:
            made = {"images": ASKED[name], "model": name}
            batches = subject.batches(ASKED[name])
            ask = partial(answers.answers, ways[way], batches, normalize, CHANGES, 0, way)
            said[way] = bench.answered(f"{name} {way}", made, ask)
        rows += [{**subject.measured, "stage": "ways", **row} for row in measures.outcomes(said)]
    bench.write(rows + before_the_norm(NEAR))


if __name__ == "__main__":
    main()
