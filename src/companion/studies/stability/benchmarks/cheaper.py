"""Blending for at most three times the plain network's time: MobileNetV2 on the ImageNet images at hand.

    python -m companion.studies.stability.benchmarks.cheaper      # 6 minutes on one core
    make publish PROFILE=bench                                    # to results/stability_cheaper.json

Settings are tried on the first hundred images. Of those that take at most three times as long as the plain network the
one whose logits move least under noise is chosen, and is asked about all other images, beside plain, circular and MASS.
"""

from __future__ import annotations

import argparse
import os
from functools import partial

os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")  # before torch is loaded

from torch import nn
from torch.utils.data import DataLoader

import mass
from companion.core.paths import find_root
from companion.data.normalisation import normalize
from companion.measures.paired_images import compare
from companion.studies.stability import answers, measures, networks
from companion.studies.stability.benchmarks.recording import Bench
from companion.studies.stability.benchmarks.subjects import SHARE, mobilenet

TOPIC = "stability_cheaper"
TRIED, TIMED, ROUNDS, LIMIT = 100, 10, 5, 3.0
NOISE = {"noise 2": answers.CHANGES["noise 2"]}
CHOSEN = "MASS, blended for less"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--images", type=int, default=1300, help="the first so many, those that settings are tried on included"
    )
    options = parser.parse_args()
    subject = mobilenet()
    bench, x = Bench(find_root(), TOPIC), subject.example(TIMED)
    plain = subject.plain
    simple = {
        networks.PLAIN: plain,
        networks.CIRCULAR: mass.convert(plain, x[:1], origin="zero"),
        networks.MASS: mass.convert(plain, x[:1]),
    }
    settings = networks.cheaper(networks.origins_of(simple[networks.MASS]), SHARE)
    candidates = {
        name: mass.convert(plain, x[:1], blend=blend, paths=paths) for name, (blend, paths) in settings.items()
    }

    def ask(name: str, network: nn.Module, first: int, last: int) -> answers.Answers:
        batches = DataLoader(subject.part(first, last), subject.batch)
        asked = partial(answers.answers, network, batches, normalize, NOISE, 0, name)
        return bench.answered(f"{name} from {first}", {"first": first, "last": last}, asked)

    tried = {name: ask(name, network, 0, TRIED) for name, network in (simple | candidates).items()}
    costs = {row["method"]: row for row in measures.costs(simple | candidates, x, ROUNDS)}
    bench.say("tried and timed")
    base = costs[networks.PLAIN]["milliseconds"]
    rows = [
        {"stage": "tried"} | row | {"mean_jump": tried[row["method"]].jump["noise 2"].mean().item()}
        | costs[row["method"]] | {"ratio": costs[row["method"]]["milliseconds"] / base}
        for row in measures.main_rows(tried)
    ]  # fmt: skip
    allowed = [row for row in rows if row["method"] in candidates and row["ratio"] <= LIMIT]
    best = min(allowed, key=lambda row: row["mean_jump"])["method"]
    bench.say(f"chosen: {best}")
    said = {name: ask(name, network, TRIED, options.images) for name, network in simple.items()}
    said[CHOSEN] = ask(best, candidates[best], TRIED, options.images)
    rows += [
        {"stage": "main", "setting": best if row["method"] == CHOSEN else ""} | row for row in measures.main_rows(said)
    ]
    pairs = [(networks.MASS, networks.CIRCULAR), *((CHOSEN, name) for name in simple)]
    for stage, which in (("changed by noise, paired", "differ"), ("top-1, paired", "right")):
        outcomes = {name: a.differ("noise 2") if which == "differ" else a.right for name, a in said.items()}
        rows += [{"stage": stage} | row for row in compare(outcomes, pairs)]
    bench.write(rows, **subject.measured)


if __name__ == "__main__":
    main()
