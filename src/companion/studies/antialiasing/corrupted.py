"""Networks on corrupted images, and the mean corruption error (Hendrycks & Dietterich, 2019), relative to the plain network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from companion.data.common_corruptions import COMMON, corrupt_commonly
from companion.data.labelled import Labelled, Split
from companion.measures.accuracy import right_labels


def errors(
    models: dict[str, nn.Module],
    data: Labelled,
    limit: int,
    severities: Sequence[int],
    device: torch.device | str = "cpu",
) -> list[dict[str, Any]]:
    """Percent of wrong labels by method and corruption, over the first test images at every severity; models are on `device`."""
    images, labels = data.test.images[:limit], data.test.labels[:limit]
    rows = []
    for kind in tqdm(COMMON, desc="corruptions", leave=False, disable=None):
        wrong = dict.fromkeys(models, 0.0)
        for severity in severities:
            split = Split(corrupt_commonly(images, kind, severity), labels).to(device)
            for method, model in models.items():
                wrong[method] += 100 * (~right_labels(model, split.batches(100), data.normalize)).double().mean().item()
        n = len(labels) * len(severities)
        rows += [
            {"method": m, "input": f"corrupted: {kind}", "n": n, "error": w / len(severities)} for m, w in wrong.items()
        ]
    return rows


def relative(rows: Sequence[dict[str, Any]], plain: str) -> list[dict[str, Any]]:
    """Mean corruption error by seed and method: of every kind its error in percent of the plain network's, then the mean over kinds.

    >>> rows = [{"seed": 0, "method": m, "input": "corrupted: fog", "error": e} for m, e in (("plain", 40.0), ("MASS", 30.0))]
    >>> relative(rows, "plain")
    [{'seed': 0, 'method': 'plain', 'relative': 100.0}, {'seed': 0, 'method': 'MASS', 'relative': 75.0}]
    """
    of_plain = {(row["seed"], row["input"]): row["error"] for row in rows if row["method"] == plain}
    shares: dict[tuple[int, str], list[float]] = {}
    for row in rows:
        if error := of_plain[
            row["seed"], row["input"]
        ]:  # of a kind that spoils no label of the plain network there is no share
            shares.setdefault((row["seed"], row["method"]), []).append(100 * row["error"] / error)
    return [{"seed": s, "method": m, "relative": sum(found) / len(found)} for (s, m), found in shares.items()]
