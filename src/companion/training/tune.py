"""Fine-tuning as in section 5.1.2: 3 epochs from published weights, at a small rate.

What the paper leaves open is ours: SGD with momentum 0.9, weight decay 1e-4, the rate constant, images flipped at random; and
batch statistics stay as published, for small batches of few images estimate them worse than the training of a million did
(re-estimating them alone cost 3.6 points). With statistics frozen, gradients are large (their norm is near 100 on MobileNetV2):
at the paper's rate of 0.001 and batches of 8 the plain network's loss rose from 2 to 7 within ten steps and stayed there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from companion.core.errors import Refusal
from companion.data.normalisation import normalize
from companion.training.checkpoint import load_tensors, save_tensors

# (epoch, rank, world) -> one process's share of each batch: colours in [0, 1] and labels, augmented; and how many images the
# batch holds in all.
Epochs = Callable[[int, int, int], Iterator[tuple[Tensor, Tensor, int]]]


@dataclass(frozen=True)
class Tuning:
    """How a network is fine-tuned."""

    epochs: int
    batch: int
    lr: float
    momentum: float = 0.9
    weight_decay: float = 1e-4
    seed: int = 0

    def generator(self, epoch: int) -> torch.Generator:
        """Of an epoch's draws."""
        return torch.Generator().manual_seed(1_000_003 * self.seed + epoch)


def in_memory(images: Tensor, labels: Tensor, tuning: Tuning) -> Epochs:
    """Images (N, 3, H, W) in bytes, in an order and with flips that follow (seed, epoch); no image is left out."""

    def epoch(number: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Tensor, Tensor, int]]:
        generator = tuning.generator(number)
        order = torch.randperm(len(labels), generator=generator)
        flips = torch.rand(len(labels), generator=generator) < 0.5
        for rows in order.split(tuning.batch):
            mine = rows[rank::world]
            chosen = images[mine].float() / 255
            yield torch.where(flips[mine, None, None, None], chosen.flip(3), chosen), labels[mine], len(rows)

    return epoch


def freeze_statistics(model: nn.Module) -> None:
    """Training mode, but batch normalisation normalises by the statistics it has, and keeps them."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def fine_tune(
    model: nn.Module, epochs: Epochs, tuning: Tuning, checkpoint: Path | None = None, device: str = "cpu"
) -> list[float]:
    """Fine-tune a network in place; it is left in eval mode.

    Under torchrun, with a process group, the processes share each batch and its gradients: the weights are those of one
    process but for rounding, and for what dropout draws.

    Args:
        model: normalised images (B, 3, H, W) -> logits, on `device`.
        checkpoint: written after every epoch, and gone on from.

    Returns:
        The mean loss of each epoch, over this process's images.

    Raises:
        Refusal: when the loss is no longer finite; when the checkpoint is of another tuning.
    """
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    freeze_statistics(model)
    running = DistributedDataParallel(model, broadcast_buffers=False) if world > 1 else model
    optimizer = torch.optim.SGD(
        model.parameters(), tuning.lr, momentum=tuning.momentum, weight_decay=tuning.weight_decay
    )
    means = _resumed(checkpoint, model, optimizer, tuning) if checkpoint is not None and checkpoint.exists() else []
    for number in range(len(means), tuning.epochs):
        total = seen = 0.0
        for step, (images, labels, count) in enumerate(epochs(number, rank, world)):
            # Dropout draws the same for every method, and does not depend on what was drawn before.
            torch.manual_seed(((1_000_003 * tuning.seed + number) * 1_000_003 + step) * world + rank)
            logits = running(normalize(images.to(device)))
            losses = F.cross_entropy(logits, labels.to(device), reduction="none")
            optimizer.zero_grad(set_to_none=True)
            (losses.sum() * world / count).backward()  # gradients are averaged over processes
            optimizer.step()
            total, seen = total + losses.sum().item(), seen + len(losses)
            if not math.isfinite(total):
                raise Refusal(f"The loss is {total} at step {step + 1} of epoch {number + 1}: try a smaller lr.")
        means.append(total / max(seen, 1))
        if checkpoint is not None and rank == 0:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            save_tensors(checkpoint, state | {"tuning": asdict(tuning), "means": means})
    model.eval()
    return means


def _resumed(checkpoint: Path, model: nn.Module, optimizer: torch.optim.Optimizer, tuning: Tuning) -> list[float]:
    kept = load_tensors(checkpoint)
    if not {"tuning", "model", "optimizer", "means"} <= set(kept):
        raise Refusal(f"{checkpoint} is no checkpoint of a tuning: move it away.")
    if kept["tuning"] != asdict(tuning):
        raise Refusal(f"{checkpoint} is of another tuning, {kept['tuning']}: move it away.")
    model.load_state_dict(kept["model"])
    optimizer.load_state_dict(kept["optimizer"])
    means: list[float] = kept["means"]
    return means
