"""The device that a run uses."""

from __future__ import annotations

import os

import torch


def at_hand() -> torch.device:
    """The GPU of this process (of several, that of its LOCAL_RANK) where there is one, or the CPU.

    What is called float32 is float32 there: PyTorch's convolutions would be in TF32.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
