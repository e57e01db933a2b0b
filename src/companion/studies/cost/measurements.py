"""What exactness costs (notebook 12): bytes counted from shapes, beside times measured in the same run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from statistics import median, quantiles
from typing import Any

import pandas as pd
import torch
from torch import Tensor, fx

import mass
from companion.measures.timing import medians, milliseconds
from companion.models.random_weights import calibrated
from mass import native
from mass.errors import as_pair
from mass.functional.padding import circular_pad, sample, window_pads
from mass.nn.conv import CircularConv2d
from mass.nn.graph.alignment import Restore, SelectOrigin, Shift
from mass.nn.pooling import CircularAvgPool2d, CircularMaxPool2d

ENERGY_OPERATIONS = 6  # per element: |x| and its maximum; scaled, rounded, squared, added
_LARGER_THAN_CACHES = 1 << 25  # floats
# What was done, in this order, and by which compiled kernel; each step keeps those before it.
STEPS = {
    "PyTorch": None,
    "selection": "origins",
    "copies": "wrap",
    "means": "exact_mean",
    "pooling": "max_pool",
    "depthwise": "depthwise",
}


def bandwidth(rounds: int = 15) -> float:
    """Megabytes per millisecond that a plain copy reads and writes: what bytes are turned into times with."""
    x = torch.rand(8, 64, 112, 112)
    return 2 * x.nbytes / 1e6 / medians({"copy": x.clone}, rounds)["copy"]


def energy_pass(shape: Sequence[int], rounds: int) -> pd.DataFrame:
    """Selection on one map by PyTorch and by the compiled kernels, beside passes that do nothing but read or copy it.

    The map lies in memory, and in no cache, when each of them begins.
    """
    x, other = torch.randn(*shape), torch.zeros(_LARGER_THAN_CACHES)
    copied = torch.empty_like(x)

    def reference() -> None:
        with native.reference():
            mass.select_origin(x, 2)

    calls: dict[str, Callable[[], object]] = {"selection, PyTorch": reference}
    if native.kernels() is not None:
        calls["selection, compiled"] = lambda: mass.select_origin(x, 2)
    calls |= {"a sum (one reading)": x.sum, "a copy (reads, writes)": lambda: copied.copy_(x)}
    found = medians(calls, rounds, before=lambda: other.add_(1))
    moved = {name: x.nbytes * (2 if "copy" in name else 1) / 1e6 for name in calls}
    rows = [
        {"": name, "ms": found[name], "least MB": moved[name], "MB per ms": moved[name] / found[name]} for name in calls
    ]
    return pd.DataFrame(rows).set_index("")


class _Parts(fx.Interpreter):
    """Runs a converted network and notes, for all that conversion put in, its bytes, operations and time."""

    def __init__(self, model: fx.GraphModule, rounds: int) -> None:
        super().__init__(model)
        self.rounds, self.rows = rounds, list[dict]()

    def call_module(self, target, args, kwargs):  # type: ignore[no-untyped-def]
        module = self.fetch_attr(target)
        kind = type(module)
        if kind is SelectOrigin:
            work = ENERGY_OPERATIONS * args[0].numel()
            self._note("selection", args[0].nbytes, work, lambda: module(*args))
        elif kind in (CircularConv2d, CircularMaxPool2d, CircularAvgPool2d):
            self._border(module, *args)
        elif kind in (Shift, Restore):
            self._note("shift", 2 * args[0].nbytes, 0, lambda: module(*args))
        return super().call_module(target, args, kwargs)

    def _border(self, module: Any, x: Tensor, origin: Tensor | None = None) -> None:
        dilation = getattr(module, "dilation", 1)
        pads = window_pads(module.kernel_size, module.stride, module.padding, dilation, module.before)
        depthwise = getattr(module, "groups", 1) == x.shape[1] > 1
        if native.kernels() is not None and (depthwise or type(module) is CircularMaxPool2d):
            return  # reads the map where it lies
        if origin is not None and as_pair(module.kernel_size) == (1, 1) and not any(pads):
            stride = as_pair(module.stride)
            self._note("shift, sampled", 2 * x.nbytes // (stride[0] * stride[1]), 0, lambda: sample(x, stride, origin))
        elif any(pads) or origin is not None:
            out = circular_pad(x, pads, origin)
            part = "shift and border" if origin is not None else "border"
            self._note(part, x.nbytes + out.nbytes, 0, lambda: circular_pad(x, pads, origin))

    def _note(self, part: str, moved: int, operations: int, call: Callable[[], object]) -> None:
        with torch.no_grad():
            found = milliseconds({part: call}, self.rounds)[part]
        self.rows.append({"part": part, "MB": moved / 1e6, "million operations": operations / 1e6, "times": found})


def parts(name: str, size: int, batch: int, rounds: int) -> pd.DataFrame:
    """Per part of a converted network: how often, bytes, operations, and the time predicted from the bytes and measured.

    Measured: the median over rounds of what all calls of a part took in one; low and high: the quartiles.
    """
    x = torch.randn(batch, 3, size, size)
    model: Any = mass.convert(calibrated(name), x[:1], verify=False)
    interpreter = _Parts(model, rounds)
    with torch.no_grad():
        interpreter.run(x)
    by_part = pd.DataFrame(interpreter.rows).groupby("part")
    table = by_part[["MB", "million operations"]].sum()
    table.insert(0, "times", by_part.size())
    of_rounds = by_part["times"].agg(lambda calls: quantiles([sum(one) for one in zip(*calls, strict=True)], n=4))
    for k, column in enumerate(("low ms", "measured ms", "high ms")):
        table[column] = [found[k] for found in of_rounds]
    table["predicted ms"] = table["MB"] / bandwidth()
    return table


def changes(name: str, size: int, batch: int, rounds: int) -> list[dict[str, Any]]:
    """Forward time over the plain network's, after each of `STEPS`; all in one run. Without a compiler only the first.

    Returns:
        Of each step net, method, and ratio, of medians; ratio_low and ratio_high, the quartiles of the ratios within a round.
    """
    plain, x = calibrated(name), torch.randn(batch, 3, size, size)
    circular, converted = (mass.convert(plain, x[:1], origin=o, verify=False) for o in ("zero", "l2"))
    steps = list(STEPS) if native.kernels() is not None else ["PyTorch"]

    def after(step: str) -> Callable[[], object]:
        to_come = [kernel for kernel in list(STEPS.values())[steps.index(step) + 1 :] if kernel]

        def call() -> None:
            with native.reference(*to_come) if to_come else nullcontext():
                converted(x)

        return call

    calls: dict[str, Callable[[], object]] = {"plain": lambda: plain(x), "circular padding alone": lambda: circular(x)}
    with torch.no_grad():
        times = milliseconds(calls | {step: after(step) for step in steps}, rounds)
    rows = []
    for method in ("circular padding alone", *steps):
        low, _, high = quantiles([a / b for a, b in zip(times[method], times["plain"], strict=True)], n=4)
        ratio = median(times[method]) / median(times["plain"])
        rows.append({"net": name, "method": method, "ratio": ratio, "ratio_low": low, "ratio_high": high})
    return rows


def growth(sides: Sequence[int], batches: Sequence[int], strides: Sequence[int], rounds: int) -> pd.DataFrame:
    """Selection and shift of 16 channels as the side, the batch and the stride grow: predicted, and measured.

    Predicted: the cost of a call (that on the smallest map), and one and a half copies of the map, timed in turns with it:
    its bytes are at least a reading for the selection, a reading and a writing for the shift.

    Returns:
        Columns axis, n; predicted and measured, medians in milliseconds; low and high, the quartiles of what was measured.
    """
    side, batch = 64, 8
    cases = [("image side", n, (1, n, 2)) for n in sides] + [("batch", n, (n, side, 2)) for n in batches]
    cases += [("stride", n, (batch, 4 * side, n)) for n in strides]

    def cost(images: int, size: int, stride: int) -> tuple[list[float], float]:
        x = torch.randn(images, 16, size, size)
        calls = {"call": lambda: mass.shift(x, mass.select_origin(x, stride)), "copy": x.clone}
        with torch.no_grad():
            times = milliseconds(calls, rounds)
        return quantiles(times["call"], n=4), 1.5 * median(times["copy"])

    fixed = cost(1, 2, 2)[0][1]
    rows = []
    for axis, n, case in cases:
        (low, middle, high), moved = cost(*case)
        rows.append({"axis": axis, "n": n, "predicted": fixed + moved, "measured": middle, "low": low, "high": high})
    return pd.DataFrame(rows)
