"""On a GPU: time and memory of MASS beside the plain network, the bandwidth of its selection, and which kernels are exact.

    python benchmarks/gpu.py                                     # some minutes; `make publish PROFILE=bench` publishes
    python benchmarks/gpu.py --parts speed --networks resnet50

Forward passes are bfloat16, channels last, compiled with CUDA graphs; training steps are compiled, in automatic mixed
precision. Plain and converted networks take turns in one process. Needs torch and torchvision alone, and
segmentation-models-pytorch for deeplabv3plus. Records go to runs/bench/gpu/records and are published beside the CPU's,
in results/speed.json.
"""

from __future__ import annotations

import argparse
import copy
import gc
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

import mass
from companion.files import write_json
from companion.networks import calibrated, segmenter
from companion.paths import find_root
from companion.provenance import peak_memory_mb, provenance
from companion.records import Record, make_record, record_name

NETWORKS = ("resnet18", "resnet50", "mobilenet_v2", "convnext_tiny", "densenet121", "deeplabv3plus")
MAPS = ((64, 64, 112, 112), (64, 256, 56, 56), (64, 128, 56, 56))  # what ResNet-50 selects from
LAYOUTS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}
SIZE = 224


def network(name: str) -> nn.Module:
    """Random weights, calibrated; what is trained gets BatchNorms that compilers know."""
    model = segmenter("DeepLabV3Plus", "resnet18", (SIZE, SIZE)) if name == "deeplabv3plus" else calibrated(name)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1
    return model


def versions(name: str) -> dict[str, nn.Module]:
    plain, x = network(name), torch.randn(2, 3, SIZE, SIZE)
    frame = mass.convert(plain, x, origin="zero", verify=False)
    return {"plain": plain, "circular padding": frame, "MASS": mass.convert(plain, x, verify=False)}


