"""Many captured runs on one device, in order of value, until they are done or the time is.

Several train at once, each on a stream of its own: networks as small as ResNet-20 leave most of a GPU idle. A run that
cannot be finished in time is worth nothing, so one is begun only where it fits by the speed measured so far, and where
those under way no longer fit together the last of them are put aside; their checkpoints are kept.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from companion.checkpoint import load_tensors, save_tensors
from companion.errors import Refusal
from companion.evaluate import record_trained
from companion.files import write_json
from companion.labelled import Labelled
from companion.recipe import Recipe
from companion.training.captured import Captured, Program, tables

_SETTLED = 8.0  # seconds after which a speed is believed
_DECIDED = 0.25  # of the time, before which no run is put aside: what else is measured then slows all
_END = 2.0  # seconds that a finished run takes to be measured and written


@dataclass
class SideBySide:
    """Trainings that share a device.

    Args:
        left: seconds that may still be used.
        give_way: called between parts of an epoch, with what drains the device; true where something was waited for.
        done: is told the record of a finished run, when its folder is complete.
        say: is told, in a line, how things stand.
    """

    data: Labelled
    root: Path
    folder: Path
    device: torch.device
    width: int
    left: Callable[[], float]
    give_way: Callable[[Callable[[], None]], bool]
    done: Callable[[dict[str, Any]], None]
    say: Callable[[str], None]
    compiled: bool = True
    narrowed: bool = False  # companion.training.narrow
    epochs_per_s: float = 0.0  # of all together, as last measured
    _programs: dict[tuple[str, str], Program] = field(default_factory=dict)
    _drawn: dict[tuple[int, int], tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)
    _networks: threading.Lock = field(default_factory=threading.Lock)  # whoever runs one of them, not its graph

    def _begin(self, recipe: Recipe) -> Captured:
        """A run, captured, from its checkpoint if there is one."""
        program, drawn = self._programs[recipe.net, recipe.method], None
        if not program.method.shifts:  # all runs of a seed see the same pictures in the same order
            order = (recipe.seed, recipe.epochs)
            if order not in self._drawn:
                drew = tables(recipe, program.data.count, program.data.train.images.shape[3])
                self._drawn[order] = tuple(t.to(self.device) for t in drew)  # type: ignore[assignment]
            drawn = self._drawn[order]
        with self._networks:
            run = Captured(recipe, program, drawn)
            kept = self.folder / recipe.name / "checkpoint.pt"
            if kept.exists():
                run.load(load_tensors(kept))
            run.capture()
        return run

    def _make(self, recipe: Recipe, maker: ThreadPoolExecutor) -> Future[Captured]:
        """Begin a run while others train; where no graph holds their steps, they need the networks that it would use."""
        if self.device.type == "cuda":
            return maker.submit(self._begin, recipe)
        made: Future[Captured] = Future()
        made.set_result(self._begin(recipe))
        return made

    def run(self, recipes: Sequence[Recipe]) -> list[Recipe]:
        """Train what is missing; returns what was not finished."""
        missing = [r for r in recipes if not (self.folder / r.name / "record.json").exists()]
        unfinished = list(missing)
        for recipe in missing:  # first, and alone: tracing a network changes what every module's call does
            key = recipe.net, recipe.method
            if key not in self._programs:
                self._programs[key] = Program(recipe, self.data, self.device, self.compiled, self.narrowed)
        active: list[Captured] = []
        aside: list[Captured] = []
        measured, steps, said = time.monotonic(), 0, 0.0
        whole, speeds = self.left(), deque[float](maxlen=3)
        with ThreadPoolExecutor(1) as maker:
            made: list[Future[Captured]] = []
            while True:
                while missing and len(active) + len(made) < self.width and self._fits(active, aside, missing[0]):
                    made.append(self._make(missing.pop(0), maker))
                while made and (made[0].done() or not active):
                    active += self._begun(made.pop(0))
                    measured, steps = time.monotonic(), 0
                if self.left() <= _END or not (active or made or missing or aside):
                    break
                if not active and aside:
                    active.append(aside.pop(0))
                if not active:
                    if not made and not self._fits(active, aside, missing[0]):
                        break
                    continue
                before = sum(run.done for run in active)
                for run in active:
                    run.ask()
                steps += sum(run.done for run in active) - before
                active = [run for run in active if self._settled(run)]
                if self.give_way(lambda: [run.settle() for run in active] and None):
                    measured, steps = time.monotonic(), 0
                for run in [run for run in active if run.done == run.total]:
                    self._finish(run)
                    active.remove(run)
                    unfinished.remove(run.recipe)
                    measured, steps = time.monotonic(), 0
                took = time.monotonic() - measured
                if took >= _SETTLED and active:
                    speeds.append(steps / took / active[0].steps)
                    self.epochs_per_s = max(speeds)
                    if self.left() < (1 - _DECIDED) * whole:
                        self._set_aside(active, aside)
                    measured, steps = time.monotonic(), 0
                if time.monotonic() - said > _SETTLED:
                    said = time.monotonic()
                    share = ", ".join(f"{r.recipe.method} {r.recipe.seed}: {r.done // r.steps}" for r in active)
                    self.say(f"{self.epochs_per_s:.2f} epochs/s in all; epochs of {share}; {self.left():.0f} s left")
            for run in [*active, *aside]:
                run.settle()
                save_tensors(self.folder / run.recipe.name / "checkpoint.pt", run.checkpoint())
        return unfinished

    def _begun(self, made: Future[Captured]) -> list[Captured]:
        """A run that was made; none where that failed, which must not end the others."""
        try:
            return [made.result()]
        except Exception as error:
            self.say(f"a run could not begin: {error}")
            return []

    def _settled(self, run: Captured) -> bool:
        """Whether a run goes on: not where its loss is no longer finite."""
        try:
            run.settle(1)
        except Refusal as refusal:
            self.say(str(refusal))
            return False
        return True

    def _need(self, runs: Sequence[Captured]) -> float:
        """Seconds to the end of these runs at the speed last measured."""
        epochs = sum((run.total - run.done) / run.steps for run in runs)
        return epochs / self.epochs_per_s + _END * len(runs) if self.epochs_per_s else 0.0

    def _fits(self, active: Sequence[Captured], aside: Sequence[Captured], recipe: Recipe) -> bool:
        if aside:
            return False
        more = recipe.epochs / self.epochs_per_s + _END if self.epochs_per_s else 0.0
        return self._need(active) + more <= self.left()

    def _set_aside(self, active: list[Captured], aside: list[Captured]) -> None:
        """Put the last runs aside until the rest fits, or take one back that fits again."""
        while len(active) > 1 and self._need(active) > self.left():
            last = active.pop()
            last.settle()
            aside.insert(0, last)
            self.say(f"{last.recipe.name} does not fit: put aside after {last.done // last.steps} epochs")
        if aside and len(active) < self.width and self._need([*active, aside[0]]) <= self.left():
            active.append(aside.pop(0))
            self.say(f"{active[-1].recipe.name} fits again")

    def _finish(self, run: Captured) -> None:
        run.settle()
        recipe, program, state = run.recipe, run.program, run.state()
        folder = self.folder / recipe.name
        write_json(folder / "recipe.json", asdict(recipe))
        write_json(folder / "curve.json", run.curve())
        save_tensors(folder / "weights.pt", state)
        facts = {"side_by_side": self.width, "compiled": self.compiled, "narrowed": self.narrowed, "captured": run.graph is not None}
        with self._networks:
            program.network.load_state_dict(state, strict=False)  # no counters; graphs read the runs' own weights
            self.done(record_trained(program.network, recipe, program.data, folder, self.root, **facts))
        (folder / "checkpoint.pt").unlink(missing_ok=True)
