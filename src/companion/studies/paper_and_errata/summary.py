"""The README's one table: accuracy, consistency and cost of the methods, from what several notebooks published."""

from __future__ import annotations

from pathlib import Path
from statistics import mean

from companion.core.markdown import table
from companion.core.published import read_results
from companion.core.records import Record, is_study, mean_std
from companion.paper.printed import BASELINE

# As trained on CIFAR-10, as measured for speed, and in words.
_METHODS = (
    (BASELINE, "circular padding", "circular padding, fixed grid"),
    ("LPF-3", "BlurPool", "BlurPool (LPF-3)"),
    ("DDAC-3", "DDAC", "DDAC-3"),
    ("APS", "APS", "APS"),
    ("LPS", "LPS", "LPS"),
    ("MASS", "MASS", "**MASS**"),
    ("MASS-LPF-3", "", "MASS with LPF-3"),
)
_NETS = ("resnet50", "mobilenet_v2")


def summary(root: Path) -> str:
    """One row a method: CIFAR-10 after 13 epochs, and the time of a forward pass beside the plain network's."""
    trained = [
        r
        for r in read_results(root, "cifar10")
        if r["profile"] == "reduced" and r.get("net") == "resnet20" and r.get("epochs") == 13 and not is_study(r)
    ]
    timed = [
        r
        for r in read_results(root, "speed")
        if r["device"] == "cpu"
        and r.get("batch") == 8
        and r.get("stage", "forward") == "forward"
        and "input" not in r  # compiled, in a table of its own
        and r.get("net") in _NETS
    ]
    rows, used = [], []
    for method, measured, words in _METHODS:
        runs = [r for r in trained if r["method"] == method]
        times = {r["net"]: r for r in timed if r["method"] == measured}
        used += runs + list(times.values())
        scores = (_scores(runs, name) for name in ("top1", "consistency"))
        rows.append([words, *scores, *(f"{times[net]['ratio']:.2f}" if net in times else "–" for net in _NETS)])
    seeds = len({r["seed"] for r in trained})
    note = (
        f"ResNet-20 on CIFAR-10 after 13 epochs (the paper trains 250: [docs/results.md](docs/results.md)), mean ± standard deviation over {seeds} seeds. "
        "Consistency: two random circular shifts give one label (eq. 4). Time: a forward pass beside the plain network's, 8 images of 224 pixels, float32, on a CPU."
    )
    columns = ["Method", "Top-1 %", "Consistency %", *(f"Time, {name} (×)" for name in ("ResNet-50", "MobileNetV2"))]
    return table(columns, rows, used, note)


def _scores(runs: list[Record], name: str) -> str:
    values = [r[name] for r in runs]
    return (mean_std(values, 1) if mean(values) < 100 else "100") if values else "–"
