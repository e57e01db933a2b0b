"""Time and memory of MASS beside the plain network, and the bandwidth of its selection.

Forward passes are bfloat16, channels last; compiled ones are one CUDA graph. A training step is forward, backward and SGD
in automatic mixed precision, compiled, one graph. Each network and variant prepares in a process of its own
(companion.studies.gpu.contest) and they are timed in turns.
"""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

import mass
from companion.models.random_weights import calibrated
from companion.studies.gpu.arithmetic import arithmetic
from companion.studies.gpu.contest import Calls, Tell
from mass import native
from mass.baselines.aps import convert_to_aps

LAYOUTS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}
MAPS = ((64, 64, 112, 112), (64, 256, 56, 56), (64, 128, 56, 56))  # what ResNet-50 selects from
VARIANTS = ("plain", "circular padding", "MASS", "APS")


def network(name: str, variant: str, size: int) -> nn.Module:
    """A torchvision network with random weights, calibrated, as one of `VARIANTS`; on the CPU, in eval mode."""
    with native.reference():  # nothing is measured here: the compiled kernels need not be built
        model = calibrated(name)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.1  # what compilers know
        x = torch.randn(2, 3, size, size)
        if variant == "APS":
            return convert_to_aps(model, x)
        if variant == "plain":
            return model
        return mass.convert(model, x, origin="l2" if variant == "MASS" else "zero", verify=False)


def replayed(operation: Callable[[], object], device: str) -> Callable[[], object]:
    """The operation without what calling it costs: as a CUDA graph, where there is CUDA."""
    if device == "cpu":
        return operation
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            operation()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        operation()

    def replay(_kept: Callable[[], object] = operation) -> None:  # what it reads must not be freed
        graph.replay()

    return replay


def peak(call: Callable[[], object], device: str) -> float | None:
    """Megabytes that one call allocates at most on a GPU."""
    if device == "cpu":
        return None
    call()
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 1e6


def _settle(given: dict[str, Any]) -> None:
    """A process among many: few threads, and of Inductor's compiling processes too."""
    torch.set_num_threads(1)
    if given.get("compiled"):
        import torch._inductor.config as inductor  # seconds, where nothing is compiled

        inductor.compile_threads = 2


def forward(given: dict[str, Any], tell: Tell) -> Calls:
    """Forward passes of one variant of a network: eager, and compiled if so given."""
    _settle(given)
    device, size = given["device"], given["size"]
    model: Any = network(given["net"], given["variant"], size)
    model = model.to(device, torch.bfloat16, memory_format=torch.channels_last).eval()
    x = torch.randn(given["batch"], 3, size, size, device=device, dtype=torch.bfloat16)
    x = x.contiguous(memory_format=torch.channels_last)

    def eager() -> object:
        with torch.no_grad():
            return model(x)

    tell({"memory_mb": peak(eager, device)})
    calls = {"eager": eager}
    if given["compiled"]:
        with torch.no_grad():
            compiled = torch.compile(model, fullgraph=True, dynamic=False)
            if given["variant"] == "MASS":
                tell({"exact": _moves_along(compiled, x)})
            calls["compiled"] = replayed(lambda: compiled(x), device)
    else:
        calls["eager"]()
    return calls


def rates(given: dict[str, Any], tell: Tell) -> Calls:
    """Eager forward passes of a network, channels last, by precision and variant: calls '<precision>, <variant>'."""
    _settle(given)
    device, size = given["device"], given["size"]
    x = torch.randn(given["batch"], 3, size, size, device=device).contiguous(memory_format=torch.channels_last)

    def call(model: nn.Module, read: torch.Tensor, precision: str) -> object:
        with torch.no_grad(), arithmetic(precision):
            return model(read)

    calls: dict[str, Callable[[], object]] = {}
    for variant in given["variants"]:
        converted = network(given["net"], variant, size)
        for precision in given["precisions"]:
            dtype = torch.float32 if precision == "tf32" else getattr(torch, precision)
            model: Any = copy.deepcopy(converted)
            model = model.to(device, dtype, memory_format=torch.channels_last)
            calls[f"{precision}, {variant}"] = partial(call, model, x.to(dtype), precision)
    return calls


def _moves_along(compiled: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> dict[str, Any]:
    """Of a compiled classifier: how many images keep all bits of their logits under a random shift each."""
    by = torch.randint(x.shape[2], (len(x), 2), generator=torch.Generator().manual_seed(1)).to(x.device)
    expected = compiled(x).clone()
    moved = compiled(mass.shift(x, by))
    worst = ((moved - expected).abs().max() / expected.abs().max()).item()
    return {"identical": int((moved == expected).all(1).sum()), "n": len(x), "max_relative_difference": worst}


def training(given: dict[str, Any], tell: Tell) -> Calls:
    """A training step of one variant of a network: forward, backward, SGD."""
    _settle(given)
    device, size = given["device"], given["size"]
    model: Any = network(given["net"], given["variant"], size)
    model = model.to(device, memory_format=torch.channels_last).train()
    x = torch.randn(given["batch"], 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(given["batch"], device=device) % 1000
    optimizer = torch.optim.SGD(model.parameters(), 1e-6, 0.9, fused=device != "cpu")
    running = torch.compile(model, fullgraph=True, dynamic=False) if given["compiled"] else model

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(torch.device(device).type, torch.bfloat16, cache_enabled=False):
            output = running(x)
        nn.functional.cross_entropy(output.float(), labels).backward()
        optimizer.step()

    step()
    tell({"memory_mb": peak(step, device)})
    return {"compiled" if given["compiled"] else "eager": replayed(step, device)}


def bandwidth(given: dict[str, Any], tell: Tell) -> Calls:
    """Selecting origins beside a copy of the same map: calls '<map>, <layout>: copy' and '…: selection'."""
    _settle(given)
    calls: dict[str, Callable[[], object]] = {}
    for shape in given["maps"]:
        for layout, memory_format in LAYOUTS.items():
            x = torch.randn(shape, device=given["device"], dtype=torch.bfloat16).contiguous(memory_format=memory_format)
            y = torch.empty_like(x)
            what = f"{'x'.join(map(str, shape))}, {layout}"
            calls[f"{what}: copy"] = replayed(partial(y.copy_, x), given["device"])
            calls[f"{what}: selection"] = replayed(partial(mass.select_origin, x, 2), given["device"])
    return calls
