"""The maximum over groups of channels: what implicit equivariance asks to move along, in place of the channels themselves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from companion.core.errors import Refusal

# Shares of the channels, and the size of the groups in each: as the authors of Khetan et al. (2021) have them.
GROUPS: dict[str, tuple[tuple[int, int], ...]] = {
    "none": ((1, 1),),
    "r4": ((1, 4),),
    "r8": ((1, 8),),
    "r4-2-1": ((8, 4), (2, 2), (1, 1)),
    "r8-4-2": ((8, 8), (2, 4), (1, 2)),
    "r8-4-2-1": ((32, 8), (8, 4), (2, 2), (1, 1)),
}


class GroupPool(nn.Module):
    """Maxima over groups of consecutive channels: (B, C, H, W) -> (B, pooled(C), H, W).

    Args:
        groups: a key of `GROUPS`. 'r4-2-1' pools 8 of 11 channels by fours, 2 by twos, and leaves 1.

    Raises:
        Refusal: for channels that cannot be shared out so.

    >>> pool = GroupPool("r4-2-1")
    >>> pool(torch.arange(11.0).reshape(1, 11, 1, 1)).flatten().tolist(), pool.pooled(88)
    ([3.0, 7.0, 9.0, 10.0], 32)
    """

    def __init__(self, groups: str) -> None:
        super().__init__()
        if groups not in GROUPS:
            raise Refusal(f"There are no groups named {groups!r}; known: {', '.join(GROUPS)}.")
        self.groups = groups

    def parts(self, channels: int) -> list[tuple[int, int]]:
        """How many channels are pooled by groups of which size."""
        shares: Sequence[tuple[int, int]] = GROUPS[self.groups]
        whole = sum(share for share, _ in shares)
        parts = [(channels // whole * share, size) for share, size in shares]
        if channels % whole or any(part % size for part, size in parts):
            raise Refusal(f"{channels} channels cannot be shared out into the groups {self.groups}.")
        return parts

    def pooled(self, channels: int) -> int:
        """Channels that come out."""
        return sum(part // size for part, size in self.parts(channels))

    def forward(self, x: Tensor) -> Tensor:
        parts = self.parts(x.shape[1])
        pieces = x.split([part for part, _ in parts], dim=1)
        return torch.cat(
            [piece.unflatten(1, (-1, size)).max(2)[0] for piece, (_, size) in zip(pieces, parts, strict=True)], dim=1
        )

    def extra_repr(self) -> str:
        return self.groups
