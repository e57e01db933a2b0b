"""How a dense output moves along with its input: bit-identically, and in its labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mass.nn.evaluating import evaluating


def moves_along(model: nn.Module, x: Tensor, shifts: Sequence[tuple[int, int]]) -> dict[str, float]:
    """How a dense output follows its input: `identical`, percent of shifts with f(S x) == S f(x), bit-identically; and
    `same labels`, percent of pixels whose label is the same, moved back, over all shifts."""
    with evaluating(model):
        still = dense(model, x)
        moved = [dense(model, x.roll((-i, -j), (2, 3))).roll((i, j), (2, 3)) for i, j in shifts]
    identical = sum(torch.equal(still, back) for back in moved)
    labels = torch.stack([(still.argmax(1) == back.argmax(1)).double().mean() for back in moved])
    return {"identical": 100 * identical / len(moved), "same labels": 100 * labels.mean().item()}


def dense(model: nn.Module, x: Tensor) -> Tensor:
    """The scores of every pixel (B, classes, H, W); torchvision's models return them as 'out'."""
    y: Any = model(x)
    return y["out"] if isinstance(y, dict) else y


def disagreement(model: nn.Module, x: Tensor, shifts: Sequence[tuple[int, int]]) -> dict[str, Tensor]:
    """Labels of an image (1, C, H, W), of its moved copies, moved back, and the share of these that differ, per pixel, on the CPU.

    Returns:
        labels (H, W); moved (shifts, H, W); differs (H, W) in [0, 1].
    """
    with evaluating(model):
        labels = dense(model, x).argmax(1)[0]
        moved = [dense(model, x.roll((-i, -j), (2, 3))).argmax(1)[0].roll((i, j), (0, 1)) for i, j in shifts]
    stack, labels = torch.stack(moved).cpu(), labels.cpu()
    return {"labels": labels, "moved": stack, "differs": (stack != labels).double().mean(0)}
