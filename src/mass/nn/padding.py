"""What padding becomes in a converted network."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


class NoPad(nn.Module):
    """Padding by amounts that follow from sizes and were zero for the example: they must stay zero."""

    def forward(self, x: Tensor, amounts: Any) -> Tensor:
        if any(amounts):
            raise ValueError(
                f"padding by {tuple(amounts)} at this size, by nothing for the example it was converted with."
            )
        return x.clone()  # as padding does: it may be written to


class Folded(nn.Module):
    """Where a map was padded; the next window wraps instead. Other axes, time say, are padded as they were."""

    def __init__(self, amounts: tuple[int, ...] = (), value: float = 0.0) -> None:
        super().__init__()
        self.amounts, self.value = amounts, value

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self.amounts, value=self.value) if self.amounts else x
