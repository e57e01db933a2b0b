"""Times that may be compared: calls take turns in one run, since a machine's speed drifts by more than they differ."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

Times = dict[str, list[float]]


def milliseconds(
    calls: Mapping[str, Callable[[], object]],
    rounds: int,
    device: str = "cpu",
    warmup: int = 2,
    repeated: int = 1,
    before: Callable[[], object] | None = None,
) -> Times:
    """Times of one call each, in turns.

    Args:
        rounds: how many times are kept of each; `warmup` rounds before them are not.
        device: 'cuda' reads the device's own clock.
        repeated: calls between two readings of the clock, for those that are over before it ticks.
        before: called ahead of every reading, and not timed.
    """
    times: Times = {name: [] for name in calls}
    clock = _device_clock if device.startswith("cuda") else _host_clock
    for turn in range(warmup + rounds):
        for name, call in calls.items():
            if before is not None:
                before()
            took = clock(call, repeated)
            if turn >= warmup:
                times[name].append(took / repeated)
    return times


def _host_clock(call: Callable[[], object], repeated: int) -> float:
    started = time.perf_counter()
    for _ in range(repeated):
        call()
    return 1e3 * (time.perf_counter() - started)


def _device_clock(call: Callable[[], object], repeated: int) -> float:
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    for _ in range(repeated):
        call()
    last.record()
    last.synchronize()
    return float(first.elapsed_time(last))


def medians(
    calls: Mapping[str, Callable[[], object]], rounds: int, before: Callable[[], object] | None = None
) -> dict[str, float]:
    """Median milliseconds of calls that record no gradient, on the CPU."""
    with torch.no_grad():
        return {name: statistics.median(values) for name, values in milliseconds(calls, rounds, before=before).items()}


def compared(times: Times, against: str) -> Iterator[dict[str, Any]]:
    """Of all that was timed together, what a record says: median, quartiles, and the ratio to one of them."""
    reference = statistics.median(times[against])
    for method, values in times.items():
        low, median, high = statistics.quantiles(values, n=4)
        yield {"method": method, "milliseconds": median, "ratio": median / reference, "quartile_low": low,
               "quartile_high": high, "rounds": len(values)}  # fmt: skip
