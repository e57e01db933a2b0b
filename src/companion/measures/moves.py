"""Ways for an image to move that are not a circular shift by whole pixels, and how answers hold under them.

What is promised is promised for circular shifts. A camera that turns by a fraction of a pixel interpolates, and a window
that slides over a scene gains a row and loses one: no network that samples is exact under these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from tqdm.auto import tqdm

from companion.measures.accuracy import Batches, Prepare
from companion.measures.paired_images import corrected, mcnemar
from mass.evaluate.consistency import PROTOCOLS, Protocol
from mass.functional.shift import shift

Pair = tuple[Tensor, Tensor]
Moves = dict[str, Callable[[Tensor, Generator], Pair]]


def fourier_half(x: Tensor) -> Tensor:
    """Moved by half a pixel along both axes, circularly: the samples in between of the band-limited image through these.

    >>> x = torch.cos(torch.arange(8) * torch.pi / 4).expand(1, 1, 8, 8)
    >>> torch.allclose(fourier_half(x), torch.cos((torch.arange(8) + 0.5) * torch.pi / 4).expand(1, 1, 8, 8), atol=1e-6)
    True
    """
    for axis in (2, 3):
        waves = torch.fft.rfft(x, dim=axis)
        phase = torch.pi * torch.arange(waves.shape[axis], device=x.device) / x.shape[axis]
        turn = torch.polar(torch.ones_like(phase), phase).view([-1 if d == axis else 1 for d in range(4)])
        x = torch.fft.irfft(waves * turn, x.shape[axis], dim=axis)
    return x


def bilinear_half(x: Tensor) -> Tensor:
    """Moved by half a pixel along both axes, circularly: the mean of each pixel and its neighbours. It blurs."""
    x = (x + x.roll(-1, 2)) / 2
    return (x + x.roll(-1, 3)) / 2


def _twice(protocol: Protocol) -> Callable[[Tensor, Generator], Pair]:
    """Both images moved at random by a protocol."""

    def pair(x: Tensor, generator: Generator) -> Pair:
        first, second = (protocol.move(x, protocol.draw(len(x), generator)) for _ in range(2))
        return first, second

    return pair


def _and_half(interpolate: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Generator], Pair]:
    """A random circular shift, and half a pixel more."""

    def pair(x: Tensor, generator: Generator) -> Pair:
        moved = shift(x, PROTOCOLS["mass"].draw(len(x), generator))
        return moved, interpolate(moved)

    return pair


def _window_by_one(x: Tensor, generator: Generator) -> Pair:
    """A window at a random place, and one pixel further along both axes."""
    protocol = Protocol("crop", 0, 31)
    by = torch.randint(0, 31, (len(x), 2), generator=generator)
    return protocol.move(x, by), protocol.move(x, by + 1)


def windows_of_enlarged(x: Tensor, generator: Generator) -> Pair:
    """BlurPool's protocol (windows of 224 of 256 pixels) for images of any size: enlarged to 8/7, two windows of their size.

    >>> one, two = windows_of_enlarged(torch.rand(2, 3, 56, 56), Generator())
    >>> one.shape, two.shape
    (torch.Size([2, 3, 56, 56]), torch.Size([2, 3, 56, 56]))
    """
    height, width = x.shape[2:]
    margin = max(1, round(min(height, width) / 7))
    larger = F.interpolate(x, size=(height + margin, width + margin), mode="bilinear", align_corners=False)
    return _twice(Protocol("crop", 0, margin - 1))(larger, generator)


MOVES: Moves = {
    "circular, whole pixels": _twice(PROTOCOLS["mass"]),
    "circular, half a pixel (Fourier)": _and_half(fourier_half),
    "circular, half a pixel (bilinear)": _and_half(bilinear_half),
    "a window moved by one pixel": _window_by_one,
    "a window moved by up to 31 pixels": _twice(PROTOCOLS["crop"]),
    "zeros move in, up to 31 pixels": _twice(PROTOCOLS["zero"]),
}


def small_moves(reach: int) -> Moves:
    """Ways for small images to move: circularly, by half a pixel, as windows, and with zeros moving in by so many at most."""
    return {
        "circular, whole pixels": _twice(PROTOCOLS["mass"]),
        "circular, half a pixel (Fourier)": _and_half(fourier_half),
        f"zeros move in, up to {reach}": _twice(Protocol("zero", 0, reach)),
        "windows, 7/8 of an enlarged image": windows_of_enlarged,
    }


@dataclass(frozen=True)
class Views:
    """How a model answers to two views of each image: whether its labels agree (N,), bool, and the cosine of its logits (N,)."""

    agree: Tensor
    cosine: Tensor


def two_views(
    models: Mapping[str, nn.Module],
    batches: Batches,
    prepare: Prepare,
    limit: int,
    seed: int = 0,
    moves: Moves | None = None,
    device: torch.device | str = "cpu",
) -> dict[str, dict[str, Views]]:
    """By move (`MOVES`) and method: the answers to two views of the first `limit` images; all methods see the same views.

    Args:
        device: where the models are; images are moved, the same ones whatever it is, on the CPU.
    """
    moves = MOVES if moves is None else moves
    found: dict[str, dict[str, list[Views]]] = {move: {method: [] for method in models} for move in moves}
    generator = torch.Generator().manual_seed(seed)
    total = 0
    for model in models.values():
        model.eval()
    with torch.no_grad():
        for images, _ in tqdm(batches, desc="moves", leave=False, disable=None):
            x = prepare(images)[: limit - total]
            for move, pair in moves.items():
                views = pair(x, generator)
                for method, model in models.items():
                    first, second = (model(view.to(device)) for view in views)
                    cosine = F.cosine_similarity(first.double(), second.double())
                    found[move][method].append(Views((first.argmax(1) == second.argmax(1)).cpu(), cosine.cpu()))
            total += len(x)
            if total == limit:
                break
    return {move: {method: _joined(parts) for method, parts in of_move.items()} for move, of_move in found.items()}


def _joined(parts: Sequence[Views]) -> Views:
    return Views(torch.cat([part.agree for part in parts]), torch.cat([part.cosine for part in parts]))


def agreement(found: Mapping[str, Mapping[str, Views]]) -> list[dict[str, Any]]:
    """Of what `two_views` found, rows of method, input (the move), n, agreement (labels, in percent) and cosine (its mean)."""
    return [
        {"method": method, "input": move, "n": len(views.agree), "agreement": 100 * views.agree.double().mean().item()}
        | {"cosine": views.cosine.mean().item()}
        for move, of_move in found.items()
        for method, views in of_move.items()
    ]


def compare_views(found: Mapping[str, Mapping[str, Views]], pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Do the labels of one method agree more often than another's? All moves and pairs (method, against) are one family.

    Returns:
        A row a move and pair: input, method, against, what `mcnemar` finds, and p_holm.
    """
    return corrected(
        [
            {"input": move, "method": one, "against": other} | mcnemar(of_move[other].agree, of_move[one].agree)
            for move, of_move in found.items()
            for one, other in pairs
        ]
    )
