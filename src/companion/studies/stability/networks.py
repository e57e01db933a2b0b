"""The ways to be exact, or continuous, or both, from one network with its weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn

import mass
from companion.models.canonical import PLACES, InItsFrame
from mass.fx.network.converted import Converted

PLAIN, CIRCULAR, MASS = "plain", "circular padding", "MASS"
BLENDED = "MASS, blended"
FRAMES = {
    "l2": "whole image, brightest pixel",
    "seam": "whole image, seam",
    "centre": "whole image, centre of mass",
    "peak": "whole image, blurred peak",
}
WHOLE = 0.9999  # a share for which all phases count
# Origins read off features of another depth: so many operations before the map that is sampled.
EARLIER = {"MASS, origins read 1 operation earlier": 1, "MASS, origins read 3 operations earlier": 3}


class OverPhases(nn.Module):
    """The mean over some fixed phases, the same for every image: an ensemble, and neither exact nor continuous by design.

    Args:
        model: a network whose answer depends on how the image lies.
        offsets: by how many rows and columns the image is moved for each member.
    """

    def __init__(self, model: nn.Module, offsets: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.model, self.offsets = model, tuple(offsets)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.model(x.roll(offset, (2, 3))) for offset in self.offsets]).mean(0)


def origins_of(network: nn.Module) -> list[str]:
    """The names of a converted network's origins, the first one first."""
    return [name for name, module in network.named_children() if name.startswith("mass_origin_") and module.chooses]


def versions(plain: nn.Module, x: Tensor, share: float, paths: int) -> dict[str, nn.Module]:
    """The four of the main comparison, by name. Only the last is verified, which is made of the one before it.

    Args:
        x: an example; share, paths: of the blended one (`mass.convert`).
    """
    return {
        PLAIN: plain,
        CIRCULAR: mass.convert(plain, x, origin="zero", verify=False),
        MASS: mass.convert(plain, x, verify=False),
        BLENDED: mass.convert(plain, x, blend=share, paths=paths),
    }


def objections(known: dict[str, nn.Module], x: Tensor, share: float, members: int, seed: int) -> dict[str, nn.Module]:
    """The ways that were proposed instead, by name.

    Args:
        known: what `versions` made; members: how many fixed phases are averaged over, at what blending costs.
    """
    plain, circular = known[PLAIN], known[CIRCULAR]
    names = origins_of(known[MASS])
    generator = torch.Generator().manual_seed(seed)
    offsets = [tuple(pair) for pair in torch.randint(32, (members, 2), generator=generator).tolist()]
    convert = partial(mass.convert, plain, x, verify=False)
    others: dict[str, nn.Module] = {
        "MASS, first origin blended": convert(blend={names[0]: share}),
        "MASS, all phases of the last origin": convert(blend={names[-1]: WHOLE}, paths=4),
        f"circular, mean of {members} fixed phases": OverPhases(circular, offsets),
        "MASS, origins at peaks": convert(origin="peak"),
    }
    return others | {FRAMES[rule]: InItsFrame(plain, rule) for rule in PLACES}


def reading_earlier(network: nn.Module, steps: int) -> nn.Module:
    """A copy of a converted network whose origins are read off a map so many operations earlier, where there is one.

    What lies between has the lattice of the map that is sampled, so that the earlier map moves along as well: exactness
    does not depend on which of them is read. At the first origin there is nothing before the image.
    """
    changed: Any = copy.deepcopy(network)
    names = origins_of(changed)
    for module in changed.modules():
        if getattr(module, "inplace", False):  # it would write over what is to be read
            module.inplace = False
    for node in changed.graph.nodes:
        if str(node.target) in names:
            node.args = (_earlier(node.args[0], steps), *node.args[1:])
    changed.recompile()
    made: nn.Module = changed
    return made


def _earlier(read: fx.Node, steps: int) -> fx.Node:
    """The map so many operations before another, on the same lattice and with the same axes, or the farthest there is."""
    found, lattice = read, read.meta["positions"]
    for _ in range(steps):
        before = [
            n for n in read.all_input_nodes if "positions" in n.meta and n.meta["positions"].digits == lattice.digits
        ]
        if not before:
            break
        read = before[0]
        if read.meta["positions"].dims == lattice.dims:
            found = read
    return found


def cheaper(names: Sequence[str], share: float) -> dict[str, tuple[float | dict[str, float], int]]:
    """Ways to blend for less, by name: `blend` and `paths` of `mass.convert`, given the names of a network's origins.

    A path that forks late computes little anew; an average over the last origin is the cheapest there is.
    """
    whole = {names[-1]: WHOLE}
    return {
        "at most 3 paths": (share, 3),
        "last three origins": (dict.fromkeys(names[-3:], share), 8),
        "last origin whole": (whole, 4),
        "last origin whole, one before it": (whole | {names[-2]: share}, 8),
        "last origin whole, two before it": (whole | dict.fromkeys(names[-3:-1], share), 8),
        "last origin whole, three before it": (whole | dict.fromkeys(names[-4:-1], share), 8),
        "last origin whole, all before it": (whole | dict.fromkeys(names[:-1], share / 2), 6),
    }


def paths_of(network: nn.Module, x: Tensor) -> float:
    """How many paths an image takes on average; 1 for what chooses."""
    if isinstance(network, OverPhases):
        return float(len(network.offsets))
    if not isinstance(network, Converted) or network.mass_blend is None:
        return 1.0
    rows: list[int] = []
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(lambda module, args, output: rows.append(len(output))) for layer in layers]
    try:
        with torch.no_grad():
            network(x)
    finally:
        for handle in handles:
            handle.remove()
    return max(rows) / len(x)  # a path has a row of the batch from its origin on
