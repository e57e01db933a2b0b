"""Train a network of Table 2 or 5, from a seed to a record.

    python -m companion.train --net resnet20 --method mass --seed 0
    torchrun --nproc-per-node 2 -m companion.train --net resnet18 --method mass

The recipe is the paper's (section 5.1.1): SGD, momentum 0.9, learning rate 0.2 annealed by a cosine over 250 epochs,
batch 256, weight decay 5e-4, horizontal flips. What it leaves open is set here: the cosine falls at every step, an
epoch's last batch is dropped when it is not full, images are normalised per channel.

An epoch is a function of the state before it and of (seed, epoch), nothing else, and ends in a checkpoint that appears
whole. A run that was killed and started again is, on a CPU, bit-identical to the run that was not.

This module and `companion.evaluate` need torch, torchvision, numpy and tqdm, and a data set in data/; nothing else.
"""

from __future__ import annotations

import itertools
import math
import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm.auto import tqdm

from companion.core.device import at_hand
from companion.core.errors import Refusal
from companion.core.files import write_json
from companion.core.paths import find_root
from companion.core.provenance import provenance
from companion.data.datasets import DATASETS, DataSet
from companion.models.loading import load_into
from companion.models.methods import METHODS, channels_of
from companion.training.checkpoint import load_tensors, load_weights, save_tensors
from companion.training.recipe import Recipe, from_arguments
from companion.training.record_run import record_run
from companion.training.run_folder import CHECKPOINT, CURVE, RECIPE, SPELLS, WEIGHTS, alone, read_recipe, tidy
from companion.training.spells import Spell, extended
from companion.training.tasks import require_fit, task_of
from companion.training.tasks.task import Network

_LOOK = 20  # steps between two looks at the loss: each waits for the device


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """The schedule's rate: a fall from the recipe's at step 0 to 0 at step `steps`, or one cycle.

    The cycle (Khetan et al., 2021) is a cosine from a 500th of the rate up to it and back, over the first seven ninths; a quarter rises.
    """
    if recipe.schedule == "one-cycle":
        low, cycle = recipe.lr / 500, steps * 7 // 9
        rise = cycle // 4
        share = step / max(rise, 1) if step <= rise else 1 - (step - rise) / (cycle - rise)
        return low + (recipe.lr - low) * 0.5 * (1 - math.cos(math.pi * max(share, 0.0)))
    if recipe.schedule == "poly":
        return recipe.lr * (1 - step / steps) ** 0.9
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * step / steps))


