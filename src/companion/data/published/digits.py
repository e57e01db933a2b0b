"""scikit-learn's digits (8 x 8), which it brings along: to try things on without a download."""

from __future__ import annotations

from pathlib import Path

import torch

from companion.data.labelled import Labelled, Split
from companion.data.transformed import Transformed, transformed


def digits(root: Path) -> Labelled:
    """scikit-learn's digits: 1,297 to train on, 500 to test."""
    from sklearn.datasets import load_digits  # not on a bare GPU machine

    found = load_digits()
    images = torch.tensor(found.images * 255 / 16, dtype=torch.uint8)[:, None]  # (1797, 1, 8, 8)
    labels = torch.tensor(found.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, test = (Split(images[rows], labels[rows]) for rows in (order[:1297], order[1297:]))
    return Labelled(train, test, (0.3053,), (0.3758,))


def rotated_digits(root: Path) -> Transformed:
    """scikit-learn's digits (8 x 8), turned: to try things on."""
    plain = digits(root)
    return transformed(plain.train, plain.test, "rotations", False)
