"""How near to a tie an image brings each origin of a converted network: the energies its phases are chosen by.

A tie is where methods that compare rounded sums go wrong. Exactness here does not hang on margins; they say how often it
is put to the test, and they are what an attack makes small (companion.measures.near_ties).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pandas as pd
import torch
from torch import Tensor, nn

import mass
from companion.measures.origins import origin_maps


def margins(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], prepare: Callable[[Tensor], Tensor]
) -> pd.DataFrame:
    """A row per image and origin: the origin's number and the total stride before and behind it, and `mass.margin` there."""
    rows, device = [], next(model.parameters()).device
    with torch.no_grad():
        for images, _ in batches:
            x = prepare(images).to(device)
            for number, (features, period) in enumerate(origin_maps(model, x), 1):
                stride = x.shape[2] // features.shape[2]
                name = f"{number}: stride {stride} to {stride * period[0]}"
                rows += [{"origin": name, "margin": m} for m in mass.margin(features, period).tolist()]
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Per origin: images, median and smallest margin, and the percentages of images within a precision's rounding of a tie."""
    groups = table.groupby("origin", sort=False)["margin"]
    found = {"n": groups.size(), "median": groups.median(), "smallest": groups.min()}
    for dtype in (torch.bfloat16, torch.float32):
        near = table["margin"] < torch.finfo(dtype).eps
        found[f"within_{str(dtype)[6:]}"] = 100 * near.groupby(table["origin"], sort=False).mean()
    return pd.DataFrame(found)
