"""Guards: what was decided by the size or dtype of the example must stay decided so, and what is made must follow the size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Decision(nn.Module):
    """What a model decided by the example's size or dtype; other inputs must lead it to the same.

    >>> Decision(False, "0 != 0")(0)
    >>> Decision(False, "0 != 0")(1)
    Traceback (most recent call last):
    ValueError: the model would decide otherwise for this input than for the example it was converted with (it found \
0 != 0 False); convert it with an example of this size and dtype.
    """

    _is_impure = True  # to torch.fx: nobody reads what it returns

    def __init__(self, outcome: bool | float | tuple[Any, ...], question: str) -> None:
        super().__init__()
        self.outcome, self.question = outcome, question

    def forward(self, value: Any) -> None:
        if type(self.outcome)(value) != self.outcome:
            raise ValueError(
                "the model would decide otherwise for this input than for the example it was converted with "
                f"(it found {self.question} {self.outcome}); convert it with an example of this size and dtype."
            )

    def extra_repr(self) -> str:
        return f"{self.question} is {self.outcome}"


class Make(nn.Module):
    """`torch.zeros` and its like, of a size that depends on the input's; or `torch.finfo`, of its dtype."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return getattr(torch, self.name)(*args, **kwargs)

    def extra_repr(self) -> str:
        return self.name
