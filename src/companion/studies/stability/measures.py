"""Answers as rows: what is recorded and shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from companion.measures.paired_images import compare
from companion.measures.timing import milliseconds
from companion.studies.stability.answers import NOISES, ONE_LEVEL, Answers
from companion.studies.stability.networks import BLENDED, CIRCULAR, MASS, PLAIN, paths_of

_PAIRS = [(MASS, PLAIN), (MASS, CIRCULAR), (BLENDED, MASS), (BLENDED, CIRCULAR), (BLENDED, PLAIN)]


def share(which: Tensor) -> float:
    """In percent."""
    return 100 * which.double().mean().item()


def main_rows(said: Mapping[str, Answers]) -> list[dict[str, Any]]:
    """Per network: n, top1, and the percentage of labels that noise of two grey levels changes."""
    return [
        {"method": name, "n": len(a.true), "top1": share(a.right), "changed_by_noise": share(a.differ("noise 2"))}
        for name, a in said.items()
    ]


def paired(
    said: Mapping[str, Answers], pairs: Sequence[tuple[str, str]] = _PAIRS, which: str = "paired"
) -> list[dict[str, Any]]:
    """Two families of comparisons, image by image: labels changed by noise, and right labels; `which` is in their names."""
    changed = {name: a.differ("noise 2") for name, a in said.items()}
    right = {name: a.right for name, a in said.items()}
    return [
        {"stage": stage} | row
        for stage, outcomes in ((f"changed by noise, {which}", changed), (f"top-1, {which}", right))
        for row in compare(outcomes, pairs)
    ]


def paired_ways(said: Mapping[str, Answers], ways: Iterable[str]) -> list[dict[str, Any]]:
    """The same for the other ways: each against choosing, and blending against each mean, which is no blend."""
    names = list(ways)
    pairs = [(name, MASS) for name in names] + [(BLENDED, name) for name in names if "mean of" in name]
    return paired(said, pairs, "ways paired")


def changed_rows(said: Mapping[str, Answers]) -> list[dict[str, Any]]:
    """Per small change and network: n, and the percentage of labels that change."""
    kinds = [*NOISES, "JPEG 80", "brightness +1%"]
    return [
        {"method": name, "input": kind, "n": len(a.true), "changed": share(a.differ(kind))}
        for kind in kinds
        for name, a in said.items()
    ]


def costs(networks: Mapping[str, nn.Module], x: Tensor, rounds: int = 3) -> list[dict[str, Any]]:
    """Per network: the mean number of paths of an image of the batch `x`, and median milliseconds for it, all in turns."""
    with torch.no_grad():
        times = milliseconds({name: partial(network, x) for name, network in networks.items()}, rounds, warmup=1)
        return [
            {"method": name, "paths": paths_of(network, x), "milliseconds": torch.tensor(times[name]).median().item()}
            for name, network in networks.items()
        ]


def outcomes(said: Mapping[str, Answers]) -> list[dict[str, Any]]:
    """Per network: accuracy, both consistencies, stability."""
    return [
        {
            "method": name,
            "n": len(a.true),
            "top1": share(a.right),
            "shifted_top1": share(a.changed["circular shift 1"] == a.true),
            "consistency": share(a.consistent("circular")),
            "ordinary_consistency": share(a.consistent("ordinary")),
            "changed_by_noise": share(a.differ("noise 2")),
            "largest_jump": a.jump[ONE_LEVEL].max().item(),
            "mean_jump": a.jump[ONE_LEVEL].mean().item(),
        }
        for name, a in said.items()
    ]


def ways(said: Mapping[str, Answers], networks: Mapping[str, nn.Module], x: Tensor) -> list[dict[str, Any]]:
    """Per network: its outcomes, and what a batch `x` costs."""
    cost = {row["method"]: row for row in costs({name: networks[name] for name in said}, x)}
    return [row | cost[row["method"]] for row in outcomes(said)]
