"""Circuit boards: template and test, apart by more and more. A shift between two images is no shift of the pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from companion.data.datasets import labelled
from companion.data.labelled import Labelled, Split
from companion.data.published.deeppcb import DeepPcb, crops, difference
from companion.measures.accuracy import accuracy
from companion.models.methods import METHODS
from companion.studies.periodic.asked import Rows, networks
from companion.studies.periodic.recipes import recipes

APART = (0, 2, 4, 8, 16, 32)  # pixels of the board; half as many of a crop
_REACH = 20  # pixels of a crop: how far apart they are looked for


def registered(split: Split) -> Split:
    """Tests moved to where they agree best with their templates (the peak of the cross-correlation); what came in by wrapping is
    the template's."""
    template, test = (
        split.images[:, k].double() - split.images[:, k].double().mean((1, 2), keepdim=True) for k in (0, 1)
    )
    product = torch.fft.rfft2(template).conj() * torch.fft.rfft2(test)
    likeness = torch.fft.irfft2(product, s=template.shape[1:])  # at t: how well test, moved by t, fits
    near = torch.zeros_like(likeness[0], dtype=torch.bool)
    near[:_REACH, :_REACH] = near[-_REACH:, :_REACH] = near[:_REACH, -_REACH:] = near[-_REACH:, -_REACH:] = True
    best = likeness.masked_fill(~near, -torch.inf).flatten(1).argmax(1)
    side = template.shape[2]
    moved = [_moved(pair, int(at) // side, int(at) % side) for pair, at in zip(split.images, best, strict=True)]
    return Split(torch.stack(moved), split.labels)


def _moved(pair: Tensor, down: int, right: int) -> Tensor:
    height, width = pair.shape[1:]
    down, right = (by - side if by > side // 2 else by for by, side in ((down, height), (right, width)))
    test = pair[1].roll((-down, -right), (0, 1))
    rows, columns = torch.arange(height) + down, torch.arange(width) + right
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    return torch.stack((pair[0], torch.where(inside, test, pair[0])))


def _against_misregistration(
    stacked: Mapping[str, nn.Module], differing: nn.Module, both: tuple[Labelled, Labelled], root: Path, count: int
) -> Iterator[dict[str, Any]]:
    """Rows: way, input, pixels, n, top1.

    Args:
        stacked: networks of two channels, by name; differing: one of differences.
        both: their data sets; count: pairs of the official test list.
    """
    boards = DeepPcb(root, "test")
    for apart in APART:
        split = crops(boards, count, 1, apart)
        ways: dict[str, tuple[nn.Module, Split, Labelled]] = {
            name: (network, split, both[0]) for name, network in stacked.items()
        }
        ways["difference"] = (differing, difference(split), both[1])
        ways["registered, then difference"] = (differing, difference(registered(split)), both[1])
        for way, (network, asked, data) in ways.items():
            top1 = accuracy(network, asked.batches(100), data.normalize)
            yield {"way": way, "input": f"{way}, {apart} px apart", "pixels": apart, "n": len(asked), "top1": top1}


def boards(settings: Any, root: Path, folder: Path) -> Rows:
    """Template and test apart by 0 to 32 pixels; none where this is not run."""
    if not settings.pair_epochs:
        return []
    epochs, net = settings.pair_epochs, "periodic-pairs"
    stacked = networks(
        recipes(settings, ("baseline-zero", "mass"), "deeppcb-pairs", net=net, epochs=epochs), root, folder
    )
    (differing,) = networks(
        recipes(settings, ("baseline-zero",), "deeppcb-differences", epochs=epochs), root, folder
    ).values()
    named = {f"both, {METHODS[recipe.method].printed}": network for recipe, network in stacked.items()}
    both = labelled("deeppcb-pairs", root), labelled("deeppcb-differences", root)
    found = _against_misregistration(named, differing, both, root, 150)
    return [{"stage": "boards", "dataset": "deeppcb", "epochs": epochs} | row for row in found]
