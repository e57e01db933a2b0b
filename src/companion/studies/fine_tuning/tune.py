"""Fine-tuning as in section 5.1.2: 3 epochs from published weights, at a small rate.

What the paper leaves open is ours: SGD with momentum 0.9, weight decay 1e-4, the rate constant, images flipped at random; and
batch statistics stay as published, for small batches of few images estimate them worse than the training of a million did
(re-estimating them alone cost 3.6 points). With statistics frozen, gradients are large (their norm is near 100 on MobileNetV2):
at the paper's rate of 0.001 and batches of 8 the plain network's loss rose from 2 to 7 within ten steps and stayed there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from companion.core.errors import Refusal
from companion.data.normalisation import normalize

# An epoch's number -> its batches: colours in [0, 1] and labels, augmented; all processes get the same.
Epochs = Callable[[int], Iterator[tuple[Tensor, Tensor]]]


@dataclass(frozen=True)
class Tuning:
    """How a network is fine-tuned."""

    epochs: int
    batch: int
    lr: float
    momentum: float = 0.9
    weight_decay: float = 1e-4
    seed: int = 0


def in_memory(images: Tensor, labels: Tensor, tuning: Tuning) -> Epochs:
    """Images (N, 3, H, W) in bytes, in an order and with flips that follow (seed, epoch); no image is left out."""

    def epoch(number: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(1_000_003 * tuning.seed + number)
        order = torch.randperm(len(labels), generator=generator)
        flips = torch.rand(len(labels), generator=generator) < 0.5
        for rows in order.split(tuning.batch):
            chosen = images[rows].float() / 255
            yield torch.where(flips[rows, None, None, None], chosen.flip(3), chosen), labels[rows]

    return epoch


def freeze_statistics(model: nn.Module) -> None:
    """Training mode, but batch normalisation normalises by the statistics it has, and keeps them."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def fine_tune(model: nn.Module, epochs: Epochs, tuning: Tuning) -> list[float]:
    """Fine-tune a network in place; it is left in eval mode.

    Under torchrun, with a process group, the processes share each batch and its gradients: the weights are those of one
    process but for rounding, and for what dropout draws.

    Args:
        model: normalised images (B, 3, H, W) -> logits.

    Returns:
        The mean loss of each epoch, over this process's images.

    Raises:
        Refusal: when the loss is no longer finite.
    """
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    freeze_statistics(model)
    running = DistributedDataParallel(model, broadcast_buffers=False) if world > 1 else model
    optimizer = torch.optim.SGD(
        model.parameters(), tuning.lr, momentum=tuning.momentum, weight_decay=tuning.weight_decay
    )
    means: list[float] = []
    for number in range(tuning.epochs):
        total = seen = 0.0
        for step, (images, labels) in enumerate(epochs(number)):
            # Dropout draws the same for every method, and does not depend on what was drawn before.
            torch.manual_seed(((1_000_003 * tuning.seed + number) * 1_000_003 + step) * world + rank)
            mine = slice(rank, None, world)
            losses = F.cross_entropy(running(normalize(images[mine])), labels[mine], reduction="none")
            optimizer.zero_grad(set_to_none=True)
            (losses.sum() * world / len(labels)).backward()  # gradients are averaged over processes
            optimizer.step()
            total, seen = total + losses.sum().item(), seen + len(losses)
            if not math.isfinite(total):
                raise Refusal(f"The loss is {total} at step {step + 1} of epoch {number + 1}: try a smaller lr.")
        means.append(total / max(seen, 1))
    model.eval()
    return means
