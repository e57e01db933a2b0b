"""Training with a whole step in one CUDA graph, many runs side by side on one device.

    run = Captured(recipe, Program(recipe, data, device))
    run.capture()
    while run.done < run.total:
        run.ask()      # a part of an epoch; of several runs, each on a stream of its own
        run.settle(1)  # waits for the part before

A run is that of `companion.train` (labelled images): the recipe's first weights, order of batches, flips, rate and
arithmetic. What differs is where it happens. Images, order and rates lie on the device, a step counts itself, and so
it reads nothing from the host: augmentation, forward and backward pass, SGD and the curve's sums are one graph, which
the host starts again and again. A method's network is compiled once, for all its seeds (`Program`). Without CUDA, the
same code runs step by step.

The weights lie in one vector, so that SGD is one kernel; a second vector holds them in bfloat16, where autocast would
convert each on its own.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from companion.core.errors import Refusal
from companion.data.labelled import Labelled, Split
from companion.models.methods import METHODS, NETS
from companion.training.recipe import Recipe
from companion.training.spells import Spell
from companion.training.tasks import task_of
from companion.training.tasks.classification import Classification
from companion.training.train import learning_rate
from mass import native
from mass.functional.shift import shift

_ALIGNED = 64  # elements: what is read by vectors starts at a multiple of them
_SHARE = 4096  # elements of the weights that one block of SGD's kernel updates
_WARM_UP = 3  # steps before a capture: compilation, and cuDNN's choice of algorithms
_PARTS = 5  # of an epoch, between two looks at the clock


def tables(recipe: Recipe, count: int, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, flips and shifts of all steps of a run, as `companion.training.tasks.classification.epoch_batches` draws them.

    Shape: (steps, batch) int32, (steps, batch) bool, and (steps, batch, 2) int64 or, where the method does not shift, (0,).
    """
    each = count // recipe.batch
    drawn = []
    for epoch in range(recipe.epochs):
        generator = torch.Generator().manual_seed(1_000_003 * recipe.seed + epoch)
        order = torch.randperm(count, generator=generator)
        flips = torch.rand(count, generator=generator) < 0.5
        rows = order[: each * recipe.batch].view(each, recipe.batch)
        by = torch.zeros(0, dtype=torch.int64)
        if METHODS[recipe.method].shifts:
            by = torch.randint(side, (count, 2), generator=generator)[rows]
        drawn.append((rows.int(), flips[rows] & recipe.flip, by))
    rows_of, flips_of, by_of = zip(*drawn, strict=True)
    return torch.cat(rows_of), torch.cat(flips_of), torch.cat(by_of)


