"""Notebook 15's comparison for a small network: the published ResNet-20 of CIFAR-10 (option A, its classifier's own test images).

    python -m companion.studies.stability.benchmarks.cifar10      # 10 minutes on one core; `make fetch DATA="cifar10 resnet20"`
    make publish PROFILE=bench                                    # to results/stability_cifar10.json

At 32 x 32 pixels its last maps are 8 x 8, and its total stride is 4. The changes, networks and tests are those of the notebook.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")  # before torch is loaded

from torch.utils.data import DataLoader, TensorDataset

from companion.core.files import write_json
from companion.core.paths import find_root
from companion.core.provenance import peak_memory_mb, provenance
from companion.core.records import make_record, record_name
from companion.data.normalisation import normalize
from companion.data.published.cifar10 import cifar10
from companion.models.cifar_resnets import CIFAR_NETS
from companion.studies.stability import answers, measures, networks
from companion.training.checkpoint import load_weights

TOPIC = "stability_cifar10"
NET, WEIGHTS = "resnet20a", "data/resnet20/resnet20-12fca82f.th"
SHARE, PATHS, BATCH = 0.005, 8, 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000, help="of the 10,000 test images, the first so many")
    options = parser.parse_args()
    root, started = find_root(), time.monotonic()
    test = cifar10(root).test
    images = TensorDataset(test.images[: options.images].float() / 255, test.labels[: options.images])
    batches = DataLoader(images, BATCH)
    plain = CIFAR_NETS[NET](weights=load_weights(root / WEIGHTS)).eval()
    x = normalize(images[:BATCH][0])
    four = networks.versions(plain, x, SHARE, PATHS)
    members = max(2, round(networks.paths_of(four[networks.BLENDED], x)))
    ways = four | networks.objections(four, x, SHARE, members, seed=0)
    changes = answers.SHIFTS | answers.NOISES | {answers.ONE_LEVEL: answers.CHANGES[answers.ONE_LEVEL]}
    said = {}
    for name, network in ways.items():
        said[name] = answers.answers(network, batches, normalize, changes, 0, name)
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    main_four = {name: said[name] for name in four}
    rows = [row | {"stage": "ways"} for row in measures.ways(said, ways, x)]
    rows += [row | {"stage": "main"} for row in measures.main_rows(main_four)] + measures.paired(main_four)
    folder, facts = root / "runs" / "bench" / TOPIC, provenance(root)
    for row in rows:
        record = {"model": NET, "dataset": "cifar10", "size": 32, "seed": 0} | row
        write_json(folder / "records" / f"{record_name(record)}.json", make_record(record) | facts)
    whole = {"notebook": TOPIC, "profile": "bench", "seed": 0, "seconds": round(time.monotonic() - started, 1)}
    write_json(folder / "provenance.json", whole | facts | {"peak_memory_mb": peak_memory_mb()})


if __name__ == "__main__":
    main()
