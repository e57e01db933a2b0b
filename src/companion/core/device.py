"""The device that a run uses."""

from __future__ import annotations

import os

import torch


def at_hand() -> torch.device:
    """The GPU of this process (of several, that of its LOCAL_RANK) where there is one, or the CPU."""
    return (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if torch.cuda.is_available()
        else torch.device("cpu")
    )
