"""What keeps all bits on the machine at hand, set for as long as it is wanted: `mass.exact`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mass.functional.origin.position_rank import on_every_device


@contextmanager
def exact() -> Iterator[tuple[str, ...]]:
    """Inside it, converted networks run by kernels that treat all positions alike, and ties are broken without a hash.

    In float32 and bfloat16 on the CPU both hold anyway. On a CUDA device cuDNN is switched off, some of whose float32 kernels
    round by position (an FFT convolution on an H200: docs/results.md), and images with ties are compared as on the CPU, which waits
    for the device; an eager pass then takes 1.3 to 2.2 times as long. `mass.certify` answers for your model and machine. Settings
    are those of the whole process, and are put back at the end.

    Yields:
        What was set, a sentence each; nothing on a machine that needs nothing.

    >>> with exact() as told:                       # on a CPU there is nothing to set
    ...     y = torch.nn.MaxPool2d(2)(torch.rand(1, 1, 8, 8))
    """
    told, cudnn = [], torch.backends.cudnn
    if not torch.backends.mkldnn.is_available() and "MKL_CBWR" not in os.environ:
        told.append("Not set: PyTorch was built without oneDNN; start it with MKL_CBWR=AVX2,STRICT in the environment.")
    if not torch.cuda.is_available():
        yield tuple(told)
        return
    told.append("cuDNN is off: some of its float32 kernels round by position.")
    told.append("Ties are broken by exact ranks, in PyTorch, not by 64-bit hashes in Triton.")
    before, cudnn.enabled = cudnn.enabled, False
    try:
        with on_every_device():
            yield tuple(told)
    finally:
        cudnn.enabled = before
