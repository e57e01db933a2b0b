"""Trained on tiles, run on the whole: a classifier's heat map, and whether it moves along with the image.

The classifier averages over positions and weighs channels; weighed first, its channels are a map that says where (Zhou et al.,
2016). The map is at the network's total stride; `mass.output_origins` says which pixels it means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mass
from companion.data.datasets import labelled
from companion.data.generated.periodic import Photographs, draw
from companion.data.generated.periodic_sets import VIAS
from companion.data.labelled import Labelled
from companion.models.cifar_resnets import SmallResNet
from companion.models.methods import METHODS
from companion.studies.periodic.asked import networks
from companion.studies.periodic.recipes import recipes
from companion.studies.periodic.worst_case import STRIDE
from mass.fx.network.converted import Converted

_HALO = 4  # cells of the heat map: farther than what a position reads


class HeatMap(nn.Module):
    """How much more a position speaks for a defect than against it, (B, C, H, W) -> (B, 1, H / 8, W / 8)."""

    def __init__(self, net: SmallResNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.net.bn1(self.net.conv1(x)))
        for number in range(1, self.net.stages + 1):
            x = self.net.get_submodule(f"layer{number}")(x)
        weight, bias = self.net.linear.weight, self.net.linear.bias
        return F.conv2d(x, (weight[1] - weight[0])[None, :, None, None], (bias[1] - bias[0])[None])


def heat_map(network: nn.Module, x: Tensor, method: str) -> nn.Module:
    """The heat map of trained weights, as they were trained: by origins ("MASS"), or by the fixed grid.

    Args:
        network: a trained "periodic" of a method without filters; x: a normalised example.
    """
    plain: Any = METHODS["baseline-zero"].build("periodic", 0)
    plain.load_state_dict(network.state_dict())
    return mass.convert(HeatMap(plain).eval(), x, origin="l2" if method == "MASS" else "zero", verify=False)


def tiles_and_whole(settings: Any, root: Path, folder: Path) -> tuple[dict[str, nn.Module], Labelled, Photographs]:
    """Networks trained on tiles, by the fixed grid and by origins (first seed), the tiles, and an image to run them on."""
    made = networks(recipes(settings, ("baseline", "mass")), root, folder)
    photo = whole_image(settings.whole, max(4, settings.whole // 128), settings.seed)
    return {METHODS[r.method].printed: network for r, network in made.items()}, labelled("periodic", root), photo


def whole_image(side: int, defects: int, seed: int) -> Photographs:
    """One image of many tiles' size, with equal defects."""
    structure = replace(VIAS, size=side, defects=defects, defective=1.0, kinds=("missing",))
    return draw(structure, 1, seed)


def in_pixels(heater: nn.Module, x: Tensor) -> Tensor:
    """The heat of every pixel that a position stands for, (H, W); of all others minus infinity.

    Args:
        heater: a `HeatMap`, whose positions stand for the multiples of its total stride, or one that was converted; x: one image.
    """
    size = (x.shape[2], x.shape[3])
    if not isinstance(heater, Converted):
        found = torch.full(size, -torch.inf)
        with torch.no_grad():
            found[::STRIDE, ::STRIDE] = heater(x)[0, 0]
        return found
    with torch.no_grad(), mass.output_origins(heater) as passes:
        heat = heater(x)[0, 0]
    places = torch.cartesian_prod(*[torch.arange(side) for side in heat.shape])[None]
    rows, columns = passes[0][""].to_pixels(places)[0].unbind(1)
    found = torch.full(size, -torch.inf)
    found[rows, columns] = heat.flatten()
    return found


def alarm(heater: nn.Module, data: Labelled) -> float:
    """The heat from which on a position is an alarm: above all that training tiles without a defect show."""
    flawless = data.train.images[data.train.labels == 0]
    with torch.no_grad():
        return max(heater(data.normalize(images)).max().item() for images in flawless.split(64))


def located(both: Mapping[str, nn.Module], data: Labelled, photo: Photographs) -> list[dict[str, Any]]:
    """Whether heat maps move along, fit their tiles, and find defects, by method (those of `heat_map`)."""
    x = data.normalize(photo.images)
    rows = []
    for method, network in both.items():
        heater = heat_map(network, x, method)
        exact = exactness(heater, photo.images, data, photo.images.shape[3] // 2, (3, 5))
        found = detections(in_pixels(heater, x) > alarm(heater, data), photo.defects[0])
        rows.append({"method": method} | exact | found)
    return rows


def alarms(both: Mapping[str, nn.Module], data: Labelled, images: Tensor) -> list[tuple[str, Tensor]]:
    """Pixels whose positions are alarms, (H, W) bool, by method (those of `heat_map`)."""
    x = data.normalize(images)
    heaters = [(method, heat_map(network, x, method)) for method, network in both.items()]
    return [(method, in_pixels(heater, x) > alarm(heater, data)) for method, heater in heaters]


def exactness(heater: nn.Module, image: Tensor, data: Labelled, tile: int, by: tuple[int, int]) -> dict[str, float]:
    """Does one place get one answer?

    Returns:
        moved: share of positions of the whole whose heat is there, bit-identical, when the image has moved; tiled: the same, of
        positions well inside a tile that was cut out; in percent.
    """
    x = data.normalize(image)
    whole = in_pixels(heater, x)
    moved = in_pixels(heater, x.roll(by, (2, 3))).roll((-by[0], -by[1]), (0, 1))
    known = whole > -torch.inf
    corner = slice(tile, 2 * tile)
    cut = in_pixels(heater, x[:, :, corner, corner])
    inner = slice(_HALO * STRIDE, tile - _HALO * STRIDE)
    there, here = whole[corner, corner][inner, inner], cut[inner, inner]
    asked = there > -torch.inf
    return {
        "positions": int(known.sum()),
        "moved": 100 * (moved == whole)[known].double().mean().item(),
        "tiled": 100 * (here == there)[asked].double().mean().item(),
    }


def detections(alarms: Tensor, defects: Tensor, reach: int = 12) -> dict[str, Any]:
    """Alarms, in pixels, against where defects are.

    Args:
        alarms: (H, W), bool; defects: (H, W), of `Photographs`.

    Returns:
        defects; found, percent of them that have an alarm within `reach` pixels; strays, alarms farther than twice that from any.
    """
    hot = alarms.nonzero()
    numbers = range(1, int(defects.max()) + 1)
    distances = torch.stack([_distance(hot, (defects == number).nonzero(), alarms.shape) for number in numbers])
    found = (distances <= reach).any(1) if len(hot) else torch.zeros(len(numbers))
    strays = int((distances > 2 * reach).all(0).sum()) if len(hot) else 0
    return {"defects": len(numbers), "found": 100 * found.double().mean().item(), "strays": strays}


def _distance(places: Tensor, pixels: Tensor, size: torch.Size) -> Tensor:
    """From each place to the nearest of some pixels, the shorter way around, (places,)."""
    apart = (places[:, None] - pixels).abs()
    apart = torch.minimum(apart, torch.tensor(size) - apart)
    return apart.amax(2).amin(1) if len(places) else torch.zeros(0)
