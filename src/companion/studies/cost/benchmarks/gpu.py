"""On a GPU: time and memory of MASS beside the plain network, the bandwidth of its selection, and which kernels are exact.

    python -m companion.studies.cost.benchmarks.gpu                                     # some minutes; `make publish PROFILE=bench` publishes
    python -m companion.studies.cost.benchmarks.gpu --parts forward --networks resnet50
    python -m companion.studies.cost.benchmarks.gpu --device cpu --size 64 --batch 2    # a rehearsal without a GPU: nothing is written

Forward passes are bfloat16, channels last, compiled with CUDA graphs; training steps are compiled, in automatic mixed
precision. Plain and converted networks take turns in one process. Needs torch and torchvision alone, and
segmentation-models-pytorch for deeplabv3plus. Records go to runs/bench/gpu/records and are published beside the CPU's,
in results/speed.json.
"""

from __future__ import annotations

import argparse
import copy
import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import mass
from companion.core.files import write_json
from companion.core.paths import find_root
from companion.core.provenance import peak_memory_mb, provenance
from companion.core.records import Record, make_record, record_name
from companion.measures.timing import compared, milliseconds
from companion.models.random_weights import calibrated, segmenter

NETWORKS = ("resnet18", "resnet50", "mobilenet_v2", "convnext_tiny", "densenet121", "deeplabv3plus")
MAPS = ((64, 64, 112, 112), (64, 256, 56, 56), (64, 128, 56, 56))  # what ResNet-50 selects from
LAYOUTS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}


@dataclass(frozen=True)
class Conditions:
    """Where things run, on images of which size, and how often they are timed."""

    device: str
    size: int
    rounds: int


def network(name: str, size: int) -> nn.Module:
    """Random weights, calibrated; what is trained gets BatchNorms that compilers know."""
    model = segmenter("DeepLabV3Plus", "resnet18", (size, size)) if name == "deeplabv3plus" else calibrated(name)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1
    return model


def versions(name: str, size: int) -> dict[str, nn.Module]:
    plain, x = network(name, size), torch.randn(2, 3, size, size)
    frame = mass.convert(plain, x, origin="zero", verify=False)
    return {"plain": plain, "circular padding": frame, "MASS": mass.convert(plain, x, verify=False)}


def peak(step: Callable[[], object], device: str) -> float:
    """Megabytes that one call allocates at most on a GPU."""
    if device == "cpu":
        return math.nan
    step()
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    return (torch.cuda.max_memory_allocated() - before) / 1e6


def taking_turns(
    steps: dict[str, Callable[[], object]], against: str, on: Conditions, **fields: object
) -> Iterator[Record]:
    """Rows of what is timed together, with their ratios."""
    for row in compared(milliseconds(steps, on.rounds, on.device, warmup=3, repeated=4), against):
        yield row | fields | {"seed": 0}


def forward(name: str, batch: int, on: Conditions) -> Iterator[Record]:
    x = torch.randn(batch, 3, on.size, on.size, device=on.device, dtype=torch.bfloat16)
    x = x.contiguous(memory_format=torch.channels_last)
    steps: dict[str, Callable[[], object]] = {}
    memory = {}
    with torch.no_grad():
        for method, model in versions(name, on.size).items():
            model = model.to(on.device, torch.bfloat16).to(memory_format=torch.channels_last).eval()
            memory[method] = peak(partial(model, x), on.device)
            compiled = torch.compile(model, mode="reduce-overhead", fullgraph=True)
            steps[method] = partial(compiled, x)
        fields = {"net": name, "stage": "forward", "batch": batch, "size": on.size, "dtype": "bfloat16"}
        rows = list(taking_turns(steps, "plain", on, **fields))
    for row in rows:
        yield row | {"memory_ratio": memory[row["method"]] / memory["plain"]}


def training(name: str, batch: int, on: Conditions) -> Iterator[Record]:
    x = torch.randn(batch, 3, on.size, on.size, device=on.device).contiguous(memory_format=torch.channels_last)
    steps: dict[str, Callable[[], object]] = {}
    memory = {}
    for method, model in versions(name, on.size).items():
        if method == "circular padding":
            continue
        model = model.to(on.device).to(memory_format=torch.channels_last).train()
        optimizer = torch.optim.SGD(model.parameters(), 1e-6, 0.9, fused=True)

        def step(model: Callable[[Tensor], Tensor], optimizer: torch.optim.Optimizer = optimizer) -> None:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(on.device, torch.bfloat16):
                output = model(x)
            output.float().square().mean().backward()
            optimizer.step()

        memory[method] = peak(partial(step, model), on.device)
        compiled = torch.compile(model)
        steps[method] = partial(step, compiled)
    fields = {"net": name, "stage": "training", "batch": batch, "size": on.size, "dtype": "bfloat16"}
    for row in taking_turns(steps, "plain", on, **fields):
        yield row | {"memory_ratio": memory[row["method"]] / memory["plain"]}


