"""Forward time beside the plain network: ratios of medians, all methods interleaved in one run.

    make bench                                   # minutes; `make publish PROFILE=bench` writes results/speed.json
    python benchmarks/speed.py --networks resnet18 --batch 8 --rounds 20

Interleaving matters: a machine's speed drifts by more than the differences of interest, and drifts for all alike.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from torch import nn

import mass
from companion.files import write_json
from companion.networks import calibrated
from companion.paths import find_root
from companion.provenance import peak_memory_mb, provenance
from companion.records import make_record, record_name
from mass.baselines import convert_to_aps

NETWORKS = ("resnet18", "resnet50", "densenet121", "mobilenet_v2", "convnext_tiny")


def methods(name: str, size: int) -> dict[str, nn.Module]:
    """The versions of a network that are compared."""
    model, x = calibrated(name), torch.randn(1, 3, size, size)
    return {
        "plain": model,
        "circular padding": mass.convert(model, x, origin="zero"),
        "MASS": mass.convert(model, x),
        "APS": convert_to_aps(model, x),
    }


def milliseconds(models: dict[str, nn.Module], x: torch.Tensor, rounds: int) -> dict[str, list[float]]:
    """Forward times of every model, taken in turns; the first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in models}
    with torch.no_grad():
        for _ in range(rounds + 1):
            for name, model in models.items():
                if x.is_cuda:
                    torch.cuda.synchronize()
                started = time.perf_counter()
                model(x)
                if x.is_cuda:
                    torch.cuda.synchronize()
                times[name].append(1e3 * (time.perf_counter() - started))
    return {name: values[1:] for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--batch", type=int, nargs="+", default=[8])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    root = find_root()
    folder: Path = root / "runs" / "bench" / "speed"
    (folder / "records").mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    facts = {"notebook": "speed", "profile": "bench", "seed": 0} | provenance(root)
    started = time.monotonic()
    for name in options.networks:
        models = {method: model.to(device) for method, model in methods(name, options.size).items()}
        for batch in options.batch:
            x = torch.randn(batch, 3, options.size, options.size, device=device)
            times = milliseconds(models, x, options.rounds)
            plain = statistics.median(times["plain"])
            for method, values in times.items():
                low, _, high = statistics.quantiles(values, n=4)
                row = {"net": name, "method": method, "size": options.size, "batch": batch, "dtype": "float32", "seed": 0,
                       "ratio": statistics.median(values) / plain, "milliseconds": statistics.median(values),
                       "quartile_low": low, "quartile_high": high, "rounds": options.rounds}  # fmt: skip
                record = make_record(row)
                write_json(folder / "records" / f"{record_name(record)}.json", record)
                print(f"{name:14} batch {batch:3} {method:17} {row['ratio']:5.2f} x plain  ({row['milliseconds']:.0f} ms, "
                      f"quartiles {low:.0f} to {high:.0f})", flush=True)  # fmt: skip
    write_json(
        folder / "provenance.json",
        facts | {"seconds": round(time.monotonic() - started, 1), "peak_memory_mb": peak_memory_mb()},
    )


if __name__ == "__main__":
    main()
