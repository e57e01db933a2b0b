"""The queue: exactness, speed and trainings of Table 2, each recorded when it is done.

What is measured prepares in processes of its own while the device trains; training gives way while something is timed.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from companion.data.datasets import labelled
from companion.fetching.catalogue import fingerprint
from companion.measures.timing import Times, compared
from companion.models.methods import METHODS
from companion.studies.gpu import exactness, speed
from companion.studies.gpu.apart import train_apart
from companion.studies.gpu.book import Book
from companion.studies.gpu.contest import Contestant, Quiet, contest
from companion.training.recipe import Recipe
from companion.training.side_by_side import SideBySide

PARTS = ("exactness", "settings", "speed", "rates", "training")
NETWORKS = ("resnet50", "resnet18", "mobilenet_v2", "convnext_tiny", "densenet121", "efficientnet_b0")  # by value
TRAINED = ("resnet50", "resnet18")
PRECISIONS = ("bfloat16", "tf32", "float32")  # PyTorch's own float32 convolutions are in TF32
# Trained by value: MASS beside APS first, each group for all seeds before the next.
GROUPS = (("aps", "mass"), ("baseline",), ("aps-lpf3", "mass-lpf3"), ("lpf3",), ("aps-ddac3", "mass-ddac3"), ("ddac3",))
TURNS = 5  # of the times that say what exactness costs: tens of milliseconds each


@dataclass(frozen=True)
class Scale:
    """What is run: the real thing, or a rehearsal on any machine."""

    device: str
    notebook_profile: str
    networks: tuple[str, ...]
    variants: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    cells: tuple[tuple[str, str], ...]
    maps: tuple[tuple[int, ...], ...]
    batch: int
    rounds: int
    compiled: bool
    net: str
    dataset: str
    epochs: int
    train_batch: int
    precision: str


FULL = Scale(
    "cuda", "paper", NETWORKS, ("plain", "circular padding", "MASS"), ((224, 224), (64, 96)), exactness.CELLS, speed.MAPS, 64, 15, True,
    "resnet20", "cifar10", 250, 256, "bfloat16",
)  # fmt: skip
TINY = Scale(
    "cpu", "quick", ("resnet18",), ("plain", "MASS"), ((64, 64),), (("float32", "channels first"),), ((2, 4, 16, 16),),
    2, 2, False, "digits", "digits", 3, 64, "float32",
)  # fmt: skip


EPOCHS = {FULL.epochs: FULL.notebook_profile, 13: "reduced"}  # of Table 2's runs, by the profile that they belong to


def of_epochs(epochs: int) -> Scale:
    """The real thing, of so many epochs, one of `EPOCHS`."""
    return replace(FULL, epochs=epochs, notebook_profile=EPOCHS[epochs])


def recipes(scale: Scale, methods: tuple[str, ...], seeds: tuple[int, ...]) -> list[Recipe]:
    """The trainings, in order of value."""
    known = {method for group in GROUPS for method in group}
    groups = [[m for m in group if m in methods] for group in GROUPS] + [[m] for m in methods if m not in known]
    return [
        Recipe(net=scale.net, method=method, dataset=scale.dataset, seed=seed, epochs=scale.epochs,
               batch=scale.train_batch, precision=scale.precision)
        for group in groups
        for seed in seeds
        for method in group
    ]  # fmt: skip


class Queue:
    """One piece of time.

    Args:
        seconds: that may be used, from now on.
        width: how many runs train side by side.
        jobs: how many processes prepare measurements at once.
    """

    def __init__(self, scale: Scale, book: Book, root: Path, seconds: float, width: int, jobs: int) -> None:
        self.scale, self.book, self.root, self.width, self.jobs = scale, book, root, width, jobs
        self._end, self._began, self._quiet = time.monotonic() + seconds, time.monotonic(), Quiet()

    def left(self) -> float:
        """Seconds that may still be used."""
        return self._end - time.monotonic()

    def say(self, line: str) -> None:
        print(f"[{time.monotonic() - self._began:5.0f} s, {self.left():5.0f} s left] {line}", flush=True)

    def run(self, parts: tuple[str, ...], methods: tuple[str, ...], seeds: tuple[int, ...]) -> None:
        """Everything asked for that is not recorded yet, until it is done or the time is."""
        measuring = threading.Thread(target=self._guard, args=(self._measure, parts), daemon=True)
        measuring.start()
        if "training" in parts:
            self._guard(self._train, methods, seeds)
        measuring.join(max(0.0, self.left()))
        self.book.pack()
        self.say("done" if self.left() > 0 else "the time is over")

    def _guard(self, part: Callable[..., None], *arguments: Any) -> None:
        """A part that fails says so and leaves the others alone."""
        try:
            part(*arguments)
        except Exception as error:  # noqa: BLE001  whatever it is, the others go on
            traceback.print_exc()
            self.say(f"{part.__name__.strip('_')} stopped: {error}")

    # Measurements

    def _contestants(self, parts: tuple[str, ...]) -> list[Contestant]:
        """Those whose records are missing, in order of value."""
        scale, made = self.scale, []
        common = {"device": scale.device, "compiled": scale.compiled}

        def missing(**fields: object) -> bool:
            return not self.book.holds("speed", "bench", **fields)

        for net in scale.networks:
            if "exactness" in parts and missing(stage="exactness timed", net=net):
                given = common | {"net": net, "sizes": scale.sizes, "cells": scale.cells, "batch": 8, "rounds": 4,
                                  "repeated": 1, "turns": TURNS}  # fmt: skip
                made.append(Contestant(f"exactness {net}", net, exactness.measure, given))
        for net in scale.networks:
            if "settings" in parts and missing(stage="settings timed", net=net):
                given = common | {"net": net, "size": scale.sizes[0], "cells": [c for c in scale.cells if c[0] in ("float32", "bfloat16")],
                                  "batch": 8, "rounds": 4, "repeated": 1, "turns": TURNS}  # fmt: skip
                made.append(Contestant(f"settings {net}", net, exactness.measure_settings, given))
        for net in [n for n in scale.networks if n != "efficientnet_b0"]:
            if "rates" in parts and missing(stage="rate", net=net):
                given = common | {"net": net, "variants": scale.variants, "size": scale.sizes[0][0], "batch": scale.batch,
                                  "turns": TURNS,
                                  "precisions": PRECISIONS if scale.device == "cuda" else ("float32",)}  # fmt: skip
                made.append(Contestant(f"rates {net}", net, speed.rates, given))
        if "speed" in parts and missing(stage="bandwidth"):
            made.append(Contestant("bandwidth", "maps", speed.bandwidth, common | {"maps": scale.maps, "repeated": 20}))
        for stage, networks in (("forward", scale.networks), ("training", TRAINED)):
            for net in [n for n in scale.networks if n in networks and n != "efficientnet_b0"]:
                if "speed" not in parts or not missing(stage=stage, net=net):
                    continue
                for variant in scale.variants if stage == "forward" else ("plain", "MASS"):
                    given = common | {"net": net, "variant": variant, "size": scale.sizes[0][0], "batch": scale.batch}
                    prepare = speed.forward if stage == "forward" else speed.training
                    made.append(Contestant(f"{stage} {net}", variant, prepare, given))
        return made

    def _measure(self, parts: tuple[str, ...]) -> None:
        told: dict[tuple[str, str], dict[str, Any]] = {}

        def row(c: Contestant, found: dict[str, Any]) -> None:
            if "setting" in found:
                self._settings(c.given["net"], found)
            elif "identical" in found:
                self._exact(c.given["net"], found)
            else:
                told.setdefault((c.group, c.name), {}).update(found)

        def timed(group: str, times: Times) -> None:
            stage, _, net = group.partition(" ")
            if not times:
                return
            if stage in ("forward", "training"):
                self._speed(stage, net, times, {name: told.get((group, name), {}) for name in self.scale.variants})
            elif stage == "bandwidth":
                self._bandwidth(times)
            elif stage == "settings":
                self._settings_times(net, times)
            elif stage == "rates":
                self._rates(net, times)
            else:
                self._exact_times(net, times)

        def failed(c: Contestant) -> None:
            self.say(f"{c.group} {c.name} failed:\n{c.said}")

        contestants = self._contestants(parts)
        contest(contestants, self.jobs, self.scale.rounds, self.left, self._quiet, row, timed, failed)
        self.say(f"measured: {len(contestants)} preparations")

    def _exact(self, net: str, found: dict[str, Any]) -> None:
        self.book.add("speed", "bench", {"net": net, "method": "MASS", "stage": "exactness", "batch": 8} | found)
        more = f" {found['breaks']}" if found.get("breaks") else ""
        what = " ".join(str(found[key]) for key in ("dtype", "layer", "size", "input"))
        self.say(f"exactness {net} {what}: {found['identical']} of {found['n']}{more}")

    def _exact_times(self, net: str, times: Times) -> None:
        """What settings cost, beside the fastest of this network's cells that sets nothing."""
        against = min(
            (name for name in times if name.endswith("eager")),
            key=lambda name: sorted(times[name])[len(times[name]) // 2],
        )
        for found in compared(times, against):
            precision, layer, setting = found["method"].split(": ")[-1].split(", ")
            self.book.add("speed", "bench", {"net": net, "stage": "exactness timed", "batch": 8} | found
                          | {"method": "MASS", "dtype": precision, "layer": layer, "input": setting})  # fmt: skip
            self.say(f"exactness {net} {precision} {layer} {setting}: {found['milliseconds']:.2f} ms")

    def _settings(self, net: str, found: dict[str, Any]) -> None:
        self.book.add("speed", "bench", {"net": net, "method": _within(found["setting"]), "stage": "settings"} | found)
        what = " ".join(str(found[key]) for key in ("dtype", "layer", "input", "setting"))
        self.say(f"settings {net} {what}: {found['identical']} of {found['n']}")

    def _settings_times(self, net: str, times: Times) -> None:
        """What `mass.exact` costs, cell by cell."""
        cells: dict[tuple[str, str], Times] = {}
        for name, took in times.items():
            precision, layer, setting = name.split(": ")[-1].split(", ")
            cells.setdefault((precision, layer), {})[setting] = took
        for (precision, layer), of_cell in cells.items():
            for found in compared(of_cell, "as it is"):
                fields = {"net": net, "stage": "settings timed", "batch": 8, "dtype": precision, "layer": layer} | found
                self.book.add("speed", "bench", fields | {"method": _within(found["method"])})
                self.say(f"settings {net} {precision} {layer} {found['method']}: {found['ratio']:.2f} x")

    def _rates(self, net: str, times: Times) -> None:
        """Images per second, and the time beside the plain network's in the same precision."""
        precisions: dict[str, Times] = {}
        for name, took in times.items():
            precision, variant = name.split(": ")[-1].split(", ")
            precisions.setdefault(precision, {})[variant] = took
        for precision, of_precision in precisions.items():
            for found in compared(of_precision, "plain"):
                rate = 1000 * self.scale.batch / found["milliseconds"]
                fields = {"net": net, "stage": "rate", "dtype": precision, "batch": self.scale.batch, "images_per_s": rate,
                          "size": self.scale.sizes[0][0]}  # fmt: skip
                self.book.add("speed", "bench", fields | found)
                self.say(f"rate {net} {precision} {found['method']}: {rate:,.0f} images/s")

    def _speed(self, stage: str, net: str, times: Times, told: dict[str, dict[str, Any]]) -> None:
        scale = self.scale
        for way in ("compiled", "eager"):
            of_way = {name.partition(": ")[0]: t for name, t in times.items() if name.endswith(way)}
            if "plain" not in of_way:
                continue
            for found in compared(of_way, "plain"):
                name = found["method"]
                fields = {"net": net, "stage": stage, "input": way, "batch": scale.batch, "size": scale.sizes[0][0],
                          "dtype": "bfloat16"} | found  # fmt: skip
                memory, plain = (told.get(n, {}).get("memory_mb") for n in (name, "plain"))
                if memory and plain:
                    fields["memory_ratio"] = memory / plain
                self.book.add("speed", "bench", fields)
                self.say(
                    f"{stage} {net} {way} {name}: {found['milliseconds']:.3f} ms, {found['ratio']:.3f} x, "
                    f"memory {fields.get('memory_ratio', 0):.2f} x"
                )
            if way == "compiled" and "exact" in told.get("MASS", {}):
                size = f"{scale.sizes[0][0]}x{scale.sizes[0][1]}"
                cell = {"dtype": "bfloat16", "layer": "channels last", "size": size, "input": "compiled", "batch": 64}
                self._exact(net, cell | told["MASS"]["exact"])

    def _bandwidth(self, times: Times) -> None:
        places: dict[str, Times] = {}
        for name, took in times.items():
            _, place, operation = name.split(": ")
            places.setdefault(place, {})[operation] = took
        for place, of_place in places.items():
            for found in compared(of_place, "copy"):
                self.book.add("speed", "bench", {"stage": "bandwidth", "layer": place, "dtype": "bfloat16"} | found)
                self.say(
                    f"bandwidth {place} {found['method']}: {1e3 * found['milliseconds']:.1f} us, {found['ratio']:.2f} x"
                )

    # Table 2

    def _train(self, methods: tuple[str, ...], seeds: tuple[int, ...]) -> None:
        scale = self.scale
        data = labelled(scale.dataset, self.root)
        rows = {"row": 0}

        def done(record: dict[str, Any]) -> None:
            known = fingerprint(scale.dataset)
            fields = {name: value for name, value in record.items() if value is not None}  # the book knows the commit
            fields |= {"method": METHODS[record["method"]].printed} | ({"dataset_sha256": known} if known else {})
            rows["row"] += 1
            self.book.add("05_cifar10", scale.notebook_profile, fields | {"row": rows["row"]})
            self.book.pack()
            self.say(
                f"trained {record['net']} {record['method']} seed {record['seed']}: top-1 {record['top1']:.2f}, "
                f"shifted {record['shifted_top1']:.2f}, consistent {record['consistency']:.2f}"
            )

        folder = self.book.out / "checkpoints" / scale.notebook_profile / "05_cifar10"
        side = SideBySide(
            data, self.root, folder, torch.device(scale.device), self.width, self.left, self._quiet.give_way, done, self.say,
            scale.compiled, scale.compiled,
        )  # fmt: skip
        wanted = recipes(scale, methods, seeds)
        drawing = [recipe for recipe in wanted if METHODS[recipe.method].sampling == "lps"]
        with self._quiet.training():
            unfinished = side.run([recipe for recipe in wanted if recipe not in drawing])
            unfinished += train_apart(drawing, folder, self.root, self.left, self._quiet, done)
        if side.epochs_per_s:
            self.book.add("speed", "bench", {
                "net": scale.net, "method": "all", "stage": "side by side", "batch": scale.train_batch,
                "dtype": scale.precision, "runs": self.width, "epochs_per_s": side.epochs_per_s,
            })  # fmt: skip
        self.book.pack()
        if unfinished:
            self.say(f"not finished: {', '.join(r.name for r in unfinished)}")


def _within(setting: str) -> str:
    return "MASS" if setting == "as it is" else f"MASS, {setting}"


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