class _Step(nn.Module):
    """Images and what is drawn for a step -> loss, and how many labels were right."""

    def __init__(self, network: nn.Module, data: Labelled, recipe: Recipe, device: torch.device) -> None:
        super().__init__()
        self.network, self.precision, self.device_type = network, recipe.precision, device.type
        # As `Labelled.normalize`, with constants that lie on the device.
        self.mean, self.std = ((torch.tensor(v)[:, None, None] * 255).to(device) for v in (data.mean, data.std))

    def _autocast(self) -> AbstractContextManager:
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device_type, getattr(torch, self.precision), cache_enabled=False)

    def forward(
        self, images: Tensor, labels: Tensor, rows: Tensor, flips: Tensor, by: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        pictures, labels = images[rows], labels[rows]
        pictures = torch.where(flips[:, None, None, None], pictures.flip(3), pictures)
        if by is not None:
            pictures = shift(pictures.float(), by)
        pictures = ((pictures - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        with self._autocast():
            logits = self.network(pictures).float()
        return F.cross_entropy(logits, labels), (logits.detach().argmax(1) == labels).sum()


class Program:
    """What all seeds of a method share: its network, compiled or not, without weights of its own.

    Raises:
        Refusal: for a method that draws at random in every step, or a data set that is not held whole.
    """

    def __init__(
        self, recipe: Recipe, data: Labelled, device: torch.device, compiled: bool = True, narrowed: bool = False
    ) -> None:
        """`narrowed`: convolutions of few channels by kernels of their own (companion.training.narrow)."""
        if METHODS[recipe.method].sampling == "lps":
            raise Refusal("LPS draws at random in every step, which a captured step cannot: use companion.train.")
        plain = isinstance(task_of(data, recipe), Classification) and recipe.optimizer == "sgd"
        if not plain or recipe.accumulate != 1 or recipe.iterations or recipe.start:
            raise Refusal(
                "Captured training is for labelled images, SGD, whole batches, epochs and random first weights."
            )
        self.net, self.method, self.device, self.data = recipe.net, METHODS[recipe.method], device, data.to(device)
        with native.reference():  # example maps on the CPU do not need the compiled kernels
            network = self.method.build(recipe.net, 0)
        self.counters = [name for name in network.state_dict() if name.endswith("num_batches_tracked")]
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.num_batches_tracked = None  # a kernel each; every step counts, so the number is known
        if narrowed:
            from companion.training.narrow import narrow  # Triton, which a CPU does not need

            narrow(network)
        placed: Any = network
        self.network = placed.to(device, memory_format=torch.channels_last)
        self.step = _Step(self.network, self.data, recipe, device).train()
        if compiled:
            import torch._dynamo.config as dynamo  # seconds, where nothing is compiled

            dynamo.recompile_limit = 2 * len(METHODS)  # a method is another type of network
            self.step.compile(fullgraph=True, dynamic=False)
        # Autocast would convert these: all but BatchNorm's.
        norms = {f"{name}." for name, m in self.network.named_modules() if isinstance(m, nn.BatchNorm2d)}
        self.lowered = [
            name for name, _ in network.named_parameters()
            if recipe.precision != "float32" and f"{name.rpartition('.')[0]}." not in norms
        ]  # fmt: skip

    def first(self, recipe: Recipe) -> dict[str, Tensor]:
        """The state that `Method.build` gives a network of this seed: conversion changes none of it."""
        torch.manual_seed(recipe.seed)
        return NETS[recipe.net](self.method.filtering, self.method.place, None).state_dict()

    def loss(self, state: dict[str, Tensor], split: Split, drawn: Sequence[Tensor | None]) -> tuple[Tensor, Tensor]:
        """Loss and right labels of one batch, by the weights of one run."""
        named = {f"network.{name}": tensor for name, tensor in state.items()}
        return functional_call(self.step, named, (split.images, split.labels, *drawn))


def _places(like: dict[str, Tensor]) -> tuple[dict[str, int], int]:
    """Where each tensor starts in a vector of all, and its length."""
    places, size = {}, 0
    for name, tensor in like.items():
        places[name] = size
        size += -(-tensor.numel() // _ALIGNED) * _ALIGNED
    return places, size


def _parts(vector: Tensor, places: dict[str, int], like: dict[str, Tensor]) -> dict[str, Tensor]:
    """The parts of a vector by name, shaped like `like`; four axes channels last."""
    parts = {}
    for name, start in places.items():
        part, shape = vector[start:][: like[name].numel()], like[name].shape
        if len(shape) == 4:
            parts[name] = part.view(shape[0], shape[2], shape[3], shape[1]).permute(0, 3, 1, 2)
        else:
            parts[name] = part.view(shape)
    return parts


class Captured:
    """One run: weights, momentum, statistics and curve on the device, and the graph of its step."""

    def __init__(self, recipe: Recipe, program: Program, drawn: tuple[Tensor, Tensor, Tensor] | None = None) -> None:
        """`drawn`: of `tables`, where another run of this seed has them on the device already."""
        self.recipe, self.program, device = recipe, program, program.device
        count, side = program.data.count, program.data.train.images.shape[3]
        self.steps = count // recipe.batch  # in an epoch
        if self.steps == 0:
            raise Refusal(f"A batch of {recipe.batch} is larger than {recipe.dataset}: {count} training images.")
        self.total = self.steps * recipe.epochs
        self.drawn = drawn or tuple(t.to(device) for t in tables(recipe, count, side))
        rates = [learning_rate(recipe, step, self.total) for step in range(self.total)]
        self.rates = torch.tensor(rates, dtype=torch.float32, device=device)

        first, lowered = program.first(recipe), set(program.lowered)
        names = [name for name, _ in program.network.named_parameters()]
        names.sort(key=lambda name: name not in lowered)  # what is read in bfloat16 lies together
        shapes = {name: first[name] for name in names}
        places, size = _places(shapes)
        self.weights, self.momentum, self.gradient = (torch.zeros(size, device=device) for _ in range(3))
        self.low = self.weights.to(torch.bfloat16) if lowered else None
        self.parameters = _parts(self.weights, places, shapes)
        low = {} if self.low is None else _parts(self.low, places, shapes)
        self.leaves = {
            name: (low if name in lowered else self.parameters)[name].detach().requires_grad_() for name in names
        }
        self._lowered, self._gap = len(lowered), torch.zeros(_ALIGNED, device=device)
        counters = set(program.counters)
        self.buffers = {
            name: tensor.to(device, copy=True)
            for name, tensor in first.items()
            if name not in self.parameters and name not in counters
        }
        self.step = torch.zeros(1, dtype=torch.int64, device=device)
        self.sums = torch.zeros(recipe.epochs, 2, dtype=torch.float64, device=device)  # losses, right labels
        self.rate = torch.zeros((), device=device)
        shares = list(self.weights.split(_SHARE))
        for share, gradient in zip(shares, self.gradient.split(_SHARE), strict=True):
            share.grad = gradient
        self.optimizer = torch.optim.SGD(
            shares, self.rate, recipe.momentum, weight_decay=recipe.weight_decay, fused=device.type == "cuda"
        )
        # From zeros the first step is as every other; torch's own first step copies the gradient, which is the same.
        if recipe.momentum:
            for share, momentum in zip(shares, self.momentum.split(_SHARE), strict=True):
                self.optimizer.state[share]["momentum_buffer"] = momentum
        self.graph: torch.cuda.CUDAGraph | None = None
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.done = 0  # steps that were asked for
        self.spells: list[Spell] = []
        self._asked: deque[tuple[int, torch.cuda.Event | None]] = deque()
        self.load({"state": first, "momentum": None, "done": 0, "sums": None, "seconds": []})

    def _one_step(self) -> None:
        rows, flips, by = (t.index_select(0, self.step)[0] if t.numel() else None for t in self.drawn)
        self.rate.copy_(self.rates.index_select(0, self.step)[0])
        if self.low is not None:
            self.low.copy_(self.weights)
        loss, right = self.program.loss(self.leaves | self.buffers, self.program.data.train, (rows, flips, by))
        gradients = torch.autograd.grad(loss, list(self.leaves.values()))
        with torch.no_grad():
            end = self._gather(gradients[: self._lowered], 0)
            self._gather(gradients[self._lowered :], end)
            self.optimizer.step()
            found = torch.stack((loss.detach().double() * self.recipe.batch, right.double()))
            self.sums.index_add_(0, self.step // self.steps, found[None])
            self.step += 1

    def _gather(self, gradients: Sequence[Tensor], start: int) -> int:
        """Gradients of one dtype to their places in the vector, in one copy; returns where they end."""
        if not gradients:
            return start
        gap, flat = self._gap.to(gradients[0].dtype), []
        for gradient in gradients:
            flat.append((gradient.permute(0, 2, 3, 1) if gradient.ndim == 4 else gradient).reshape(-1))
            flat.append(gap[: -gradient.numel() % _ALIGNED])
        joined = torch.cat(flat)
        self.gradient[start:][: len(joined)].copy_(joined)
        return start + len(joined)

    def capture(self) -> None:
        """Make the graph of a step; the run's state is as it was before. Without CUDA there is none to make."""
        if self.stream is None or self.graph is not None:
            return
        kept, before = self.checkpoint(), torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = True  # what is measured once is used for the whole run
        try:
            with torch.cuda.stream(self.stream):
                for _ in range(_WARM_UP):
                    self.step.zero_()
                    self._one_step()
            self.stream.synchronize()
            self.graph = torch.cuda.CUDAGraph()
            # Thread local: other runs go on meanwhile.
            with torch.cuda.graph(self.graph, stream=self.stream, capture_error_mode="thread_local"):
                self._one_step()
        finally:
            torch.backends.cudnn.benchmark = before
        self.load(kept)

    def ask(self) -> None:
        """The steps up to the end of this part of the epoch: on a GPU only asked for, and not waited for."""
        part = -(-self.steps // _PARTS)
        within = self.done % self.steps
        for _ in range(min(part, self.steps - within)):
            if self.graph is None:
                self._one_step()
            else:
                with torch.cuda.stream(self.stream):
                    self.graph.replay()
            self.done += 1
        event = None
        if self.stream is not None:
            event = torch.cuda.Event()
            event.record(self.stream)
        self._asked.append((self.done, event))

    def settle(self, but: int = 0) -> None:
        """Wait until what was asked for has been done, but for the last so many parts; ends of epochs are noted.

        Raises:
            Refusal: when the loss of an epoch is not finite.
        """
        while len(self._asked) > but:
            done, event = self._asked.popleft()
            if event is not None:
                event.synchronize()
            epoch, more = divmod(done, self.steps)
            if more == 0:
                self.ends.append(time.perf_counter())
                if not math.isfinite(loss := float(self.sums[epoch - 1, 0])):
                    raise Refusal(f"The loss of {self.recipe.name} is {loss} in epoch {epoch}: try a smaller rate.")

    def state(self) -> dict[str, Tensor]:
        """A `state_dict` of the network, on the CPU."""
        count = torch.tensor(self.done)
        tensors = self.parameters | self.buffers | dict.fromkeys(self.program.counters, count)
        return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}

    def checkpoint(self) -> dict[str, Any]:
        """What `load` takes: state, momentum, steps done, sums of the curve, and its epochs' seconds; the recipe, and its spells."""
        self.settle()
        state = {name: tensor for name, tensor in self.state().items() if name not in set(self.program.counters)}
        return {"state": state, "momentum": self.momentum.cpu(), "done": self.done, "sums": self.sums.cpu(),
                "seconds": self.seconds, "recipe": asdict(self.recipe), "spells": self.spells}  # fmt: skip

    @torch.no_grad()
    def load(self, kept: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        for name, tensor in (self.parameters | self.buffers).items():
            tensor.copy_(kept["state"][name])
        self.momentum.zero_() if kept["momentum"] is None else self.momentum.copy_(kept["momentum"])
        self.sums.zero_() if kept["sums"] is None else self.sums.copy_(kept["sums"])
        self.done, self.spells = kept["done"], kept.get("spells", [])
        self.step.fill_(self.done)
        first = time.perf_counter() - sum(kept["seconds"])
        self.ends = [first + more for more in itertools.accumulate(kept["seconds"], initial=0.0)]
        if self.stream is not None:
            torch.cuda.synchronize()

    @property
    def seconds(self) -> list[float]:
        """Of each epoch that has ended."""
        return [later - earlier for earlier, later in itertools.pairwise(self.ends)]

    def curve(self) -> list[dict[str, float]]:
        """Of the epochs that have ended: the points of `companion.train`'s curve, without the test set."""
        pictures = self.steps * self.recipe.batch
        sums = self.sums.tolist()
        return [
            {"epoch": epoch + 1, "loss": sums[epoch][0] / pictures, "train_top1": 100 * sums[epoch][1] / pictures,
             "images_per_s": pictures / seconds, "seconds": seconds}
            for epoch, seconds in enumerate(self.seconds)
        ]  # fmt: skip
