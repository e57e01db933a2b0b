"""Random circular shifts."""

from __future__ import annotations

import torch


def random_shifts(size: tuple[int, int], count: int, seed: int = 0) -> list[tuple[int, int]]:
    """Circular shifts (rows, columns), uniform, none of them (0, 0)."""
    generator = torch.Generator().manual_seed(seed)
    draw = [torch.randint(1, n, (count,), generator=generator).tolist() for n in size]
    return list(zip(*draw, strict=True))
