"""Folds of few images of many classes: each image is held out once, by networks that were tuned on all others."""

from __future__ import annotations

import torch
from torch import Tensor


def stratified(labels: Tensor, folds: int, seed: int = 0) -> Tensor:
    """The fold that holds each image out, (N,) int64.

    The images of a class are dealt to the folds one by one, and the next class goes on where the last one ended: in no two
    folds do the counts of a class, nor of all images, differ by more than one.

    Raises:
        ValueError: for fewer than two folds, or fewer images than folds.

    >>> stratified(torch.tensor([5, 7, 5, 7, 5, 7]), 3).unique(return_counts=True)[1]
    tensor([2, 2, 2])
    """
    if not 2 <= folds <= len(labels):
        raise ValueError(f"folds must be from 2 to the number of images, {len(labels)}, got {folds}.")
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    dealt = shuffled[labels[shuffled].argsort(stable=True)]  # class by class, in a random order within each
    held_out = torch.empty(len(labels), dtype=torch.int64)
    held_out[dealt] = torch.arange(len(labels)) % folds
    return held_out
