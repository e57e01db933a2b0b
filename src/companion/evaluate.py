"""Top-1 accuracy, consistency and stability of a classifier over labelled batches, in one pass.

    python -m companion.evaluate checkpoints/cifar10/resnet20/mass/250-epochs/seed-0

measures the weights of a finished run of `companion.train` and writes record.json beside them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from companion.checkpoint import load_tensors
from companion.errors import Refusal
from companion.files import read_json, write_json
from companion.labelled import DATASETS
from companion.methods import METHODS
from companion.paths import find_root
from companion.provenance import provenance
from companion.recipe import Recipe
from mass.evaluation import evaluating
from mass.metrics import PROTOCOLS
from mass.shift import shift

Batches = Iterable[tuple[Tensor, Tensor]]
Prepare = Callable[[Tensor], Tensor]


def accuracy(
    model: nn.Module,
    batches: Batches,
    prepare: Prepare = lambda images: images,
    autocast: Callable[[], AbstractContextManager] = nullcontext,
) -> float:
    """Top-1 accuracy alone, in percent, in whatever precision `autocast` sets."""
    correct = total = 0
    with evaluating(model), autocast():
        for images, labels in batches:
            correct += int((model(prepare(images)).argmax(1) == labels).sum())
            total += len(labels)
    return 100.0 * correct / total


def evaluate(
    model: nn.Module,
    batches: Batches,
    *,
    prepare: Prepare = lambda images: images,
    protocol: str = "mass",
    noise: float = 0.0,
    seed: int = 0,
    device: str | torch.device = "cpu",
    description: str = "",
) -> dict[str, float]:
    """Percentages over all images.

    Args:
        model: normalised images (B, C, H, W) -> logits (B, classes).
        batches: (images, labels), read once.
        prepare: what is done to a batch first, normalisation say.
        protocol: how the two shifts of the consistency are drawn (mass.PROTOCOLS).
        noise: standard deviation of the Gaussian noise of the stability, in the prepared images' own units.
        seed: of shifts and noise.

    Returns:
        n; top1, on the images as they are; shifted_top1, on the first shifted ones; consistency, of two shifts; with
        noise also changed_by_noise, labels that change when it is added to an unshifted image.
    """
    generator = torch.Generator().manual_seed(seed)
    names = ["top1", "shifted_top1", "consistency"] + ["changed_by_noise"] * (noise > 0)
    counts = dict.fromkeys(names, 0)
    total = 0
    model = model.to(device)
    with evaluating(model):
        for images, labels in tqdm(batches, desc=description, leave=False, disable=None):
            images, labels = prepare(images.to(device)), labels.to(device)
            by = [PROTOCOLS[protocol].draw(len(images), generator).to(device) for _ in range(2)]
            plain, first, second = (model(x).argmax(1) for x in (images, shift(images, by[0]), shift(images, by[1])))
            counts["top1"] += int((plain == labels).sum())
            counts["shifted_top1"] += int((first == labels).sum())
            counts["consistency"] += int((first == second).sum())
            if noise > 0:
                noisy = images + noise * torch.randn(images.shape, generator=generator).to(device)
                counts["changed_by_noise"] += int((model(noisy).argmax(1) != plain).sum())
            total += len(images)
    return {"n": total} | {name: 100.0 * count / total for name, count in counts.items()}


def trained(folder: Path, root: Path) -> tuple[nn.Module, Recipe]:
    """The network of a finished run, in eval mode, and its recipe."""
    if not (folder / "weights.pt").exists():
        raise Refusal(f"{folder} holds no finished run: train it first (python -m companion.train).")
    recipe = Recipe(**read_json(folder / "recipe.json"))
    size = DATASETS[recipe.dataset](root).test.images.shape[3]
    model = METHODS[recipe.method].build(recipe.net, recipe.seed, size)
    model.load_state_dict(load_tensors(folder / "weights.pt"))
    return model.eval(), recipe


def record_run(folder: Path, root: Path, batch: int = 500) -> dict[str, Any]:
    """Measure a finished run on its test set, once: record.json, flat, with provenance; what is there is returned."""
    if (folder / "record.json").exists():
        return read_json(folder / "record.json")
    model, recipe = trained(folder, root)
    data = DATASETS[recipe.dataset](root)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    numbers = evaluate(model, data.test.batches(batch), prepare=data.normalize, device=device, description=recipe.name)
    curve = read_json(folder / "curve.json")
    record = {
        **{name: getattr(recipe, name) for name in ("net", "method", "dataset", "seed", "epochs", "precision")},
        "protocol": "mass",
        **numbers,
        "parameters": sum(p.numel() for p in model.parameters()),
        "images_per_s": median(point["images_per_s"] for point in curve),
        "train_seconds": sum(point["seconds"] for point in curve),
        **provenance(root),
    }
    write_json(folder / "record.json", record)
    return record


if __name__ == "__main__":
    try:
        for run in map(Path, sys.argv[1:] or sys.exit("Which runs? Name their folders.")):
            print(record_run(run, find_root()))
    except Refusal as refusal:
        sys.exit(str(refusal))
