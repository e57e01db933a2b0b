"""An oracle that tells whether what `mass.convert` made of a random network (`random_programs`) is right.

The oracle knows nothing of graphs, lattices or origins. It requires of every output y of the converted network, for
images x and shifts t:

1. y is what the wrapped program makes of the image moved to some place O, moved back by O;
2. if the wrapped program's output moves under multiples of the total stride, y moves in the same way under these, and
   under all shifts where it has the image's resolution; if it stays, y stays under all shifts.

Or the conversion is refused with a sentence. Anything else is a silent failure.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import sys
from typing import Any

import torch
from random_programs import Program, program, tensors
from torch import Tensor

import mass
from mass.nn.graph.alignment import SelectOrigin

Pair = tuple[int, int]


@dataclasses.dataclass
class Verdict:
    """What became of one network: 'exact', 'refused' with a reason, or 'wrong' with one."""

    seed: int
    outcome: str
    reason: str = ""


def judge(seed: int, verify: bool = True) -> Verdict:
    """Convert one random network and ask the oracle."""
    model, x = program(seed)
    try:
        converted = mass.convert(model, x, verify=verify)
    except (mass.NotEquivariantError, ValueError, TypeError) as refusal:
        sentence = str(refusal)
        whole = sentence.endswith(".") and len(sentence) > 20
        return Verdict(seed, "refused" if whole else "wrong", sentence)
    except Exception as error:  # noqa: BLE001 - no sentence: a failure of its own
        return Verdict(seed, "wrong", f"{type(error).__name__} instead of a sentence: {error}")
    try:
        return Verdict(seed, *_compare(model.double(), converted.double(), x.double()))
    except Exception as error:  # noqa: BLE001
        return Verdict(seed, "wrong", f"after conversion {type(error).__name__}: {error}")


def _close(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    if not (a.is_floating_point() and b.is_floating_point()):
        return bool((a == b).all())
    size = b.double().abs().nan_to_num(0.0, 0.0, 0.0).max().item()
    # In float64, what is left of 1e-12 is rounding: a mean of values that were normalised to zero, say.
    return bool(torch.allclose(a.double(), b.double(), rtol=1e-6, atol=max(1e-6 * size, 1e-12), equal_nan=True))


def _motions(shape: torch.Size, size: Pair) -> list[tuple[Pair, Pair]]:
    """Pairs of axes that may be rows and columns, with their sizes."""
    found = []
    for a in range(1, len(shape)):
        for b in range(1, len(shape)):
            if (
                a != b
                and (shape[a] * size[1] == shape[b] * size[0] or (a, b) == (len(shape) - 2, len(shape) - 1))
                and shape[a] * shape[b] > 1
                and 0 in (size[0] % shape[a], shape[a] % size[0])
                and 0 in (size[1] % shape[b], shape[b] % size[1])
            ):
                found.append(((a, b), (shape[a], shape[b])))
    return found


def _everywhere(model: Program, image: Tensor, which: tuple[bool, ...]) -> list[list[Tensor]]:
    """Every output for the image moved to every place; nothing where layers count positions and no longer fit."""
    places = [(i, j) for i in range(image.shape[2]) for j in range(image.shape[3])]
    try:
        return [
            list(each)
            for each in zip(
                *(tensors(model.wrapped(which)(image.roll((-i, -j), (2, 3)))) for i, j in places), strict=True
            )
        ]
    except RuntimeError:
        return []


def _choices(converted: Any) -> list[SelectOrigin]:
    return [module for module in converted.modules() if isinstance(module, SelectOrigin)]


def _is_found(y: Tensor, everywhere: list[Tensor], size: Pair) -> bool:
    """Whether y is what was computed of the image moved to some place, moved back or not."""
    for place, out in enumerate(everywhere):
        i, j = divmod(place, size[1])
        moved = [out.roll((i * n // size[0], j * m // size[1]), axes) for axes, (n, m) in _motions(out.shape, size)]
        if any(_close(y, candidate) for candidate in (out, *moved)):
            return True
    return False


def _compare(model: Program, converted: Any, x: Tensor) -> tuple[str, str]:
    height, width = size = x.shape[2], x.shape[3]
    rows, columns = converted.total_stride
    t = (rows // 2 | 1) % height, (columns + 1) % width
    image, choices = x[:1], list(itertools.product((True, False), repeat=len(model.windows())))
    with torch.no_grad():
        try:
            theirs = [
                list(tensors(model.wrapped(True)(x.roll((-i, -j), (2, 3))))) for i, j in ((0, 0), (rows, columns))
            ]
        except RuntimeError:  # layers that count positions: there the converted network keeps borders
            theirs = []
        ours = [list(tensors(converted(x.roll((-i, -j), (2, 3))))) for i, j in ((0, 0), (rows, columns), t)]
        for k, (y, stepped, between) in enumerate(zip(*ours, strict=True)):
            what = f"output {k} of shape {tuple(y.shape)}"
            if theirs and theirs[0][k].dtype != y.dtype:
                return "wrong", f"{what}: {y.dtype}, not {theirs[0][k].dtype}"
            trivial = rows % height == 0 and columns % width == 0
            if theirs and theirs[0][k].shape == y.shape and not trivial:
                z, z_stepped = theirs[0][k], theirs[1][k]
                moving = []
                for axes, counts in _motions(y.shape, size):
                    by = [-rows * counts[0] / height, -columns * counts[1] / width]
                    if all(s == int(s) for s in by):
                        moved = z.roll((int(by[0]), int(by[1])), axes)
                        if _close(z_stepped, moved) and not _close(moved, z):
                            moving.append((axes, counts, (int(by[0]), int(by[1]))))
                if moving and not any(_close(stepped, y.roll(by, axes)) for axes, _, by in moving):
                    return "wrong", f"{what} does not move under {(rows, columns)}, the circular network's does"
                if not moving and _close(z_stepped, z) and not (_close(stepped, y) and _close(between, y)):
                    return "wrong", f"{what} moves, the circular network's stays"
                fine = [(axes, counts[0] // height) for axes, counts, _ in moving if counts[0] % height == 0]
                if fine and not any(_close(between, y.roll((-t[0] * r, -t[1] * r), axes)) for axes, r in fine):
                    return "wrong", f"{what} does not move along under {t}"
        # A network that goes down again behind a way up samples twice, at origins of their own: it is compared at zero.
        for module in converted.modules() if len(_choices(converted)) > 1 and model.goes_up() else ():
            if isinstance(module, SelectOrigin):
                module.rule = "zero"
        alone = list(tensors(converted(image)))
        computed = [_everywhere(model, image, which) for which in choices[:1]]
        for k, y in enumerate(alone):
            while not any(outs and _is_found(y, outs[k], size) for outs in computed):
                if len(computed) == len(choices):
                    return (
                        "wrong",
                        f"output {k} of shape {tuple(y.shape)} is not what the network gives of the image moved anywhere",
                    )
                computed.append(_everywhere(model, image, choices[len(computed)]))
        model.wrapped(False)
    return "exact", ""


def main() -> None:
    """Judge the networks of seeds FIRST to LAST - 1, and say how many of which."""
    first, last = map(int, sys.argv[1:3]) if len(sys.argv) > 2 else (0, 2000)
    counts: collections.Counter[str] = collections.Counter()
    for seed in range(first, last):
        verdict = judge(seed)
        counts[verdict.outcome] += 1
        if verdict.outcome == "wrong":
            print(f"seed {seed}: {verdict.reason}", flush=True)
    print(
        f"{last - first:,} networks: {counts['exact']:,} exact, {counts['refused']:,} refused, {counts['wrong']:,} wrong"
    )
    sys.exit(bool(counts["wrong"]))


if __name__ == "__main__":
    main()
