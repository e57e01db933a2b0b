"""The zoo's census: which networks in use convert, and are then exactly equivariant.

    make census                                             # hours on 2 cores; resumable
    python -m companion.studies.zoo.census --models timm/vgg11 torchvision/swin_t --jobs 2
    python -m companion.studies.zoo.census --families                     # of torchvision, the smallest member of each family
    python -m companion.studies.zoo.census --models torchvision.video/r3d_18

For each network of `companion.studies.zoo.members`: does it convert (verified in float64, node by node) or why not, how many of its
operations have a period and how many origins they share, and does its output for a photograph stay the same, bit by
bit, under random circular shifts, in float32 and bfloat16. Each network runs in a process of its own, its time and
memory bounded. One record a network in runs/bench/zoo/records; what is there already is not measured again.
`make publish PROFILE=bench` writes results/zoo.json.
"""

from __future__ import annotations

import argparse
import copy
import math
import multiprocessing
import os
import resource
import time
import traceback
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")  # before torch is loaded

import timm
import torch
import torchvision
from torch import Tensor, nn

import mass
from companion.core.files import write_json
from companion.core.paths import find_root
from companion.core.provenance import peak_memory_mb, provenance
from companion.core.records import make_record, read_records, record_name
from companion.data.generated.hard_images import centred_photograph, film
from companion.measures.shifts import random_shifts
from companion.models.random_weights import calibrate, vary_constants
from companion.studies.zoo.members import VIDEO, Member, timm_members, torchvision_members, video_members
from mass.nn.conv import CircularConv2d
from mass.nn.graph.alignment import SelectOrigin, Shift
from mass.nn.pooling import CircularAvgPool2d, CircularMaxPool2d

SMALL = ((64, 96), (128, 192), (192, 192))  # tried first: cheap, and hard for kernels; else the network's own size
SHIFTS = 4
FRAMES = 16  # of a video: what torchvision's networks take
WINDOWS = (CircularConv2d, CircularMaxPool2d, CircularAvgPool2d)


def build(member: Member) -> nn.Module:
    """The network with random weights, in which nothing is constant that was made so; in eval mode."""
    torch.manual_seed(0)
    if member.library == "timm":
        model = timm.create_model(member.model, pretrained=False)
    else:
        options = {"init_weights": True} if member.model in ("googlenet", "inception_v3") else {}
        model = torchvision.models.get_model(member.model, weights=None, **options)
    return vary_constants(model).eval()


def is_video(member: Member) -> bool:
    return member.library == VIDEO


def example(member: Member, size: tuple[int, int]) -> Tensor:
    """A photograph, or a video of one."""
    return film(*size, FRAMES) if is_video(member) else centred_photograph(*size)


def calibrated(member: Member, model: nn.Module, size: tuple[int, int]) -> nn.Module:
    """With the statistics of photographs of this size in its batch normalisations, if it has any."""
    if not any(isinstance(m, nn.BatchNorm2d | nn.BatchNorm3d) for m in model.modules()):
        return model
    films = torch.cat([film(*size, FRAMES, which) for which in (0, 1)]) if is_video(member) else None
    return calibrate(copy.deepcopy(model), size, films)


