"""What notebook 10 measures besides its trainings: losses by construction, equivalence, speed, certificates."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from scipy import stats
from torch import Tensor, nn

import mass
from companion.core.records import Record
from companion.data.transforms import DRAWS, Shifts, Transforms
from companion.measures.equivariance import equivariance_errors, shifts_of
from companion.measures.paired_t import SPREAD
from companion.measures.timing import compared, milliseconds
from companion.models.implicit.group_pool import GroupPool
from companion.models.implicit.steerable import SteerableNet
from companion.models.methods import METHODS

_COUNT = 16  # random images


def layers_of(model: nn.Module) -> list[str]:
    """The layers of a network of this study that its loss reads."""
    return model.layers  # type: ignore[return-value]


def errors(
    model: nn.Module, images: Tensor, transforms: Transforms, prepare: Any = lambda images: images
) -> list[float]:
    """`equivariance_errors` of all its layers, by its own groups."""
    pool = GroupPool(model.groups)  # type: ignore[arg-type]
    return equivariance_errors(model, layers_of(model), pool, images, transforms, prepare)


def by_construction(net: str, steerable: str, side: int) -> Iterator[dict[str, Any]]:
    """Untrained networks, and how far the worst of their layers is from equivariance: a row a network and transformation.

    Args:
        net, steerable: keys of `companion.models.methods.NETS`.
        side: of random images.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(_COUNT, 1, side, side, generator=generator)
    networks = {
        "plain": METHODS["baseline-zero"].build(net, 0),
        "steerable": METHODS["baseline-zero"].build(steerable, 0),
        "MASS": METHODS["mass"].build(net, 0),
    }
    for method, model in networks.items():
        model(x)  # normalisation sees something
        model.eval()
        for name in ("r4", "r8", "shifts"):
            transforms = DRAWS[name](_COUNT, side, torch.Generator().manual_seed(1))
            if isinstance(transforms, Shifts):
                by = transforms.by  # a grid that stays in the image moves by whole positions, if at all
                transforms = shifts_of(model, x, by) if method == "MASS" else Shifts(by, side, {2: by // 2, 4: by // 4})
            yield {
                "method": method,
                "rule": name,
                "stage": "untrained",
                "error": max(filter(math.isfinite, errors(model, x, transforms))),
            }


def equivalent(ours: Mapping[int, float], theirs: Mapping[int, float], margin: float) -> dict[str, Any]:
    """Whether two means are the same within `margin`: two one-sided paired t-tests over common seeds.

    Returns:
        n, difference (ours minus theirs), its 90% interval (low, high), p of the larger of the two tests, and whether the
        interval lies within the margin; with fewer than two common seeds, or where all differ alike, no interval.
    """
    seeds = sorted(set(ours) & set(theirs))
    differences = [ours[seed] - theirs[seed] for seed in seeds]
    row: dict[str, Any] = {"n": len(seeds), "difference": statistics.mean(differences), "margin": margin}
    if len(seeds) < 2 or statistics.stdev(differences) < SPREAD:
        return row | {"low": None, "high": None, "p": None, "equivalent": None}
    error, free = statistics.stdev(differences) / len(seeds) ** 0.5, len(seeds) - 1
    reach = float(stats.t.ppf(0.95, free)) * error
    p = max(
        float(stats.t.sf((row["difference"] + margin) / error, free)),
        float(stats.t.cdf((row["difference"] - margin) / error, free)),
    )
    low, high = row["difference"] - reach, row["difference"] + reach
    return row | {"low": low, "high": high, "p": p, "equivalent": -margin < low and high < margin}


def of_arm(records: Iterable[Record], method: str, dataset: str, field: str = "top1") -> dict[int, float]:
    """One number by seed."""
    return {r["seed"]: r[field] for r in records if (r["method"], r["dataset"]) == (method, dataset) and field in r}


def speed(networks: Mapping[str, nn.Module], x: Tensor, rounds: int) -> list[dict[str, Any]]:
    """Inference of all in turns in one run, ratios to the IEN; steerable ones as they are, and exported to plain convolutions."""
    networks = {method: model.eval() for method, model in networks.items()}
    for method, model in list(networks.items()):
        if isinstance(model, SteerableNet):
            networks[f"{method}, exported"] = model.export()
    with torch.no_grad():
        calls = {method: lambda model=model: model(x) for method, model in networks.items()}
        times = milliseconds(calls, rounds)
    return list(compared(times, "IEN"))


def certificates(networks: Mapping[str, nn.Module], x: Tensor) -> list[dict[str, Any]]:
    """All shifts that networks tell apart, bit by bit, and the worst layer's error under random ones."""
    rows = []
    by = torch.randint(x.shape[2], (len(x), 2), generator=torch.Generator().manual_seed(2))
    for method, model in networks.items():
        certificate = mass.certify(model, x, shifts=None if method != "IEN" and method != "plain" else 16)
        transforms = shifts_of(model, x, by)
        moves = bool(transforms.moved)
        rows.append(
            {
                "method": method,
                "stage": "certificate",
                "verdict": certificate.outcome.name,
                "images": len(x),
                "shift_error": max(errors(model, x, transforms)) if moves else None,
            }
        )
    return rows
