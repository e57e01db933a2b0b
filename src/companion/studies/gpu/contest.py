"""Processes that prepare at the same time and are timed in turn.

What costs minutes before a network can be timed is compilation, on the CPU: one process each does that, all at once. The
timing is interleaved all the same: whoever is timed is alone on the device, the others are stopped and training gives way.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from companion.core.process import die_with_parent
from companion.measures.timing import Times, milliseconds

Tell = Callable[[dict[str, Any]], None]
Calls = Mapping[str, Callable[[], object]]
Prepare = Callable[[dict[str, Any], Tell], Calls]


class Quiet:
    """Between whoever trains and whoever measures, two threads: while one measures the device is its own."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._wanted = self._granted = self._busy = False

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Inside it nobody trains."""
        with self._changed:
            self._wanted = True
            self._changed.wait_for(lambda: self._granted or not self._busy)
        try:
            yield
        finally:
            with self._changed:
                self._wanted = False
                self._changed.notify_all()

    @contextmanager
    def training(self) -> Iterator[None]:
        """Around all that trains."""
        with self._changed:
            self._changed.wait_for(lambda: not self._wanted)
            self._busy = True
        try:
            yield
        finally:
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def give_way(self, drain: Callable[[], None]) -> bool:
        """For whoever trains, now and then: if the device is wanted, drain it and wait; whether it was."""
        with self._changed:
            if not self._wanted:
                return False
            drain()
            self._granted = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._wanted)
            self._granted = False
            return True


def _serve(connection: Connection, prepare: Prepare, given: dict[str, Any]) -> None:
    """A contestant's process: prepare, tell rows found meanwhile, then be timed call by call."""
    die_with_parent()
    os.nice(5)  # whoever trains comes first
    try:
        calls = prepare(given, lambda row: connection.send(("row", row)))
        connection.send(("ready", list(calls)))
        while (name := connection.recv()) is not None:
            times = milliseconds({name: calls[name]}, 1, given["device"], warmup=1, repeated=given.get("repeated", 4))
            connection.send(("took", times[name][0]))
    except EOFError:
        pass
    except Exception:  # noqa: BLE001  whatever it is, it is told
        connection.send(("failed", traceback.format_exc()))


@dataclass
class Contestant:
    """One process. `group`: of those that are timed together."""

    group: str
    name: str
    prepare: Prepare
    given: dict[str, Any]
    state: str = "waiting"  # then: preparing, ready, failed, over
    calls: list[str] = field(default_factory=list)
    said: str = ""
    process: Any = None
    connection: Any = None

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, self.prepare, self.given), daemon=False)
        self.process.start()
        theirs.close()
        self.state = "preparing"

    def hear(self) -> tuple[str, Any]:
        """What it says next."""
        try:
            kind, what = self.connection.recv()
        except (EOFError, OSError):
            kind, what = "failed", f"its process ended ({self.process.exitcode})"
        if kind == "ready":
            self.state, self.calls = "ready", what
        elif kind == "failed":
            self.state, self.said = "failed", what
        return kind, what

    def time(self, call: str) -> float | None:
        """Milliseconds of one of its calls; None where it fails."""
        if self.state == "failed":
            return None
        self.connection.send(call)
        kind, took = self.hear()
        return took if kind == "took" else None

    def signal(self, which: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, which)

    def end(self) -> None:
        if self.process is not None and self.process.is_alive():
            self.process.kill()
        self.state = "over"


def contest(
    contestants: list[Contestant],
    jobs: int,
    rounds: int,
    left: Callable[[], float],
    quiet: Quiet,
    row: Callable[[Contestant, dict[str, Any]], None],
    timed: Callable[[str, Times], None],
    failed: Callable[[Contestant], None],
) -> None:
    """Run contestants, in their order, `jobs` preparing at a time, until all are over or no seconds are left.

    Args:
        left: seconds that may still be used.
        row: is told what a contestant found while preparing.
        timed: is told a group's times by '<name>: <call>'.
    """
    try:
        while left() > 0 and any(c.state != "over" for c in contestants):
            for c in contestants:
                if c.state == "waiting" and sum(o.state == "preparing" for o in contestants) < jobs:
                    c.start()
            speaking = {c.connection: c for c in contestants if c.state == "preparing"}
            for connection in wait(list(speaking), timeout=min(1.0, max(0.0, left()))):
                c = speaking[connection]
                kind, what = c.hear()
                if kind == "row":
                    row(c, what)
                elif kind == "failed":
                    failed(c)
            for group in dict.fromkeys(c.group for c in contestants if c.state == "ready"):
                members = [c for c in contestants if c.group == group]
                if not {c.state for c in members} & {"waiting", "preparing"}:
                    fit = [c for c in members if c.state == "ready"]
                    others = [c for c in contestants if c.state == "preparing"]
                    if any(c.calls for c in fit):
                        times = _in_turns(fit, others, rounds, quiet)
                        for c in fit:
                            if c.state == "failed":
                                failed(c)
                        timed(group, times)
                    for c in members:
                        c.end()
            for c in contestants:
                if c.state == "failed" and not any(o.state == "waiting" for o in contestants if o.group == c.group):
                    c.end()
    finally:
        for c in contestants:
            c.end()


def _in_turns(fit: list[Contestant], others: list[Contestant], rounds: int, quiet: Quiet) -> Times:
    calls = {f"{c.name}: {call}": (c, call) for c in fit for call in c.calls}
    times: Times = {name: [] for name in calls}
    rounds = fit[0].given.get("turns", rounds)
    with quiet.hold():
        for c in others:
            c.signal(signal.SIGSTOP)
        try:
            for turn in range(rounds + 1):
                for name, (c, call) in calls.items():
                    if (took := c.time(call)) is not None and turn:
                        times[name].append(took)
        finally:
            for c in others:
                c.signal(signal.SIGCONT)
    return {name: took for name, took in times.items() if len(took) == rounds}
