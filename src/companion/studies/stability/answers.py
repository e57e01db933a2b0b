"""What networks say of images, as they are and slightly changed: the same changes for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from companion.data.corruptions import jpeg
from companion.measures.accuracy import Prepare
from companion.measures.noise import add_noise
from mass.evaluate.consistency import PROTOCOLS
from mass.nn.evaluating import evaluating

Change = Callable[[Tensor, torch.Generator], Tensor]
ONE_LEVEL = "one grey level"


def _noise(images: Tensor, generator: torch.Generator, levels: float) -> Tensor:
    return add_noise(images, levels, 1, generator)


def _one_level(images: Tensor, generator: torch.Generator) -> Tensor:
    """Every value up or down by one grey level, or left."""
    return (images + torch.randint(-1, 2, images.shape, generator=generator) / 255).clamp(0, 1)


def _jpeg(images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.stack([jpeg((255 * image).round().byte(), 80) for image in images]).float() / 255


def _brighter(images: Tensor, generator: torch.Generator) -> Tensor:
    return (1.01 * images).clamp(0, 1)


def _moved(images: Tensor, generator: torch.Generator, protocol: str) -> Tensor:
    drawn = PROTOCOLS[protocol].draw(len(images), generator)
    return PROTOCOLS[protocol].move(images, drawn)


SHIFTS: dict[str, Change] = {
    f"{kind} shift {turn}": partial(_moved, protocol=protocol)
    for kind, protocol in (("circular", "mass"), ("ordinary", "zero"))
    for turn in (1, 2)
}
NOISES: dict[str, Change] = {f"noise {levels}": partial(_noise, levels=levels) for levels in (2, 4, 8)}
CHANGES: dict[str, Change] = {ONE_LEVEL: _one_level, **NOISES, "JPEG 80": _jpeg, "brightness +1%": _brighter}


@dataclass(frozen=True)
class Answers:
    """Labels, image by image, each (N,).

    Attributes:
        true: the images' own; clean: predicted; changed: predicted of the changed images, by change.
        jump: by change, the largest change of a logit.
    """

    true: Tensor
    clean: Tensor
    changed: Mapping[str, Tensor]
    jump: Mapping[str, Tensor]

    @property
    def right(self) -> Tensor:
        return self.clean == self.true

    def differ(self, change: str) -> Tensor:
        """Which labels are others than those of the clean images."""
        return self.changed[change] != self.clean

    def consistent(self, kind: str) -> Tensor:
        """Whether two shifts, 'circular' or 'ordinary', give one label."""
        return self.changed[f"{kind} shift 1"] == self.changed[f"{kind} shift 2"]


def answers(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    prepare: Prepare,
    changes: Mapping[str, Change],
    seed: int,
    description: str = "",
) -> Answers:
    """A network's labels.

    Args:
        batches: images in [0, 1], and labels; prepare: normalisation.
        changes: by name; each is drawn from one seed, so that all networks see the same images.
    """
    true: list[Tensor] = []
    said: dict[str, list[Tensor]] = {name: [] for name in ("", *changes)}
    jumps: dict[str, list[Tensor]] = {name: [] for name in changes}
    second = {name: name.endswith("shift 2") for name in changes}  # of a pair: another draw
    generators = {name: torch.Generator().manual_seed(seed + second[name]) for name in changes}
    with evaluating(network):
        for images, labels in tqdm(batches, desc=description, leave=False, disable=None):
            clean = network(prepare(images))
            true.append(labels)
            said[""].append(clean.argmax(1))
            for name, change in changes.items():
                logits = network(prepare(change(images, generators[name])))
                said[name].append(logits.argmax(1))
                jumps[name].append((logits - clean).abs().amax(1))
    labels_of = {name: torch.cat(parts) for name, parts in said.items()}
    clean = labels_of.pop("")
    return Answers(torch.cat(true), clean, labels_of, {name: torch.cat(parts) for name, parts in jumps.items()})
