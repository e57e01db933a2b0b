"""Internal feature distance (Zhang, 2019, section 3.1): how far a layer's features are from having moved along.

Features F of total stride S and total origin O are seen at the image's resolution, F~[p] = F[(p - O) div S]. A network that is
equivariant has F~(S_t x) = S_t F~(x) for every shift t. The distance of the two is the cosine distance of their channels, averaged
over positions: 0 where they are the same, 1 where they have nothing in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

import mass
from companion.core.paths import find_root
from companion.data.generated.hard_images import centred_photograph
from companion.data.images import photographs
from companion.data.normalisation import normalize
from companion.models.cifar_resnets import CIFAR_NETS
from companion.models.pretrained import mobilenet_v2
from companion.models.random_weights import calibrated
from companion.studies.antialiasing.versions import VERSIONS
from companion.training.checkpoint import load_weights
from mass.evaluate.positions import OutputOrigin
from mass.fx.network.converted import Converted

# Where features are read, shallow to deep, one layer for each resolution at least.
LAYERS = {
    "mobilenet_v2": ("features.1", "features.3", "features.6", "features.13", "features.18"),
    "vgg11_bn": ("features.2", "features.3", "features.7", "features.14", "features.21", "features.28"),
    "resnet18": ("relu", "maxpool", "layer1", "layer2", "layer3", "layer4"),
    "resnet20a": ("layer1", "layer2", "layer3"),
}
WEIGHTS = {"mobilenet_v2": "ImageNet, official", "resnet20a": "CIFAR-10, published"}  # random elsewhere


def network(name: str, size: int) -> tuple[nn.Module, Tensor]:
    """A network, and an image for it: trained, and what it was trained for, or random, calibrated on photographs."""
    if name == "mobilenet_v2":
        return mobilenet_v2(), normalize(photographs(size))[1:]
    if name == "resnet20a":
        weights = load_weights(find_root() / "data/resnet20/resnet20-12fca82f.th")
        return CIFAR_NETS[name](weights=weights).eval(), normalize(photographs(32))[1:]
    assert hasattr(torchvision.models, name)
    return calibrated(name, size=size), centred_photograph(size, size, 1)


def _features(model: nn.Module, layers: Sequence[str], x: Tensor) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Every layer's features, and where they lie in the image."""
    if isinstance(model, Converted):
        with torch.no_grad(), mass.output_origins(model) as passes:
            maps = model(x)
        return maps, {name: passes[-1][name] for name in layers}
    with torch.no_grad():
        maps = model(x)
    zero = torch.zeros(len(x), 2, dtype=torch.int64)
    size = x.shape[2], x.shape[3]
    lies = {
        name: OutputOrigin((2, 3), (size[0] // y.shape[2], size[1] // y.shape[3]), zero, size)
        for name, y in maps.items()
    }
    return maps, lies


def _pairs(size: int, stride: float, by: int, origins: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Along one axis: which positions of two maps meet at a pixel, each pair once, and at what share of the pixels."""
    pixels = torch.arange(size)
    still, moved = ((pixels + t - o) % size // int(stride) for t, o in zip((by, 0), origins, strict=True))
    pairs, counts = torch.stack((still, moved)).unique(dim=1, return_counts=True)
    return pairs[0], pairs[1], counts / size


def _distance(
    still: Tensor, moved: Tensor, lie: OutputOrigin, origins: tuple[Tensor, Tensor], by: tuple[int, int]
) -> float:
    """Of features (C, h, w) of unit length and those after a shift: 1 - cosine, and 0 for bit-identical ones."""
    rows, columns = (
        _pairs(lie.size[axis], lie.stride[axis], by[axis], (int(origins[0][axis]), int(origins[1][axis])))
        for axis in (0, 1)
    )
    difference = still[:, rows[0]][:, :, columns[0]] - moved[:, rows[1]][:, :, columns[1]]
    return float(rows[2].double() @ difference.square().sum(0) @ columns[2].double() / 2)


def feature_distance(model: nn.Module, layers: Sequence[str], x: Tensor, residues: int) -> dict[str, Tensor]:
    """The distance for every shift by (0 … residues - 1) along both axes. Shape: x (1, C, H, W) -> (residues, residues) a layer."""
    still, lay = _features(model, layers, x)
    found = {name: torch.zeros(residues, residues, dtype=torch.float64) for name in layers}
    for row in range(residues):
        by = torch.tensor([(row, column) for column in range(residues)])
        moved, lie = _features(model, layers, mass.shift(x.expand(residues, -1, -1, -1), by))
        for name in layers:
            one, others = (F.normalize(maps[name].double(), dim=1) for maps in (still, moved))
            before, after = lay[name].origin, lie[name].origin
            assert before is not None and after is not None
            for column in range(residues):
                origins = before[0], after[column]
                found[name][row, column] = _distance(one[0], others[column], lie[name], origins, (row, column))
    return found


def distances(name: str, size: int, residues: int, versions: Sequence[str]) -> dict[tuple[str, str], Tensor]:
    """Of one network in several versions: (version, layer) -> (residues, residues)."""
    model, x = network(name, size)
    layers = LAYERS[name]
    extractor = create_feature_extractor(model, {layer: layer.replace(".", "_") for layer in layers}).eval()
    keys = [layer.replace(".", "_") for layer in layers]
    return {
        (version, key): grid
        for version in versions
        for key, grid in feature_distance(VERSIONS[version](extractor, x), keys, x, residues).items()
    }
