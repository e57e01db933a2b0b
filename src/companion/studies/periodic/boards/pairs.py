"""Crops of pairs: is there a defect? Ways to look at a template and its test. A shift between the two is no shift of the pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from companion.data.datasets import labelled
from companion.data.labelled import Split
from companion.data.published.deeppcb import DeepPcb, crops, difference
from companion.measures.paired_images import mcnemar
from companion.studies.periodic.asked import ASKED, Rows, corrected, networks, over_seeds
from companion.studies.periodic.boards.registration import registered
from companion.studies.periodic.recipes import recipes
from companion.studies.periodic.worst_case import Attacked
from mass.nn.evaluating import evaluating

APART = (0, 2, 4, 8, 16, 32)  # pixels of the board; half as many of a crop
_PAIRS = 150  # of the official test list, two crops a pair


@dataclass(frozen=True)
class Way:
    """A way to look at a pair.

    Attributes:
        net, data, method: of the network's training.
        prepare: of template and test, (N, 2, H, W), to what the network is shown.
        registers: whether it moves the test to the template.
    """

    net: str
    data: str
    method: str
    prepare: Callable[[Tensor], Tensor]
    registers: bool = False


def _both(pairs: Tensor) -> Tensor:
    return pairs


def _registered_difference(pairs: Tensor) -> Tensor:
    return difference(registered(pairs))


OURS = "registered, then difference, MASS"
WAYS = {
    "both": Way("periodic-pairs", "deeppcb-pairs", "baseline-zero", _both),
    "both, MASS": Way("periodic-pairs", "deeppcb-pairs", "mass", _both),
    "both, shown misregistered pairs": Way("periodic-pairs", "deeppcb-pairs-misregistered", "baseline-zero", _both),
    "difference": Way("periodic", "deeppcb-differences", "baseline-zero", difference),
    "registered, then difference": Way(
        "periodic", "deeppcb-differences", "baseline-zero", _registered_difference, True
    ),
    OURS: Way("periodic", "deeppcb-differences", "mass", _registered_difference, True),
}


def trained(way: Way, settings: Any, root: Path, folder: Path) -> dict[int, nn.Module]:
    """A way's networks, by seed; those that are missing are trained."""
    made = recipes(
        settings, (way.method,), way.data, net=way.net, epochs=settings.pair_epochs, seeds=settings.pair_seeds
    )
    return {recipe.seed: network for recipe, network in networks(made, root, folder).items()}


def right_at_all(settings: Any, root: Path, folder: Path) -> Rows:
    """Crops of pairs that are 0 to 32 pixels apart, by way and seed: right at each distance, and at all; none where this is not run.

    Returns:
        Rows of the stages "boards" (one a distance), "worst case", and "worst case, paired" (registered MASS less each other way).
    """
    if not settings.pair_epochs:
        return []
    test = DeepPcb(root, "test")
    splits = [crops(test, _PAIRS, 1, apart) for apart in APART]
    found = {
        (name, seed): _asked(way, network, splits, root)
        for name, way in WAYS.items()
        for seed, network in trained(way, settings, root, folder).items()
    }
    rows, worst = [], []
    for (name, seed), answers in found.items():
        about = {"dataset": "deeppcb", "net": "periodic", "method": name, "seed": seed, "epochs": settings.pair_epochs}
        worst.append({"stage": "worst case"} | about | answers.row())
        for apart, right in zip(APART, (answers.said == answers.true).double().mean(1).tolist(), strict=True):
            n = len(answers.true)
            rows.append(
                {"stage": "boards", "input": f"{apart} px apart", "pixels": apart, "n": n, "top1": 100 * right} | about
            )
    return rows + worst + _paired(worst, {name: a for (name, seed), a in found.items() if seed == settings.seed})


def _asked(way: Way, network: nn.Module, splits: list[Split], root: Path) -> Attacked:
    """The answers to the same crops at all distances, in the place of residues."""
    normalize = labelled(way.data, root).normalize
    with evaluating(network):
        logits = torch.stack([network(normalize(way.prepare(split.images))) for split in splits])
    return Attacked(splits[0].labels, logits.argmax(2), (logits == logits[0]).all(2).all(0))


def _paired(rows: Rows, first: dict[str, Attacked]) -> Rows:
    """One family: over seeds, and of the first seed image by image."""
    found = [
        {"stage": "worst case, paired"}
        | row
        | mcnemar(first[row["against"]].right(row["input"]), first[OURS].right(row["input"]))
        for row in over_seeds(rows, OURS, ASKED)
    ]
    return corrected(found, "p")
