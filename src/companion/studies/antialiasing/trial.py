"""The seed's own trial: networks that were trained or fine-tuned, moved in other ways, and shown corrupted images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from companion.core.device import at_hand
from companion.data.datasets import labelled
from companion.measures.moves import agreement, small_moves, two_views
from companion.models.methods import METHODS
from companion.studies.antialiasing import corrupted
from companion.training.recipe import Recipe
from companion.training.record_run import trained

Rows = list[dict[str, Any]]


def networks(plans: Sequence[Recipe], seed: int, folder: Path) -> dict[str, nn.Module]:
    """One seed's networks by method as printed, where a run computes; those that saw shifts in training are left out."""
    chosen = [plan for plan in plans if plan.seed == seed and not METHODS[plan.method].shifts]
    return {METHODS[plan.method].printed: trained(folder / plan.name)[0].to(at_hand()) for plan in chosen}


def moved(settings: Any, plans: Sequence[Recipe], root: Path, folder: Path) -> Rows:
    """Agreement of two labels under moves that no circular method promises anything about, of the first seed's networks."""
    data, compared = labelled(settings.dataset, root), networks(plans, settings.seed, folder)
    batches, moves = data.test.batches(100), small_moves(settings.reach)
    return agreement(two_views(compared, batches, data.normalize, settings.probed, settings.seed, moves, at_hand()))


def corruption_errors(settings: Any, plans: Sequence[Recipe], root: Path, folder: Path) -> tuple[Rows, Rows]:
    """Errors of every seed's networks by corruption, and their mean corruption errors, relative to the plain network's."""
    data, rows = labelled(settings.dataset, root), []
    for seed in dict.fromkeys(plan.seed for plan in plans):
        of_seed = networks(plans, seed, folder)
        errors = corrupted.errors(of_seed, data, settings.probed, settings.severities, at_hand())
        rows += [{"seed": seed} | row for row in errors]
    return rows, corrupted.relative(rows, METHODS["baseline-zero"].printed)
