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

from companion.core.errors import Refusal
from companion.core.files import read_json, write_json
from companion.core.provenance import provenance
from companion.data.labelled import Labelled
from companion.training.captured import Captured, Program, tables
from companion.training.checkpoint import load_tensors, save_tensors
from companion.training.recipe import Recipe
from companion.training.record_run import record_trained
from companion.training.run_folder import SPELLS
from companion.training.spells import extended
from companion.training.train import require_same

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
    epochs_per_s: float = 0.0  # of all together, the best of late
    _programs: dict[tuple[str, str], Program] = field(default_factory=dict)
    _drawn: dict[tuple[int, int], tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)
    _networks: threading.Lock = field(default_factory=threading.Lock)  # whoever runs one of them, not its graph
    _active: list[Captured] = field(default_factory=list)
    _aside: list[Captured] = field(default_factory=list)
    _made: list[Future[Captured]] = field(default_factory=list)
    _speeds: deque[float] = field(default_factory=lambda: deque(maxlen=3))
    _facts: dict[str, Any] = field(default_factory=dict)  # what code on what machine trains now
    _since: float = 0.0  # when the steps that are now counted began
    _steps: int = 0
    _said: float = 0.0

    def run(self, recipes: Sequence[Recipe]) -> list[Recipe]:
        """Train what is missing; returns what was not finished.

        Raises:
            Refusal: when a finished run is of another recipe. One that is half done is left as it is, and said.
        """
        for recipe in recipes:
            folder = self.folder / recipe.name
            if (folder / "recipe.json").exists():
                require_same(recipe, read_json(folder / "recipe.json"), folder)
        missing = deque(r for r in recipes if not (self.folder / r.name / "record.json").exists())
        unfinished, whole = list(missing), self.left()
        self._facts = provenance(self.root)
        for recipe in missing:  # first, and alone: tracing a network changes what every module's call does
            key = recipe.net, recipe.method
            if key not in self._programs:
                self._programs[key] = Program(recipe, self.data, self.device, self.compiled, self.narrowed)
        with ThreadPoolExecutor(1) as maker:
            while self.left() > _END and self._fill(missing, maker):
                self._train_a_part()
                for run in [run for run in self._active if run.done == run.total]:
                    if self._settled(run, but=0):
                        self._finish(run)
                        unfinished.remove(run.recipe)
                    else:
                        self._active.remove(run)
                self._reckon(decided=self.left() < (1 - _DECIDED) * whole)
        for run in [*self._active, *self._aside]:
            if self._settled(run, but=0):
                save_tensors(self.folder / run.recipe.name / "checkpoint.pt", run.checkpoint())
        return unfinished

    def _fill(self, missing: deque[Recipe], maker: ThreadPoolExecutor) -> bool:
        """Begin what fits, and take up what has been begun; whether anything trains."""
        while True:
            while missing and len(self._active) + len(self._made) < self.width and self._fits(missing[0]):
                self._made.append(self._make(missing.popleft(), maker))
            while self._made and (self._made[0].done() or not self._active):
                self._active += self._begun(self._made.pop(0))
                self._count_anew()
            if not self._active and not self._made and self._aside:
                self._active.append(self._aside.pop(0))
            if self._active or not missing or not self._fits(missing[0]):
                return bool(self._active)

    def _train_a_part(self) -> None:
        before = sum(run.done for run in self._active)
        for run in self._active:
            run.ask()
        self._steps += sum(run.done for run in self._active) - before
        self._active = [run for run in self._active if self._settled(run)]
        if self.give_way(self._drain):
            self._count_anew()

    def _drain(self) -> None:
        self._active = [run for run in self._active if self._settled(run, but=0)]

    def _count_anew(self) -> None:
        self._since, self._steps = time.monotonic(), 0

    def _reckon(self, decided: bool) -> None:
        """Measure the speed, now and then, and if it is time say how things stand and put aside what no longer fits."""
        now = time.monotonic()
        if now - self._since >= _SETTLED and self._active:
            self._speeds.append(self._steps / (now - self._since) / self._active[0].steps)
            self.epochs_per_s = max(self._speeds)
            if decided:
                self._set_aside()
            self._count_anew()
        if now - self._said > _SETTLED:
            self._said = now
            share = ", ".join(f"{r.recipe.method} {r.recipe.seed}: {r.done // r.steps}" for r in self._active)
            self.say(f"{self.epochs_per_s:.2f} epochs/s in all; epochs of {share}; {self.left():.0f} s left")

    def _begin(self, recipe: Recipe) -> Captured:
        """A run, captured, from its checkpoint if there is one."""
        program, drawn = self._programs[recipe.net, recipe.method], None
        if not program.method.shifts:  # all runs of a seed see the same images in the same order
            order = (recipe.seed, recipe.epochs)
            if order not in self._drawn:
                drew = tables(recipe, program.data.count, program.data.train.images.shape[3])
                self._drawn[order] = tuple(t.to(self.device) for t in drew)  # type: ignore[assignment]
            drawn = self._drawn[order]
        with self._networks:
            run = Captured(recipe, program, drawn)
            kept = self.folder / recipe.name / "checkpoint.pt"
            if kept.exists():
                state = load_tensors(kept)
                require_same(recipe, state.get("recipe", asdict(recipe)), kept.parent)  # early ones do not say it
                run.load(state)
            run.spells = extended(run.spells, self._facts, run.done // run.steps + 1)
            run.capture()
        return run

    def _make(self, recipe: Recipe, maker: ThreadPoolExecutor) -> Future[Captured]:
        """Begin a run while others train; where no graph holds their steps, they need the networks that it would use."""
        if self.device.type == "cuda":
            return maker.submit(self._begin, recipe)
        made: Future[Captured] = Future()
        try:
            made.set_result(self._begin(recipe))
        except Exception as error:  # noqa: BLE001  as the maker does
            made.set_exception(error)
        return made

    def _begun(self, made: Future[Captured]) -> list[Captured]:
        """A run that was made; none where that failed, which must not end the others."""
        try:
            return [made.result()]
        except Exception as error:  # noqa: BLE001  whatever it is, the others go on
            self.say(f"a run could not begin: {error}")
            return []

    def _settled(self, run: Captured, but: int = 1) -> bool:
        """Whether a run goes on: not where its loss is no longer finite."""
        try:
            run.settle(but)
        except Refusal as refusal:
            self.say(str(refusal))
            return False
        return True

    def _need(self, runs: Sequence[Captured]) -> float:
        """Seconds to the end of these runs at the speed last measured."""
        epochs = sum((run.total - run.done) / run.steps for run in runs)
        return epochs / self.epochs_per_s + _END * len(runs) if self.epochs_per_s else 0.0

    def _fits(self, recipe: Recipe) -> bool:
        if self._aside:
            return False
        more = recipe.epochs / self.epochs_per_s + _END if self.epochs_per_s else 0.0
        return self._need(self._active) + more <= self.left()

    def _set_aside(self) -> None:
        """Put the last runs aside until the rest fits, or take one back that fits again."""
        while len(self._active) > 1 and self._need(self._active) > self.left():
            last = self._active.pop()
            if not self._settled(last, but=0):
                continue
            self._aside.insert(0, last)
            self.say(f"{last.recipe.name} does not fit: put aside after {last.done // last.steps} epochs")
        room = len(self._active) < self.width
        if self._aside and room and self._need([*self._active, self._aside[0]]) <= self.left():
            self._active.append(self._aside.pop(0))
            self.say(f"{self._active[-1].recipe.name} fits again")

    def _finish(self, run: Captured) -> None:
        recipe, program, state = run.recipe, run.program, run.state()
        folder = self.folder / recipe.name
        write_json(folder / "recipe.json", asdict(recipe))
        write_json(folder / "curve.json", run.curve())
        write_json(folder / SPELLS, run.spells)
        save_tensors(folder / "weights.pt", state)
        facts = {
            "side_by_side": self.width,
            "compiled": self.compiled,
            "narrowed": self.narrowed,
            "captured": run.graph is not None,
        }
        with self._networks:
            program.network.load_state_dict(state, strict=False)  # no counters; graphs read the runs' own weights
            self.done(record_trained(program.network, recipe, program.data, folder, self.root, **facts))
        (folder / "checkpoint.pt").unlink(missing_ok=True)
        self._active.remove(run)
        self._count_anew()
