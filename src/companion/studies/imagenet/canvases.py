"""Images on a larger canvas: what it costs in accuracy, and under which shifts labels hold.

    python -m companion.studies.imagenet.canvases    # MobileNetV2 on the 1,300 images, 10 minutes of a core

An image that is put elsewhere on the canvas is a circular shift of it, for which a converted network is exact. Under shifts
by which content leaves the image and zeros come in, nothing is promised, and it is measured.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import mass
from companion.core.command_line import names_given
from companion.core.paths import find_root
from companion.data.images import labelled_images
from companion.data.normalisation import normalize
from companion.measures.accuracy import Batches
from companion.measures.paired_images import compare
from companion.models.pretrained import mobilenet_v2
from companion.studies.imagenet.running import finished
from companion.studies.imagenet.table_3 import keep
from mass.nn.evaluating import evaluating


@dataclass(frozen=True)
class Canvas:
    """A size and a fill; of the size of the image, none."""

    size: int
    fill: str | float

    @property
    def name(self) -> str:
        if self.fill == 0:
            return f"{self.size}, ImageNet's mean"  # of normalised colours
        return f"{self.size}, {self.fill}"

    def put(self, x: Tensor, at: Tensor | None = None) -> Tensor:
        """All images on canvases, each at its own place (B, 2)."""
        if at is None:
            return mass.canvas(x, self.size, self.fill)
        rows = [
            mass.canvas(image[None], self.size, self.fill, tuple(place))
            for image, place in zip(x, at.tolist(), strict=True)
        ]
        return torch.cat(rows)


CANVASES = (
    Canvas(224, 0.0),
    *(Canvas(256, fill) for fill in (0.0, "mean", "border", "reflect")),
    Canvas(320, 0.0),
)


def on_canvas(model: nn.Module, canvas: Canvas, batches: Batches, moved: int, seed: int = 0) -> dict[str, Tensor]:
    """Outcomes image by image, the same draws for every network and canvas.

    Returns:
        right (N,); and of the first `moved` images agree_placed, at two random places of the canvas, `identical`, whether the
        logits are bit-identical there, and agree_zero, after two random shifts by up to 31 pixels that bring zeros in.
    """
    generator = torch.Generator().manual_seed(seed)
    zero = mass.PROTOCOLS["zero"]
    rows: dict[str, list[Tensor]] = {"right": [], "agree_placed": [], "identical": [], "agree_zero": []}
    seen = 0
    with evaluating(model):
        for images, labels in batches:
            x = normalize(images)
            rows["right"].append(model(canvas.put(x)).argmax(1) == labels)
            if seen < moved:
                free = canvas.size - x.shape[2] + 1
                places = [(torch.rand(len(x), 2, generator=generator) * free).long() for _ in range(2)]
                first, second = (model(canvas.put(x, at)) for at in places)
                rows["agree_placed"].append(first.argmax(1) == second.argmax(1))
                rows["identical"].append((first == second).all(1))
                views = [canvas.put(zero.move(x, zero.draw(len(x), generator))) for _ in range(2)]
                one, other = (model(view).argmax(1) for view in views)
                rows["agree_zero"].append(one == other)
            seen += len(x)
    return {name: torch.cat(parts) for name, parts in rows.items() if parts}


def all_canvases(
    versions: Mapping[str, nn.Module], batches: Batches, moved: int, folder: Path
) -> dict[tuple[str, str], dict[str, Tensor]]:
    """Every network on every canvas, by (method, canvas); what is in `folder` is taken as it is."""
    found = {}
    for canvas in CANVASES:
        for method, model in versions.items():
            name = f"{method}-{canvas.name}".replace(" ", "-").replace(",", "").replace("'", "")
            ask = partial(on_canvas, model, canvas, batches, moved)
            found[method, canvas.name] = finished(folder / f"{name}.pt", {"moved": moved}, ask)
    return found


def records(found: Mapping[tuple[str, str], dict[str, Tensor]], dataset: str) -> list[dict[str, Any]]:
    """Each network on each canvas; each beside the plain network without one, image by image, one family."""
    common = {"model": "mobilenet_v2", "dataset": dataset}
    rows = [
        common | {"method": method, "input": name, "stage": "canvas"} | shares(one)
        for (method, name), one in found.items()
    ]
    none = CANVASES[0].name
    right = {f"{method}, {name}": one["right"] for (method, name), one in found.items()}
    pairs = [(f"MASS, {canvas.name}", f"{method}, {none}") for method in ("plain", "MASS") for canvas in CANVASES]
    pairs = [(one, other) for one, other in pairs if one != other]
    return rows + [common | {"stage": "canvas, paired"} | compared for compared in compare(right, pairs)]


def shares(found: dict[str, Tensor]) -> dict[str, Any]:
    """In percent, with both counts of images."""
    rows = {name: 100 * which.double().mean().item() for name, which in found.items()}
    top1 = rows.pop("right")
    return {"n": len(found["right"]), "top1": top1, "moved": len(found["agree_zero"])} | rows


def main() -> None:
    """The command line."""
    names_given(__doc__)
    began = time.monotonic()
    root, moved = find_root(), 150
    images, dataset = labelled_images(1300, CANVASES[0].size)
    plain = mobilenet_v2()
    versions = {"plain": plain, "MASS": mass.convert(plain, normalize(images[0][0])[None])}
    folder = root / "checkpoints" / "imagenet" / "canvases"
    found = all_canvases(versions, DataLoader(images, 20), moved, folder)
    keep(records(found, dataset), "reduced", root, root / "runs/reduced/imagenet_canvases", time.monotonic() - began)
    for (method, name), one in found.items():
        print(f"{method:6} {name:24} {shares(one)}")


if __name__ == "__main__":
    main()