class Training:
    """A network, its optimiser and its curve so far: what a checkpoint holds."""

    def __init__(self, recipe: Recipe, data: DataSet, root: Path, compiled: bool = False) -> None:
        self.recipe = recipe
        self.world, self.rank, self.device = _place()
        self.task = task_of(data.to(self.device), recipe)
        count = data.count
        if recipe.batch > count:
            raise Refusal(f"A batch of {recipe.batch} is larger than {recipe.dataset}: {count} training images.")
        if recipe.batch % (self.world * recipe.accumulate):
            parts = f"{self.world} processes x {recipe.accumulate} parts"
            raise Refusal(f"A batch of {recipe.batch} cannot be divided evenly by {parts}.")
        weights = load_weights(root / recipe.start) if recipe.start else None
        model = METHODS[recipe.method].build(recipe.net, recipe.seed, weights)
        if (takes := channels_of(model)) != data.channels:
            raise Refusal(
                f"{recipe.net} takes images of {takes} channels, those of {recipe.dataset} have {data.channels}."
            )
        require_fit(model, self.task)
        model = model.to(self.device).to(memory_format=torch.channels_last)
        if self.world > 1 and self.device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        self.model = model
        self.running: Callable[..., Any] = (
            DistributedDataParallel(model, broadcast_buffers=False) if self.world > 1 else model
        )
        if compiled:
            self.running = torch.compile(self.running)
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}  # by how many times the rate, and the decay
        for name, parameter in model.named_parameters():
            factor = recipe.encoder_lr if name.startswith("encoder.") else 1.0
            decay = 0.0 if METHODS[recipe.method].spared(name) else recipe.weight_decay
            groups.setdefault((factor, decay), []).append(parameter)
        grouped = [
            {"params": group, "factor": factor, "weight_decay": decay} for (factor, decay), group in groups.items()
        ]
        options: dict[str, Any] = {"weight_decay": recipe.weight_decay, "fused": self.device.type == "cuda"}
        self.optimizer: torch.optim.Optimizer = (
            torch.optim.SGD(grouped, recipe.lr, recipe.momentum, **options)
            if recipe.optimizer == "sgd"
            else torch.optim.Adam(grouped, recipe.lr, **options)
        )
        self.network = Network(self.outputs, model)
        self.curve: list[dict[str, float]] = []
        self.spells: list[Spell] = []
        self.steps = count // recipe.batch  # in an epoch
        self.total = recipe.iterations or self.steps * recipe.epochs

    def autocast(self) -> AbstractContextManager:
        if self.recipe.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, getattr(torch, self.recipe.precision))

    def prepare(self, images: Tensor) -> Tensor:
        return self.task.data.normalize(images).contiguous(memory_format=torch.channels_last)

    def outputs(self, images: Tensor, *told: Any) -> Any:
        """What the network makes of a batch of bytes, and of what else it is told, in the recipe's precision."""
        with self.autocast():
            return self.running(self.prepare(images), *told)

    @property
    def done(self) -> int:
        """Steps made so far."""
        return min(self.steps * len(self.curve), self.total)

    def epoch(self, tell: Callable[[int, float, float], None]) -> None:
        """One epoch, or what is left of the last; its loss and accuracies are added to the curve.

        Raises:
            Refusal: when the loss is no longer finite.
        """
        recipe, number = self.recipe, len(self.curve)
        self.model.train()
        METHODS[recipe.method].prepare_epoch(self.model, number, -(-self.total // self.steps))
        began, done = time.perf_counter(), self.done
        seen = torch.zeros(3, device=self.device, dtype=torch.float64)  # sums: losses, right labels, labels
        steps, parts = min(self.steps, self.total - done), self.task.parts(number, self.rank, self.world)
        for step in range(1, steps + 1):
            rate = learning_rate(recipe, done + step - 1, self.total)
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group["factor"]
            self.optimizer.zero_grad(set_to_none=True)
            for part, (images, labels) in enumerate(itertools.islice(parts, recipe.accumulate)):
                # For networks that draw at random (dropout, LPS): a part's draws do not depend on who computes it.
                which = (step * self.world + self.rank) * recipe.accumulate + part
                torch.manual_seed((1_000_003 * recipe.seed + number) * 1_000_003 + which)
                loss = self.task.loss(self.network, images, labels)
                (loss.value / recipe.accumulate).backward()
                seen += torch.stack((loss.value.detach() * len(images), loss.right, loss.counted))
            self.optimizer.step()
            if step % _LOOK == 0 or step == steps:
                losses, right_so_far, counted_so_far = seen.tolist()
                mean_loss, share = losses * self.world / (step * recipe.batch), right_so_far / max(counted_so_far, 1)
                if not math.isfinite(mean_loss):
                    raise Refusal(
                        f"The loss is {mean_loss} at step {step} of epoch {number + 1}, learning rate {rate:.3g}: "
                        "try a smaller --lr. The epochs before are kept."
                    )
                tell(step % _LOOK or _LOOK, mean_loss, 100 * share)
        if self.world > 1:
            dist.all_reduce(seen)
            _average_statistics(self.model, self.world)
        shown, seconds = steps * recipe.batch, time.perf_counter() - began
        losses, right_labels, all_labels = seen.tolist()
        self.curve.append(
            {
                "epoch": number + 1,
                "loss": losses / shown,
                "train_top1": 100 * right_labels / max(all_labels, 1),  # of pixels, where these are labelled
                **self.task.score(self.model, self.prepare, self.autocast),
                "images_per_s": shown / seconds,
                "seconds": seconds,
            }
        )

    def save(self, path: Path) -> None:
        if self.rank == 0:
            state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
            save_tensors(path, state | {"recipe": asdict(self.recipe), "curve": self.curve, "spells": self.spells})

    def resume(self, path: Path) -> None:
        if not path.exists():
            return
        state = load_tensors(path)
        if not isinstance(state, dict) or not {"recipe", "model", "optimizer", "curve"} <= set(state):
            raise Refusal(f"{path} is no checkpoint of a run: move it away.")
        require_same(self.recipe, state["recipe"], path.parent)
        load_into(self.model, state["model"], f"the run {self.recipe.name}")
        self.optimizer.load_state_dict(state["optimizer"])
        self.curve, self.spells = state["curve"], state.get("spells", [])


def train(recipe: Recipe, root: Path, folder: Path, *, compiled: bool = False) -> Path:
    """Train, or go on training, in `folder`/<the recipe's name>, and return that; a finished run returns at once.

    The folder then holds weights.pt, recipe.json, curve.json and spells.json; until then checkpoint.pt, with the optimiser's state.

    Raises:
        Refusal: when what is there is of another recipe; when another process trains it, or the folder cannot be written;
            when the code is another checkout's (companion.core.provenance).
    """
    folder = folder / recipe.name
    if _finished(recipe, folder):
        tidy(folder)
        return folder
    facts = provenance(root)  # of the code as it is now: it may be changed while this trains
    training = Training(recipe, DATASETS[recipe.dataset](root), root, compiled)
    with nullcontext() if training.rank else alone(folder):
        if not _finished(recipe, folder):  # meanwhile
            training.resume(folder / CHECKPOINT)
            if training.done < training.total:
                training.spells = extended(training.spells, facts, len(training.curve) + 1)
            _to_the_end(training, folder)
    return folder


def _to_the_end(training: Training, folder: Path) -> None:
    """All epochs that are missing, and the files of a finished run."""
    hidden = True if training.rank else None  # None: shown on terminals and in notebooks alone
    total, done, name = training.total, training.done, training.recipe.name
    with tqdm(total=total, initial=done, desc=name, unit="step", disable=hidden) as progress:

        def tell(steps: int, loss: float, train_top1: float) -> None:
            last = training.curve[-1] if training.curve else {}
            test = next((f"{value:.2f}%" for name, value in last.items() if name.startswith("test_")), "-")
            progress.set_postfix(loss=f"{loss:.3f}", train=f"{train_top1:.1f}%", test=test)
            progress.update(steps)

        while training.done < training.total:
            training.epoch(tell)
            training.save(folder / CHECKPOINT)
    if training.rank == 0:
        write_json(folder / RECIPE, asdict(training.recipe))
        write_json(folder / CURVE, training.curve)
        write_json(folder / SPELLS, training.spells)
        save_tensors(folder / WEIGHTS, {name: t.cpu() for name, t in training.model.state_dict().items()})
        (folder / CHECKPOINT).unlink(missing_ok=True)


def _finished(recipe: Recipe, folder: Path) -> bool:
    if not (folder / WEIGHTS).exists():
        return False
    require_same(recipe, asdict(read_recipe(folder)), folder)
    return True


def require_same(recipe: Recipe, made: dict[str, Any], folder: Path) -> None:
    """A folder is named after a part of the recipe; the rest must not differ either. What `made` lacks came later."""
    ours, theirs = asdict(recipe), asdict(Recipe()) | made
    differs = [f"{name} {value!r}, not {ours.get(name)!r}" for name, value in theirs.items() if ours.get(name) != value]
    if differs:
        raise Refusal(f"{folder} holds a run of another recipe ({'; '.join(differs)}): move it away.")


def _place() -> tuple[int, int, torch.device]:
    """How many processes, which of them this is, and its device; under torchrun the process group is started."""
    world, device = int(os.environ.get("WORLD_SIZE", "1")), at_hand()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return world, dist.get_rank() if world > 1 else 0, device


def _average_statistics(model: nn.Module, world: int) -> None:
    """BatchNorm's running statistics, where each process has its own, become their mean."""
    for buffer in model.buffers():
        if buffer.is_floating_point():
            dist.all_reduce(buffer)
            buffer /= world


def main() -> None:
    """The command line."""
    try:
        _train_and_record()
    except Refusal as refusal:
        sys.exit(str(refusal))


def _train_and_record() -> None:
    recipe, options = from_arguments(str(__doc__).partition("\n")[0])
    root = find_root()
    folder = train(recipe, root, root / options.checkpoints, compiled=options.compile)
    if os.environ.get("RANK", "0") == "0":  # torchrun's; a finished run has started no process group to ask
        print(record_run(folder, root))
    if dist.is_initialized():
        dist.destroy_process_group()
