"""Along a line through image space: where a network jumps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mass.nn.evaluating import evaluating

FINE = 1 / 64  # of a line


def along(network: nn.Module, start: Tensor, end: Tensor, steps: int, batch: int = 20) -> Tensor:
    """The logits of images on the line from one to another, (3, H, W) -> (steps + 1, classes)."""
    t = torch.linspace(0, 1, steps + 1).view(-1, 1, 1, 1)
    with evaluating(network):
        return torch.cat([network(start + part * (end - start)) for part in t.split(batch)])


def tie_on_the_way(network: nn.Module, start: Tensor, end: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Two images on a line between which a network jumps farthest, (3, H, W) each: a 64th of the line apart, or nearer.

    It is looked for in so many steps, and again between the neighbours found.
    """
    apart = 1.0
    while apart > FINE:
        logits = along(network, start, end, steps)
        where = int((logits[1:] - logits[:-1]).abs().amax(1).argmax())
        start, end = (start + k / steps * (end - start) for k in (where, where + 1))
        apart /= steps
    return start, end


def largest_jumps(
    networks: Mapping[str, nn.Module], left: Tensor, right: Tensor, counts: list[int]
) -> list[dict[str, Any]]:
    """The largest change of a logit between neighbours on a line, for finer and finer steps.

    Returns:
        Rows: method, steps, jump.
    """
    return [
        {"method": name, "steps": steps, "jump": _jump(along(network, left, right, steps))}
        for name, network in networks.items()
        for steps in counts
    ]


def _jump(logits: Tensor) -> float:
    return (logits[1:] - logits[:-1]).abs().max().item()
