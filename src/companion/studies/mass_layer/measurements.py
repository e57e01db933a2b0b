"""The measurements of notebook 02: what is bit-identical, what ties, what rules choose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

import mass
from companion.data.generated.hard_images import centred_photograph
from companion.measures.shifts import random_shifts
from companion.models.layer_by_layer import layer_by_layer
from companion.models.random_weights import calibrated
from mass.baselines.aps import convert_to_aps

# A logit that moves by more than this share of the largest one moved by more than rounding (which is 1e-6, in bfloat16 1e-2): a different
# sampling phase was selected or, in the plain network, borders show.
GROSS = {torch.float32: 1e-3, torch.bfloat16: 0.05}


def grids_by_method(
    network: str, images: dict[str, Tensor], shifts: int, dtype: torch.dtype, device: torch.device
) -> list[dict[str, Any]]:
    """Percent of shifts that change any bit of the logits, and that change one by more than rounding (`another grid`), per image and method."""
    model = calibrated(network).to(device)
    batch = torch.cat(list(images.values())).to(device)
    tried = random_shifts((batch.shape[2], batch.shape[3]), shifts)
    methods = {
        "plain": model,
        "layer by layer": layer_by_layer(model),
        "APS": convert_to_aps(model, batch),
        "MASS": mass.convert(model, batch),
    }
    rows = []
    for method, candidate in methods.items():
        candidate = candidate.to(dtype)
        with torch.no_grad():
            largest = candidate(batch.to(dtype)).double().abs().amax(1).cpu()
        found = [mass.certify(candidate, batch.to(dtype), [t]) for t in tried]
        changed = torch.stack([~c.identical for c in found]).double().mean(0) * 100
        gross = torch.stack([c.max_difference > GROSS[dtype] * largest for c in found]).double().mean(0) * 100
        for name, any_bit, grid in zip(images, changed.tolist(), gross.tolist(), strict=True):
            rows.append({"method": method, "image": name, "dtype": str(dtype)[6:], "shifts": shifts,
                         "any bit": any_bit, "another grid": grid})  # fmt: skip
    return rows


def phase_rounding(images: dict[str, Tensor]) -> list[dict[str, Any]]:
    """The margin of the first origin (period 2), and what float sums make of it in two precisions."""
    rows = []
    for name, x in images.items():
        row: dict[str, Any] = {"image": name, "margin": mass.margin(x, 2).item()}
        for dtype in (torch.float32, torch.bfloat16):
            sums = [x[..., i::2, j::2].to(dtype).square().sum() for i in (0, 1) for j in (0, 1)]
            first, second = torch.stack(sums).double().topk(2).values.tolist()
            row[f"as {str(dtype)[6:]} sums"] = (first - second) / first if first else 0.0
        rows.append(row)
    return rows


def rule_agreement(rules: Sequence[str], size: int, seed: int, crops: int = 400) -> pd.DataFrame:
    """Percent of crops of photographs on which two rules choose the same origin (period 2)."""
    generator = torch.Generator().manual_seed(seed)
    photos = [centred_photograph(256, 384, which) for which in (0, 1)]
    places = [torch.randint(0, n - size, (crops,), generator=generator).tolist() for n in (256, 384)]
    x = torch.cat(
        [photos[k % 2][..., i : i + size, j : j + size] for k, (i, j) in enumerate(zip(*places, strict=True))]
    )
    chosen = {rule: mass.select_origin(x, 2, rule) for rule in rules}
    table = {a: {b: (chosen[a] == chosen[b]).all(1).double().mean().item() * 100 for b in rules} for a in rules}
    return pd.DataFrame(table)
