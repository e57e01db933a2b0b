"""The arithmetic of a GPU's products, set for as long as it is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def arithmetic(precision: str, setting: str = "") -> Iterator[None]:
    """Inside it, float32 products are in TF32 if so called, and cuDNN is set so."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic, cudnn.benchmark, cudnn.enabled
    cudnn.allow_tf32 = matmul.allow_tf32 = precision == "tf32"
    cudnn.deterministic = setting == "cudnn.deterministic"
    cudnn.benchmark = setting == "cudnn.benchmark"
    cudnn.enabled = setting != "no cudnn"
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic, cudnn.benchmark, cudnn.enabled = before