def milliseconds(steps: dict[str, Callable[[], object]], rounds: int, repeated: int = 4) -> dict[str, list[float]]:
    """Times of one call, the device's own clock, taken in turns."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 3):
        for name, step in steps.items():
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            for _ in range(repeated):
                step()
            last.record()
            last.synchronize()
            if turn >= 3:
                times[name].append(first.elapsed_time(last) / repeated)
    return times


def rows(times: dict[str, list[float]], against: str, **fields: object) -> Iterator[Record]:
    """Medians, quartiles and ratios of what was timed together."""
    reference = statistics.median(times[against])
    for method, values in times.items():
        low, median, high = statistics.quantiles(values, n=4)
        yield {"method": method, **fields, "seed": 0, "milliseconds": median, "ratio": median / reference,
               "quartile_low": low, "quartile_high": high, "rounds": len(values)}  # fmt: skip


def peak(step: Callable[[], object]) -> float:
    """Megabytes that one call allocates at most."""
    step()
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    return (torch.cuda.max_memory_allocated() - before) / 1e6


def forward(name: str, batch: int, rounds: int) -> Iterator[Record]:
    x = torch.randn(batch, 3, SIZE, SIZE, device="cuda", dtype=torch.bfloat16)
    x = x.contiguous(memory_format=torch.channels_last)
    steps, memory = {}, {}
    with torch.no_grad():
        for method, model in versions(name).items():
            model = model.cuda().eval().to(torch.bfloat16).to(memory_format=torch.channels_last)
            memory[method] = peak(lambda model=model: model(x))
            compiled = torch.compile(model, mode="reduce-overhead", fullgraph=True)
            steps[method] = lambda compiled=compiled: compiled(x)
        times = milliseconds(steps, rounds)
    for row in rows(times, "plain", net=name, stage="forward", batch=batch, size=SIZE, dtype="bfloat16"):
        yield row | {"memory_ratio": memory[row["method"]] / memory["plain"]}


def training(name: str, batch: int, rounds: int) -> Iterator[Record]:
    x = torch.randn(batch, 3, SIZE, SIZE, device="cuda").contiguous(memory_format=torch.channels_last)
    steps, memory = {}, {}
    for method, model in versions(name).items():
        if method == "circular padding":
            continue
        model = model.cuda().train().to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(model.parameters(), 1e-6, 0.9, fused=True)

        def step(model: Callable[[Tensor], Tensor], optimizer: torch.optim.Optimizer = optimizer) -> None:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cuda", torch.bfloat16):
                output = model(x)
            output.float().square().mean().backward()
            optimizer.step()

        memory[method] = peak(lambda model=model, step=step: step(model))
        compiled = torch.compile(model)
        steps[method] = lambda compiled=compiled, step=step: step(compiled)
    for row in rows(milliseconds(steps, rounds), "plain", net=name, stage="training", batch=batch, size=SIZE, dtype="bfloat16"):  # fmt: skip
        yield row | {"memory_ratio": memory[row["method"]] / memory["plain"]}


def bandwidth(rounds: int) -> Iterator[Record]:
    """Selecting origins beside a copy of the same map, both replayed from CUDA graphs."""
    for shape in MAPS:
        for layout, memory_format in LAYOUTS.items():
            x = torch.randn(shape, device="cuda", dtype=torch.bfloat16).contiguous(memory_format=memory_format)
            y, steps = torch.empty_like(x), {}
            operations = {"copy": lambda x=x, y=y: y.copy_(x), "selection": lambda x=x: mass.select_origin(x, 2)}
            for name, operation in operations.items():
                operation()
                torch.cuda.synchronize()
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    operation()
                steps[name] = graph.replay
            shown = f"{'x'.join(map(str, shape))}, {layout}"
            yield from rows(milliseconds(steps, rounds), "copy", stage="bandwidth", layer=shown, dtype="bfloat16")


def exactness(name: str) -> Iterator[Record]:
    """Which images keep all bits under a random shift each, by precision, layout and setting."""
    x = torch.randn(8, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).cuda()
    by = torch.randint(SIZE, (8, 2), generator=torch.Generator().manual_seed(1)).cuda()
    plain = network(name)
    converted = mass.convert(plain, x[:2].cpu(), verify=False).cuda().eval()
    settings = [
        (p, layout, s) for p in ("float32", "tf32", "bfloat16", "float16") for layout in LAYOUTS for s in ("eager",)
    ]
    settings += [("float32", "channels last", "deterministic"), ("bfloat16", "channels last", "compiled"),
                 ("tf32", "channels last", "compiled"), ("float32", "channels last", "compiled")]  # fmt: skip
    for precision, layout, setting in settings:
        dtype = torch.float32 if precision == "tf32" else getattr(torch, precision)
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.deterministic = setting == "deterministic"
        model = copy.deepcopy(converted).to(dtype).to(memory_format=LAYOUTS[layout])
        images = x.to(dtype).contiguous(memory_format=LAYOUTS[layout])
        with torch.no_grad():
            run = torch.compile(model, fullgraph=True) if setting == "compiled" else model
            expected = run(images).clone()
            moved = run(mass.shift(images, by))
            moved = mass.restore(moved, by) if moved.ndim == 4 else moved
            took = statistics.median(milliseconds({"": lambda run=run, images=images: run(images)}, 5)[""])
        same = (moved == expected).flatten(1).all(1)
        worst = ((moved - expected).abs().max() / expected.abs().max()).item()
        yield {"net": name, "method": "MASS", "stage": "exactness", "layer": layout, "input": setting, "dtype": precision,
               "batch": 8, "size": SIZE, "seed": 0, "identical": int(same.sum()), "n": len(same),
               "max_relative_difference": worst, "milliseconds": took}  # fmt: skip
    torch.backends.cudnn.deterministic = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=["bandwidth", "forward", "training", "exactness"])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--batch", type=int, nargs="+", default=[64])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("There is no GPU here: `make bench` measures on the CPU.")
    folder: Path = find_root() / "runs" / "bench" / "gpu"
    (folder / "records").mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    facts = {"notebook": "speed", "profile": "bench", "seed": 0} | provenance(find_root())

    def measured() -> Iterator[Record]:
        if "bandwidth" in options.parts:
            yield from bandwidth(options.rounds)
        for name in options.networks:
            for batch in options.batch:
                if "forward" in options.parts:
                    yield from forward(name, batch, options.rounds)
                if "training" in options.parts:
                    yield from training(name, batch, options.rounds)
            if "exactness" in options.parts:
                yield from exactness(name)
            torch.compiler.reset()

    for row in measured():
        record = make_record(row)
        write_json(folder / "records" / f"{record_name(record)}.json", record | facts)
        what = " ".join(str(row.get(key, "")) for key in ("net", "method", "stage", "layer", "input", "dtype"))
        found = (
            f"{row['identical']}/{row['n']} {row['max_relative_difference']:.1e}"
            if "identical" in row
            else f"{row['ratio']:.2f}"
        )
        print(f"{what:75} {found} ({row['milliseconds']:.3f} ms) memory {row.get('memory_ratio', 0):.2f}", flush=True)
    took = {"seconds": round(time.monotonic() - started, 1), "peak_memory_mb": peak_memory_mb()}
    write_json(folder / "provenance.json", facts | took)


if __name__ == "__main__":
    main()
