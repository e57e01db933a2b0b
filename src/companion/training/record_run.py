"""Measure finished runs of `companion.train`.

    python -m companion.evaluate checkpoints/cifar10/resnet20/mass/250-epochs/seed-0

writes record.json beside the weights: accuracy and consistency on the test set, with provenance.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from torch import nn

from companion.core.device import at_hand
from companion.core.errors import Refusal
from companion.core.files import read_json, write_json
from companion.core.paths import find_root
from companion.core.provenance import peak_memory_mb, provenance
from companion.data.datasets import DATASETS, DataSet
from companion.models.loading import load_into
from companion.models.methods import METHODS
from companion.training.checkpoint import load_tensors, load_weights
from companion.training.recipe import Recipe
from companion.training.run_folder import RECORD, WEIGHTS, alone, read_curve, read_recipe, read_spells
from companion.training.spells import told
from companion.training.tasks import task_of


def trained(folder: Path) -> tuple[nn.Module, Recipe]:
    """The network of a finished run, in eval mode, and its recipe."""
    if not (folder / WEIGHTS).exists():
        raise Refusal(f"{folder} holds no finished run: train it first (python -m companion.train).")
    recipe = read_recipe(folder)
    model = METHODS[recipe.method].build(recipe.net, recipe.seed)
    load_into(model, load_tensors(folder / WEIGHTS), f"the run {recipe.name}")
    return model.eval(), recipe


def transferred(method: str, net: str, weights: Path) -> nn.Module:
    """A network of the zoo with trained weights, as one of the methods, in eval mode; nothing is trained."""
    return METHODS[method].build(net, 0, load_weights(weights)).eval()


def record_run(folder: Path, root: Path) -> dict[str, Any]:
    """Measure a finished run on its test set, once: record.json, flat, with provenance; what is there is returned.

    Raises:
        Refusal: when the folder holds no finished run, or another process is at work there.
    """
    if (folder / RECORD).exists():
        return read_json(folder / RECORD)
    model, recipe = trained(folder)
    with alone(folder):
        if (folder / RECORD).exists():  # meanwhile
            return read_json(folder / RECORD)
        return record_trained(model, recipe, DATASETS[recipe.dataset](root), folder, root)


def record_trained(
    model: nn.Module, recipe: Recipe, data: DataSet, folder: Path, root: Path, **more: Any
) -> dict[str, Any]:
    """Measure a trained network and write record.json beside its curve; `more` is recorded as well.

    Commit and machine are those of the measuring; where it was trained is said beside them (companion.training.spells).
    """
    facts, curve = provenance(root), read_curve(folder)
    device = at_hand()
    task = task_of(data.to(device), recipe)
    numbers = task.measure(model.to(device), str(device))
    record = {
        **{name: value for name, value in asdict(recipe).items() if name != "start"},
        **numbers,
        "parameters": sum(p.numel() for p in model.parameters()),
        "images_per_s": median(point["images_per_s"] for point in curve),
        "train_seconds": sum(point["seconds"] for point in curve),
        **({"start": Path(recipe.start).stem} if recipe.start else {}),
        **more,
        **facts,
        **told(read_spells(folder), facts),
        "peak_memory_mb": peak_memory_mb(),
    }
    write_json(folder / RECORD, record)
    return record


def main() -> None:
    """The command line: folders of runs."""
    try:
        for run in map(Path, sys.argv[1:] or sys.exit("Which runs? Name their folders.")):
            print(record_run(run, find_root()))
    except Refusal as refusal:
        sys.exit(str(refusal))
