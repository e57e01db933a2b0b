"""Forward time and peak memory beside the plain network: all methods interleaved in one run.

    make bench                                   # a quarter of an hour; `make publish PROFILE=bench` writes results/speed.json
    python -m companion.studies.cost.benchmarks.speed --networks resnet18 --batch 8 --rounds 20

Interleaving matters: a machine's speed drifts by more than the differences of interest, and drifts for all alike. Peers
and the other memory layout take part at batch 8. Compiled networks, in a table of their own, have images and weights with
channels last, which Inductor is faster with. Memory is the growth of a process of its own over one pass.

`make` has freed memory kept (glibc's MALLOC_TRIM_THRESHOLD_ and MALLOC_MMAP_THRESHOLD_), and so must whoever calls this without it:
maps that are handed out anew, page by page, cost a plain MobileNetV2 nearly as much time as its computations.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

import mass
from companion.core.device import at_hand
from companion.core.files import write_json
from companion.core.paths import find_root
from companion.core.provenance import peak_memory_mb, provenance
from companion.core.records import make_record, record_name
from companion.measures.memory import grown, printed_by
from companion.measures.timing import compared, milliseconds
from companion.models.antialias import antialias
from companion.models.random_weights import calibrated, segmenter
from mass.baselines.aps import convert_to_aps
from mass.baselines.lps import convert_to_lps

NETWORKS = ("resnet18", "resnet50", "densenet121", "mobilenet_v2", "convnext_tiny", "deeplabv3plus")
PEERS_AT = 8  # the batch at which peers and layouts are compared
COMPILED_UP_TO = 8  # images


def network(name: str, size: int) -> nn.Module:
    return segmenter("DeepLabV3Plus", "resnet18", (size, size)) if name == "deeplabv3plus" else calibrated(name)


def methods(name: str, size: int, peers: bool) -> dict[str, nn.Module]:
    """The versions of a network that are compared."""
    model, x = network(name, size), torch.randn(1, 3, size, size)
    found = {"plain": model, "circular padding": mass.convert(model, x, origin="zero"), "MASS": mass.convert(model, x)}
    if not peers:
        return found
    for method in ("plain", "MASS"):
        found[f"{method}, channels last"] = copy.deepcopy(found[method]).to(memory_format=torch.channels_last)
    for method, convert in (("APS", convert_to_aps), ("LPS", convert_to_lps)):
        try:
            found[method] = convert(model, x).eval()
        except mass.NotEquivariantError as refusal:
            print(f"{name:14} {method}: {refusal}")
    if name in ("resnet18", "resnet50", "mobilenet_v2"):
        found["BlurPool"] = antialias(network(name, size), "lpf3").eval()
        found["DDAC"] = antialias(network(name, size), "ddac3").eval()
    return found


def passes(models: dict[str, nn.Module], x: torch.Tensor) -> dict[str, Callable[[], object]]:
    """A forward pass of every model, of images in the memory layout of its weights."""
    last = x.contiguous(memory_format=torch.channels_last)
    return {name: partial(model, last if _channels_last(model) else x) for name, model in models.items()}


def _channels_last(model: nn.Module) -> bool:
    weight = next(p for p in model.parameters() if p.ndim == 4 and p.shape[1] > 1)
    return weight.is_contiguous(memory_format=torch.channels_last)


def compiled(name: str, size: int) -> dict[str, nn.Module]:
    """The same by Inductor, weights with channels last: `torch.compile` as it is, `mass.compile` for converted networks."""
    found: dict[str, Any] = {}
    for method, model in methods(name, size, peers=False).items():
        compiler = torch.compile if method == "plain" else mass.compile
        found[method] = compiler(model.to(memory_format=torch.channels_last))
    return found


def memory(name: str, method: str, size: int, batch: int) -> tuple[float, float]:
    """Peak megabytes of one pass in evaluation, and of one with its gradients; to be called in a process of its own."""
    model, x = network(name, size), torch.randn(batch, 3, size, size)
    model = model if method == "plain" else mass.convert(model, x[:1], verify=False)
    with torch.no_grad():
        model(x[:1])  # libraries allocate at their first call
        evaluation = grown(lambda: model(x))

    def step() -> None:
        output = model.train()(x)
        output.sum().backward()

    return evaluation, grown(step)


def memory_ratios(name: str, size: int, batch: int) -> dict[str, float]:
    """MASS's peak memory over the plain network's, each in its own process that gives freed memory back."""
    (evaluation, training), (mass_evaluation, mass_training) = (
        map(float, printed_by(__spec__.name, "--memory", name, method, str(size), str(batch)).split())
        for method in ("plain", "MASS")
    )
    return {"memory_ratio": mass_evaluation / evaluation, "training_memory_ratio": mass_training / training}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 1, 64])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=15, help="at batch 8; fewer of larger batches, at least 5")
    parser.add_argument("--memory", nargs=4, metavar=("NETWORK", "METHOD", "SIZE", "BATCH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        name, method, size, batch = options.memory
        print(*memory(name, method, int(size), int(batch)))
        return
    root = find_root()
    folder: Path = root / "runs" / "bench" / "speed"
    (folder / "records").mkdir(parents=True, exist_ok=True)
    device = at_hand().type
    facts = {"notebook": "speed", "profile": "bench", "seed": 0} | provenance(root)
    started = time.monotonic()
    for name, batch in itertools.product(options.networks, options.batch):
        x = torch.randn(batch, 3, options.size, options.size, device=device)
        rounds = max(5, min(options.rounds, options.rounds * PEERS_AT // batch))
        measured = memory_ratios(name, options.size, batch) if batch == PEERS_AT and device == "cpu" else {}
        facts_of = {"net": name, "size": options.size, "batch": batch, "dtype": "float32", "seed": 0}
        ways: list[tuple[dict[str, Any], dict[str, nn.Module]]] = [
            ({}, methods(name, options.size, peers=batch == PEERS_AT))
        ]
        if batch <= COMPILED_UP_TO and device == "cpu":
            ways.append(({"input": "compiled"}, compiled(name, options.size)))
        for way, versions in ways:
            models = {method: model.to(device) for method, model in versions.items()}
            with torch.no_grad():
                times = milliseconds(passes(models, x), rounds, device)
            for row in compared(times, "plain"):
                row |= facts_of | way | (measured if row["method"] == "MASS" and not way else {})
                record = make_record(row)
                write_json(folder / "records" / f"{record_name(record)}.json", record)
                print(f"{name:14} batch {batch:3} {way.get('input', ''):9} {row['method']:22} {row['ratio']:5.2f} x plain  "
                      f"({row['milliseconds']:.0f} ms, quartiles {row['quartile_low']:.0f} to {row['quartile_high']:.0f})", flush=True)  # fmt: skip
        if measured:
            print(f"{name:14} memory of MASS: {measured['memory_ratio']:.2f} x plain, in training "
                  f"{measured['training_memory_ratio']:.2f}", flush=True)  # fmt: skip
    write_json(
        folder / "provenance.json",
        facts | {"seconds": round(time.monotonic() - started, 1), "peak_memory_mb": peak_memory_mb()},
    )


if __name__ == "__main__":
    main()
