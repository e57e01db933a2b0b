"""All folds of all methods, resumable: a fold that has been tuned and asked is a file, and is not made again."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from companion.core.errors import Refusal
from companion.data.folds import stratified
from companion.studies.fine_tuning.answers import Answers, answers
from companion.training.checkpoint import load_tensors, save_tensors
from companion.training.tune import Tuning, fine_tune, in_memory

_ASKED = 20  # images at once


def run_folds(
    versions: Mapping[str, nn.Module],
    images: Tensor,
    labels: Tensor,
    folder: Path,
    *,
    folds: int,
    tuned: int,
    tuning: Tuning,
    noise: float,
) -> dict[str, dict[str, Answers]]:
    """Every version tuned on images that one fold does not hold, and asked about that fold, before and after.

    Args:
        versions: networks by method; they stay as they are.
        images, labels: (N, 3, H, W) in bytes, and (N,).
        folder: of what is finished: <method>-fold-<k>.pt.
        tuned: how many images a version is tuned on, drawn at random among those of the other folds, the same for all.
        noise: standard deviation, in grey levels.

    Returns:
        By method: 'before' and 'after', the answers to all N images, each by the network that had not seen it.

    Raises:
        Refusal: when a finished fold was made by other settings.
    """
    held_out = stratified(labels, folds, tuning.seed)
    made = asdict(tuning) | {
        "folds": folds,
        "tuned": tuned,
        "noise": noise,
        "images": len(labels),
        "side": images.shape[3],
    }
    answered: dict[str, dict[str, Answers]] = {}
    tasks = [(method, fold) for fold in range(folds) for method in versions]
    for method, fold in tqdm(tasks, desc="folds", disable=None):
        path = folder / f"{method.replace(' ', '-')}-fold-{fold}.pt"
        if not path.exists():
            asked, others = (held_out == fold).nonzero()[:, 0], (held_out != fold).nonzero()[:, 0]
            seen = others[torch.randperm(len(others), generator=torch.Generator().manual_seed(fold))[:tuned]]
            model = copy.deepcopy(versions[method])
            view = images[asked], labels[asked], _ASKED, noise, fold
            before = answers(model, *view)
            losses = fine_tune(model, in_memory(images[seen], labels[seen], tuning), tuning)
            tuned_answers = answers(model, *view)
            save_tensors(
                path, {"made": made, "rows": asked, "losses": losses, "before": before, "after": tuned_answers}
            )
        found = load_tensors(path)
        if found["made"] != made:
            differs = [f"{name} {found['made'].get(name)!r}, not {value!r}" for name, value in made.items()
                       if found["made"].get(name) != value]  # fmt: skip
            raise Refusal(f"{path} is of another run ({'; '.join(differs)}): move it away.")
        for stage in ("before", "after"):
            for name, values in found[stage].items():
                whole = answered.setdefault(method, {}).setdefault(stage, {})
                whole.setdefault(name, torch.empty(len(labels), dtype=values.dtype))[found["rows"]] = values
    return answered