def sizes(member: Member, model: Any) -> Iterator[tuple[int, int]]:
    """Sizes to try: small ones, the network's own, the next that 32 divides."""
    yield from SMALL
    if member.library == "timm":
        own = model.default_cfg["input_size"][1]
    else:
        own = 299 if member.model == "inception_v3" else 112 if member.module == "video.resnet" else 224
    yield own, own
    if own % 32:
        yield -(-own // 32) * 32, -(-own // 32) * 32


def runs_on(model: nn.Module, x: Tensor) -> bool:
    """Whether the network itself takes images of this size."""
    try:
        with torch.no_grad():
            model(x)
    except Exception:  # noqa: BLE001 - networks say so in many ways
        return False
    return True


def head(member: Member) -> dict:
    """What a record says of a network before it is measured."""
    name = f"{member.library}/{member.model}"
    return {"model": name, "library": member.library, "module": member.module, "kind": member.kind, "seed": 0, "converts": False}  # fmt: skip


def measure(member: Member) -> dict:
    """One row of the census."""
    started = time.monotonic()
    row = head(member)
    plain, reason = build(member), "the network takes no image of any size that was tried"
    for size in sizes(member, plain):
        x = example(member, size)
        if not runs_on(plain, x):
            continue
        try:
            converted: Any = mass.convert(calibrated(member, plain, size), x)
        except mass.NotEquivariantError as refusal:
            reason = str(refusal)
            continue
        except (RuntimeError, ValueError) as error:
            if "calibrated" not in {frame.name for frame in traceback.extract_tb(error.__traceback__)}:
                raise
            continue  # in training, which calibration needs, it takes no image as small as this
        reason = ""
        nodes = list(converted.graph.nodes)
        modules = {n: converted.get_submodule(str(n.target)) for n in nodes if n.op == "call_module"}
        moved = {user for n, m in modules.items() if type(m) is Shift for user in n.users}
        moved |= {
            n for n, m in modules.items() if type(m) in WINDOWS and len(n.args) > 1
        }  # windows that shift themselves
        origins = [m for m in modules.values() if isinstance(m, SelectOrigin)]
        row |= {
            "converts": True,
            "input_size": f"{size[0]}x{size[1]}",
            "total_stride": "x".join(map(str, converted.total_stride)),
            "operations": len(moved),
            "origins": len(origins),
            "whole_map": sum(m.cells == (1, 1) for m in origins),
        }
        row |= compare(converted, x)
        break
    return row | {"reason": reason, "took": round(time.monotonic() - started, 1), "memory_mb": peak_memory_mb()}


def compare(converted: nn.Module, x: Tensor) -> dict:
    """Per dtype: whether all shifts leave all bits, and the largest change as a share of the largest output."""
    shifts = random_shifts((x.shape[-2], x.shape[-1]), SHIFTS)
    found: dict = {"shifts": SHIFTS}
    for name in ("float32", "bfloat16"):
        dtype = getattr(torch, name)
        try:
            with torch.no_grad():
                y = converted.to(dtype)(x.to(dtype))
            y = y[0] if isinstance(y, tuple | list) else y
            certificate = mass.certify(converted, x.to(dtype), shifts)
        except RuntimeError as error:  # networks that cast in forward do not run in every dtype
            found[f"not_run_{name}"] = str(error).splitlines()[0][:200]
            continue
        found[f"identical_{name}"] = bool(certificate.identical.all())
        difference = certificate.max_difference.max().item() / y.double().abs().max().item()
        found[f"max_relative_difference_{name}"] = -1.0 if math.isnan(difference) else difference
    return found


def in_a_process(member: Member, seconds: int, gigabytes: int) -> dict:
    """`measure` in a forked process, which has everything imported; what stops it becomes the reason."""
    receive, send = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_child, args=(send, member, gigabytes))
    process.start()
    send.close()
    row = head(member) | {"took": seconds}
    try:
        if receive.poll(seconds):
            return receive.recv()
        process.kill()
        return row | {"reason": f"not measured: it took more than {seconds} s"}
    except EOFError:
        process.join()
        return row | {"reason": f"not measured: its process ended with {process.exitcode}"}
    finally:
        process.join()


def _child(send: Connection, member: Member, gigabytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (gigabytes << 30, gigabytes << 30))
    try:
        send.send(make_record(measure(member)))
    except Exception as error:  # noqa: BLE001 - a bug, or out of memory: it belongs in the record
        traceback.print_exc()
        said = (str(error).splitlines() or [""])[0][:300]
        send.send(head(member) | {"took": 0.0, "reason": f"failed: {type(error).__name__}: {said}"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", help="library/name; by default all")
    parser.add_argument("--families", action="store_true", help="of torchvision, the smallest member of each family")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=600, help="for each network")
    parser.add_argument("--gigabytes", type=int, default=16, help="of address space, for each network")
    options = parser.parse_args()
    warnings.simplefilter("ignore", mass.CoordinatesWarning)
    root = find_root()
    folder: Path = root / "runs" / "bench" / "zoo"
    (folder / "records").mkdir(parents=True, exist_ok=True)
    facts = {"notebook": "zoo", "profile": "bench", "seed": 0} | provenance(root)
    members = [*torchvision_members(every=not options.families), *video_members(), *timm_members()]
    if options.models:
        members = [m for m in members if f"{m.library}/{m.model}" in options.models]

    def visit(member: Member) -> None:
        name = record_name({"model": f"{member.library}/{member.model}", "seed": 0})
        path = folder / "records" / f"{name}.json"
        if path.exists():
            return
        row = in_a_process(member, options.seconds, options.gigabytes)
        write_json(path, row | facts)  # a later run goes on where this one stopped, perhaps with other code
        bits = "/".join(str(row.get(f"identical_{d}", "-")) for d in ("float32", "bfloat16"))
        print(f"{row['model']:45} {row['converts']!s:6} {bits:12} {row.get('input_size', ''):8} {row['took']:6.1f} s  "
              f"{row['reason'][:160]}", flush=True)  # fmt: skip

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(visit, members))
    records = read_records(folder / "records")
    sums = {
        "seconds": round(sum(r["took"] for r in records), 1),
        "peak_memory_mb": max(r.get("memory_mb", 0) for r in records),
    }
    write_json(folder / "provenance.json", facts | sums)


if __name__ == "__main__":
    main()