def replayed(operation: Callable[[], object], device: str) -> Callable[[], object]:
    """The operation without what calling it costs: as a CUDA graph."""
    operation()
    if device == "cpu":
        return operation
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        operation()
    return graph.replay


def bandwidth(on: Conditions) -> Iterator[Record]:
    """Selecting origins beside a copy of the same map."""
    for shape in MAPS:
        for layout, memory_format in LAYOUTS.items():
            x = torch.randn(shape, device=on.device, dtype=torch.bfloat16).contiguous(memory_format=memory_format)
            y = torch.empty_like(x)
            operations = {"copy": partial(y.copy_, x), "selection": partial(mass.select_origin, x, 2)}
            steps = {name: replayed(operation, on.device) for name, operation in operations.items()}
            fields = {"stage": "bandwidth", "layer": f"{'x'.join(map(str, shape))}, {layout}", "dtype": "bfloat16"}
            yield from taking_turns(steps, "copy", on, **fields)


@contextmanager
def arithmetic(precision: str, setting: str) -> Iterator[None]:
    """Inside it, float32 products are in TF32 if so called, and cuDNN is deterministic if so set."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic
    cudnn.allow_tf32 = matmul.allow_tf32 = precision == "tf32"
    cudnn.deterministic = setting == "deterministic"
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic = before


def exactness(name: str, on: Conditions) -> Iterator[Record]:
    """Which images keep all bits under a random shift each, by precision, layout and setting; and what that costs."""
    x = torch.randn(8, 3, on.size, on.size, generator=torch.Generator().manual_seed(0)).to(on.device)
    by = torch.randint(on.size, (8, 2), generator=torch.Generator().manual_seed(1)).to(on.device)
    converted = mass.convert(network(name, on.size), x[:2].cpu(), verify=False).to(on.device).eval()
    settings = [(p, layout, "eager") for p in ("float32", "tf32", "bfloat16", "float16") for layout in LAYOUTS]
    settings += [("float32", "channels last", "deterministic")]
    settings += [(p, "channels last", "compiled") for p in ("bfloat16", "tf32", "float32")]
    for precision, layout, setting in settings:
        dtype = torch.float32 if precision == "tf32" else getattr(torch, precision)
        model = copy.deepcopy(converted).to(dtype).to(memory_format=LAYOUTS[layout])
        images = x.to(dtype).contiguous(memory_format=LAYOUTS[layout])
        with torch.no_grad(), arithmetic(precision, setting):
            run = torch.compile(model, fullgraph=True) if setting == "compiled" else model
            expected = run(images).clone()
            moved = run(mass.shift(images, by))
            moved = mass.restore(moved, by) if moved.ndim == 4 else moved
            times = milliseconds({"": partial(run, images)}, 5, on.device, repeated=4)
        same = (moved == expected).flatten(1).all(1)
        worst = ((moved - expected).abs().max() / expected.abs().max()).item()
        yield {"net": name, "method": "MASS", "stage": "exactness", "layer": layout, "input": setting, "dtype": precision,
               "batch": 8, "size": on.size, "seed": 0, "identical": int(same.sum()), "n": len(same),
               "max_relative_difference": worst, "milliseconds": statistics.median(times[""])}  # fmt: skip


def measured(options: argparse.Namespace, on: Conditions) -> Iterator[Record]:
    """All that was asked for, row by row."""
    if "bandwidth" in options.parts:
        yield from bandwidth(on)
    for name in options.networks:
        for batch in options.batch:
            if "forward" in options.parts:
                yield from forward(name, batch, on)
            if "training" in options.parts:
                yield from training(name, batch, on)
        if "exactness" in options.parts:
            yield from exactness(name, on)
        torch.compiler.reset()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=["bandwidth", "forward", "training", "exactness"])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--batch", type=int, nargs="+", default=[64])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    options = parser.parse_args()
    on = Conditions(options.device, options.size, options.rounds)
    if on.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit(
            "There is no GPU here: `make bench` measures on the CPU, `--device cpu` rehearses this script."
        )
    folder: Path = find_root() / "runs" / "bench" / "gpu"
    started = time.monotonic()
    facts = {"notebook": "speed", "profile": "bench", "seed": 0} | provenance(find_root())
    for row in measured(options, on):
        what = " ".join(str(row[key]) for key in ("net", "method", "stage", "layer", "input", "dtype") if key in row)
        found = f"{row['ratio']:.2f} x" if "ratio" in row else f"{row['identical']} of {row['n']} identical"
        memory = f", memory {row['memory_ratio']:.2f} x" if "memory_ratio" in row and on.device == "cuda" else ""
        print(f"{what:75} {found} ({row['milliseconds']:.3f} ms){memory}", flush=True)
        if on.device == "cuda":
            record = make_record(row)
            (folder / "records").mkdir(parents=True, exist_ok=True)
            write_json(folder / "records" / f"{record_name(record)}.json", record | facts)
    if on.device == "cuda":
        took = {"seconds": round(time.monotonic() - started, 1), "peak_memory_mb": peak_memory_mb()}
        write_json(folder / "provenance.json", facts | took)


if __name__ == "__main__":
    main()
