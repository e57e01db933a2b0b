"""Training steps of every method beside the baseline's: images per second, and ratios of medians taken in turns.

    python -m companion.studies.cost.benchmarks.training                    # ResNet-20 on this machine; `make publish PROFILE=bench`
    python -m companion.studies.cost.benchmarks.training --nets resnet20 resnet18 --batch 256 --rounds 20

The share of the bfloat16 peak counts the multiplications and additions of the plain network's convolutions and linear
layers, forward and twice that backward; the peak is known for the GPUs of `_PEAK` alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from companion.core.device import at_hand
from companion.core.files import write_json
from companion.core.paths import find_root
from companion.core.provenance import peak_memory_mb, provenance
from companion.core.records import make_record, record_name
from companion.measures.timing import compared, milliseconds
from companion.models.methods import METHODS

_PEAK = {"H200": 989e12, "H100": 989e12, "A100": 312e12}  # dense bfloat16 operations per second


class Step:
    """One optimisation step of a network on one batch that stays on the device."""

    def __init__(self, model: nn.Module, x: Tensor, labels: Tensor) -> None:
        self.model = model.to(x.device).to(memory_format=torch.channels_last).train()
        self.optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9)
        self.x, self.labels = x.contiguous(memory_format=torch.channels_last), labels

    def __call__(self) -> None:
        with torch.autocast(self.x.device.type, torch.bfloat16):
            logits = self.model(self.x)
        self.optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(logits.float(), self.labels).backward()
        self.optimizer.step()


def operations(net: str) -> int:
    """Multiplications and additions of a training step of the plain network, per image."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        METHODS["baseline-zero"].build(net, 0)(torch.zeros(1, 3, 32, 32))
    return 3 * counter.get_total_flops()


def peak_share(device: str, net: str, images_per_s: float) -> float | None:
    """Percent of the device's bfloat16 peak."""
    peak = next((peak for name, peak in _PEAK.items() if name in device), None)
    return None if peak is None else 100 * images_per_s * operations(net) / peak


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=["resnet20"])
    parser.add_argument("--methods", nargs="+", default=[name for name in METHODS if name != "baseline-shifts"])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args(arguments)
    root, started = find_root(), time.monotonic()
    folder = root / "runs" / "bench" / "training"
    (folder / "records").mkdir(parents=True, exist_ok=True)
    facts = {"notebook": "training", "profile": "bench", "seed": 0} | provenance(root)
    device = at_hand().type
    for net in options.nets:
        x, labels = (
            torch.randn(options.batch, 3, 32, 32, device=device),
            torch.arange(options.batch, device=device) % 10,
        )
        names = list(dict.fromkeys(["baseline", *options.methods]))
        steps = {name: Step(METHODS[name].build(net, 0), x, labels) for name in names}
        for row in compared(milliseconds(steps, options.rounds, device), "baseline"):
            row["method"], speed = METHODS[row["method"]].printed, 1e3 * options.batch / row["milliseconds"]
            row |= {"net": net, "batch": options.batch, "dtype": "bfloat16", "seed": 0, "images_per_s": speed}
            share = peak_share(str(facts["device"]), net, speed)
            record = make_record(row | ({} if share is None else {"peak_share": share}))
            write_json(folder / "records" / f"{record_name(record)}.json", record)
            print(f"{net:9} {row['method']:28} {row['ratio']:5.2f} x baseline, {speed:8,.0f} images/s", flush=True)
    took = {"seconds": round(time.monotonic() - started, 1), "peak_memory_mb": peak_memory_mb()}
    write_json(folder / "provenance.json", facts | took)


if __name__ == "__main__":
    main()
