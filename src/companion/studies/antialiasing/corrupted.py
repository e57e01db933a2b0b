"""Networks on corrupted images, and the mean corruption error (Hendrycks & Dietterich, 2019), relative to the plain network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from companion.data.corruptions import CORRUPTIONS, corrupt
from companion.data.labelled import Labelled, Split
from companion.measures.accuracy import right_labels


def errors(models: dict[str, nn.Module], data: Labelled, limit: int) -> list[dict[str, Any]]:
    """Percent of wrong labels by method and corruption, over the first test images. JPEG is for colour alone."""
    images, labels = data.test.images[:limit], data.test.labels[:limit]
    rows = []
    for kind in (k for k in CORRUPTIONS if k != "JPEG" or images.shape[1] == 3):
        split = Split(corrupt(images, kind), labels)
        for method, model in models.items():
            right = right_labels(model, split.batches(100), data.normalize)
            rows.append(
                {
                    "method": method,
                    "input": f"corrupted: {kind}",
                    "n": len(labels),
                    "error": 100 * (~right).double().mean().item(),
                }
            )
    return rows


def relative(rows: Sequence[dict[str, Any]], plain: str) -> dict[str, float]:
    """Mean corruption error by method, in percent of the plain network's: the sum of errors over its sum.

    >>> row = lambda method, error: {"method": method, "input": "corrupted: noise", "error": error}
    >>> relative([row("plain", 40.0), row("MASS", 30.0)], "plain")
    {'plain': 100.0, 'MASS': 75.0}
    """
    sums: dict[str, float] = {}
    for row in rows:
        if row["input"] != "corrupted: none":
            sums[row["method"]] = sums.get(row["method"], 0.0) + row["error"]
    return {method: 100 * total / sums[plain] for method, total in sums.items()}
