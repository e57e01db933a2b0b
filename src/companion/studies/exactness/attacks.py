"""The wide search for an image that breaks exactness (its recipes, in small, are tests/test_attacks.py).

    python -m companion.studies.exactness.attacks                          # an hour on one core
    python -m companion.studies.exactness.attacks --networks resnet18 --starts 1

For each network and dtype, and each of its origins: an image whose two best phases are as good as each other (gradients),
two neighbouring images that choose differently (bisection), and each of the three with single bits changed; all of them
under random circular shifts. Prints how near the attacks came, and how many images moved by a bit.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import torch
from torch import Tensor, nn

import mass
from companion.data.generated.hard_images import centred_photograph
from companion.measures.near_ties import at_the_flip, next_up, toward_tie
from companion.measures.origins import origin_maps, phase_energies
from companion.measures.shifts import random_shifts
from companion.models.random_weights import FAMILIES, calibrated

SIZE = (64, 96)


def attacked(model: nn.Module, x: Tensor, which: int, bits: int) -> Iterator[Tensor]:
    """Images that attack one origin, from one that does not."""
    for y in (toward_tie(model, x, which), *at_the_flip(model, x, which)):
        yield y
        for place in torch.randint(y.numel(), (bits,)).tolist():
            yield next_up(y, place)


def gap(model: nn.Module, x: Tensor, which: int) -> float:
    """How far the best phase is ahead of the second best, as a share."""
    with torch.no_grad():
        first, second = phase_energies(*origin_maps(model, x)[which])[0].topk(2).values
    return ((first - second) / first).item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(FAMILIES))
    parser.add_argument("--starts", type=int, default=4, help="photographs and noise, in turn, to start from")
    parser.add_argument("--shifts", type=int, default=8)
    parser.add_argument("--bits", type=int, default=2, help="changes of one bit tried around each image")
    options = parser.parse_args()
    shifts = random_shifts(SIZE, options.shifts)
    for name in options.networks:
        for dtype in (torch.float32, torch.bfloat16):
            torch.manual_seed(0)
            model = mass.convert(calibrated(name), torch.zeros(1, 3, *SIZE), verify=False).to(dtype)
            nearest, images, broken = 1.0, 0, 0
            for start in range(options.starts):
                x = (centred_photograph(*SIZE, start // 2 % 2) if start % 2 == 0 else torch.randn(1, 3, *SIZE)).to(
                    dtype
                )
                for which in range(len(origin_maps(model, x))):
                    found = list(attacked(model, x, which, options.bits))
                    nearest = min(nearest, *(gap(model, y, which) for y in found))
                    certificate = mass.certify(model, torch.cat(found), shifts)
                    images, broken = images + len(found), broken + int((~certificate.identical).sum())
            print(
                f"{name:20} {str(dtype)[6:]:9} nearest tie {nearest:.1e}, {broken} of {images} images move", flush=True
            )


if __name__ == "__main__":
    main()
