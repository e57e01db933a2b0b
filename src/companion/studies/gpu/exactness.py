"""Which networks keep all bits under circular shifts, by precision and layout; what breaks, and what restores it.

A cell is a network in one precision and layout at one size: 8 images, several rounds of a random shift each. Where bits
break, each convolution is asked alone, on what it reads in the network, whether it rounds by position, and the kernels of
those that do are named; then settings are tried in turn until one restores the bits.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

import mass
from companion.data.generated.hard_images import awkward_images, centred_photograph
from companion.studies.gpu.arithmetic import arithmetic
from companion.studies.gpu.contest import Calls, Tell
from companion.studies.gpu.speed import LAYOUTS, network
from mass.nn.conv import CircularConv2d

# Of most use first.
CELLS = (
    ("bfloat16", "channels last"),
    ("float32", "channels last"),
    ("float32", "channels first"),
    ("tf32", "channels last"),
    ("float16", "channels last"),
    ("bfloat16", "channels first"),
    ("tf32", "channels first"),
    ("float16", "channels first"),
)
SETTINGS = ("cudnn.deterministic", "cudnn.benchmark", "no cudnn")
_MOST_NAMED = 4  # convolutions whose kernels are named


def images(count: int, height: int, width: int) -> Tensor:
    """Crops of two photographs, every second one mirrored, (count, 3, height, width)."""
    generator = torch.Generator().manual_seed(0)
    photos = [centred_photograph(height + 32, width + 32, which) for which in (0, 1)]
    crops = []
    for n in range(count):
        i, j = torch.randint(33, (2,), generator=generator).tolist()
        crop = photos[n % 2][..., i : i + height, j : j + width]
        crops.append(crop.flip(3) if n // 2 % 2 else crop)
    return torch.cat(crops)


def identical(model: Callable[[Tensor], Tensor], x: Tensor, rounds: int) -> dict[str, Any]:
    """How many images x shifts keep all bits of their logits, and the largest difference over the largest logit."""
    generator = torch.Generator().manual_seed(1)
    expected, same, worst = model(x).clone(), 0, 0.0
    for _ in range(rounds):
        by = torch.stack([torch.randint(n, (len(x),), generator=generator) for n in x.shape[2:]], 1).to(x.device)
        moved = model(mass.shift(x, by))
        same += int((moved == expected).all(1).sum())
        worst = max(worst, ((moved - expected).abs().max() / expected.abs().max()).item())
    return {"identical": same, "n": rounds * len(x), "max_relative_difference": worst}


def _kernel(conv: CircularConv2d, arguments: tuple[Any, ...]) -> str:
    """The longest kernel of a convolution, by its name."""
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        conv(*arguments)
        torch.cuda.synchronize()
    events = [e for e in found.key_averages() if not e.key.startswith(("_wrap", "Memcpy", "Memset"))]
    return max(events, key=lambda e: e.device_time_total).key[:120] if events else "not seen"


def breaks(model: nn.Module, x: Tensor) -> str:
    """The convolutions that round by position, each asked alone on what it reads in the network."""
    reads: dict[str, tuple[Tensor, ...]] = {}
    hooks = [
        module.register_forward_pre_hook(lambda _, arguments, name=name: reads.setdefault(name, arguments) and None)
        for name, module in model.named_modules()
        if isinstance(module, CircularConv2d)
    ]
    model(x)
    for hook in hooks:
        hook.remove()
    found: dict[str, str] = {}
    for name, (read, *origin) in reads.items():
        conv: Any = model.get_submodule(name)
        by = torch.tensor([conv.stride], device=x.device) * torch.arange(1, len(x) + 1, device=x.device)[:, None]
        # Moved by multiples of the stride, its output moves by as many positions, from the same origin.
        moved = mass.restore(conv(mass.shift(read, by), *origin), by // by.new_tensor(conv.stride))
        if torch.equal(moved, conv(read, *origin)):
            continue
        what = (
            f"{'x'.join(map(str, conv.kernel_size))} / {conv.stride[0]}, {conv.in_channels} to {conv.out_channels}"
            f"{f', {conv.groups} groups' if conv.groups > 1 else ''}, at {read.shape[2]}x{read.shape[3]}"
        )
        if what not in found:
            named = x.is_cuda and len(found) < _MOST_NAMED
            found[what] = f"{what}: {_kernel(conv, (read, *origin))}" if named else what
    if not found:
        return "no convolution alone"
    return "; ".join(list(found.values())[:_MOST_NAMED]) + f"; {len(found)} kinds in all"


def _breaks(model: nn.Module, x: Tensor) -> str:
    """`breaks`, or why it cannot say: a profiler that fails must not end the measurement."""
    try:
        return breaks(model, x)
    except RuntimeError as error:
        return f"not found out: {error}"[:200]


def measure(given: dict[str, Any], tell: Tell) -> Calls:
    """All cells of one network; what it leaves to be timed is each cell at the first size, and what restored it."""
    torch.set_num_threads(1)
    device, rounds = given["device"], given["rounds"]
    converted = network(given["net"], "MASS", 64).to(device)
    calls: dict[str, Callable[[], object]] = {}
    for height, width in given["sizes"]:
        x = images(given["batch"], height, width).to(device)
        for precision, layout in given["cells"]:
            dtype = torch.float32 if precision == "tf32" else getattr(torch, precision)
            model: Any = copy.deepcopy(converted)
            model = model.to(dtype=dtype, memory_format=LAYOUTS[layout])
            read = x.to(dtype).contiguous(memory_format=LAYOUTS[layout])

            def call(
                setting: str = "", model: nn.Module = model, read: Tensor = read, precision: str = precision
            ) -> Tensor:
                with torch.no_grad(), arithmetic(precision, setting):
                    return model(read)

            first = (height, width) == tuple(given["sizes"][0])
            fields = {"dtype": precision, "layer": layout, "size": f"{height}x{width}"}
            with torch.no_grad(), arithmetic(precision):
                found = identical(model, read, rounds)
                broken = found["identical"] < found["n"]
                tell(fields | {"input": "eager"} | found | ({"breaks": _breaks(model, read)} if broken else {}))
            name = f"{precision}, {layout}"
            if first:
                calls[f"{name}, eager"] = call
            if not broken:
                continue
            for setting in SETTINGS:
                with torch.no_grad(), arithmetic(precision, setting):
                    found = identical(model, read, rounds)
                tell(fields | {"input": setting} | found)
                if found["identical"] == found["n"]:
                    if first:
                        calls[f"{name}, {setting}"] = partial(call, setting)
                    break
    return calls


def measure_settings(given: dict[str, Any], tell: Tell) -> Calls:
    """The same of a network as the machine is and inside `mass.exact`: of photographs, and of images that are built to tie.

    What it leaves to be timed are passes of the photographs: calls '<precision>, <layout>, <setting>'.
    """
    torch.set_num_threads(1)
    device, (height, width) = given["device"], given["size"]
    converted = network(given["net"], "MASS", 64).to(device)
    inputs = {
        "photographs": images(given["batch"], height, width),
        "awkward images": torch.cat(list(awkward_images(height, width).values())),
    }
    calls: dict[str, Callable[[], object]] = {}
    for precision, layout in given["cells"]:
        model: Any = copy.deepcopy(converted)
        model = model.to(dtype=getattr(torch, precision), memory_format=LAYOUTS[layout])
        settings: dict[str, Any] = {"as it is": nullcontext, "mass.exact": mass.exact}
        for setting, context in settings.items():
            for name, x in inputs.items():
                read = x.to(device, getattr(torch, precision)).contiguous(memory_format=LAYOUTS[layout])

                def call(
                    model: nn.Module = model, read: Tensor = read, precision: str = precision, context: Any = context
                ) -> Tensor:
                    with torch.no_grad(), arithmetic(precision), context():
                        return model(read)

                with torch.no_grad(), arithmetic(precision), context():
                    found = identical(model, read, given["rounds"])
                tell(
                    {
                        "dtype": precision,
                        "layer": layout,
                        "size": f"{height}x{width}",
                        "input": name,
                        "setting": setting,
                    }
                    | found
                )
                if name == "photographs":
                    calls[f"{precision}, {layout}, {setting}"] = call
    return calls
