"""The ways to be exact, or continuous, or both, from one network with its weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

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
    """The four of the main comparison, by name.

    Args:
        x: an example; share, paths: of the blended one (`mass.convert`).
    """
    return {
        PLAIN: plain,
        CIRCULAR: mass.convert(plain, x, origin="zero"),
        MASS: mass.convert(plain, x),
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
    others: dict[str, nn.Module] = {
        "MASS, first origin blended": mass.convert(plain, x, blend={names[0]: share}),
        "MASS, all phases of the last origin": mass.convert(plain, x, blend={names[-1]: 0.9999}, paths=4),
        f"circular, mean of {members} fixed phases": OverPhases(circular, offsets),
        "MASS, origins at peaks": mass.convert(plain, x, origin="peak"),
    }
    return others | {FRAMES[rule]: InItsFrame(plain, rule) for rule in PLACES}


def paths_of(network: nn.Module, x: Tensor) -> float:
    """How many paths an image takes on average; 1 for what chooses."""
    if isinstance(network, OverPhases):
        return float(len(network.offsets))
    if not isinstance(network, Converted) or network.mass_blend is None:
        return 1.0
    rows: list[int] = []
    head = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    handle = head.register_forward_hook(lambda module, args, output: rows.append(len(output)))
    try:
        with torch.no_grad():
            network(x)
    finally:
        handle.remove()
    return sum(rows) / len(x)
