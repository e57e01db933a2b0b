"""Consistency under shifts, by the protocols of the papers that report it (all in percent, 0 to 100).

| protocol     | shift             | range                         | used by                       |
|--------------|-------------------|-------------------------------|-------------------------------|
| 'mass'       | circular          | {0, …, 31}                    | MASS, eq. 4                   |
| 'aps'        | circular          | {-32, …, 31}, at 224 px       | APS                           |
| 'lps'        | circular          | {-32, …, 31}, at 256 px       | LPS                           |
| 'cifar'      | circular          | {-3, …, 2}                    | APS and LPS, CIFAR-10         |
| 'crop'       | crop              | offsets {0, …, 31}, size - 32 | BlurPool, DDAC (224 of 256)   |
| 'zero'       | zeros move in     | {0, …, 31}                    | MASS, section 3 (not measured)|

Each image is shifted twice at random, rows and columns independently; the two predicted labels agree or not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mass.errors import check_counts, check_module
from mass.evaluate.batches import batches, require_finite
from mass.functional.shift import restore, shift
from mass.nn.evaluating import evaluating


@dataclass(frozen=True)
class Protocol:
    """How images are shifted: 'circular', 'zero' or 'crop', by integers drawn from {low, …, high}.

    Raises:
        ValueError, TypeError: for another kind, for a range that holds no shifts of it, for fractions.

    >>> flat = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> consistency(flat, torch.rand(8, 3, 16, 16), Protocol("circular", -2, 2))
    100.0
    """

    kind: str
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.kind not in ("circular", "zero", "crop"):
            raise ValueError(f"a protocol is 'circular', 'zero' or 'crop', not {self.kind!r}.")
        if not (isinstance(self.low, int) and isinstance(self.high, int)):
            raise TypeError(f"shifts are drawn from whole numbers, got {self.low!r} and {self.high!r}.")
        if self.low > self.high or (self.kind != "circular" and self.low < (-self.high if self.kind == "zero" else 0)):
            raise ValueError(f"no shifts of the kind {self.kind!r} lie in {{{self.low}, …, {self.high}}}.")

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randint(self.low, self.high + 1, (count, 2), generator=generator)

    def move(self, x: Tensor, by: Tensor) -> Tensor:
        """Each image moved by its own (rows, columns): S[n] = x[n + by], as the paper's eq. 1."""
        if self.kind == "circular":
            return shift(x, by.to(x.device))
        if self.kind == "zero":
            framed = torch.nn.functional.pad(x, [self.high] * 4)
            rows = [
                r[:, i : i + x.shape[2], j : j + x.shape[3]]
                for r, (i, j) in zip(framed, (by + self.high).tolist(), strict=True)
            ]
            return torch.stack(rows)
        margin = self.high + 1
        height, width = x.shape[2] - margin, x.shape[3] - margin
        if min(height, width) < 1:
            raise ValueError(f"images of {x.shape[2]} x {x.shape[3]} are too small for crops {margin} px smaller.")
        return torch.stack([r[:, i : i + height, j : j + width] for r, (i, j) in zip(x, by.tolist(), strict=True)])


PROTOCOLS = {
    "mass": Protocol("circular", 0, 31),
    "aps": Protocol("circular", -32, 31),
    "lps": Protocol("circular", -32, 31),
    "cifar": Protocol("circular", -3, 2),
    "crop": Protocol("crop", 0, 31),
    "zero": Protocol("zero", 0, 31),
}
"""The protocols of the papers, by name."""


def _scores(model: nn.Module, x: Tensor, dense: bool = False) -> Tensor:
    """Of two classes or more: of one, the largest is always the same."""
    scores = model(x)
    if isinstance(scores, dict):  # of torchvision's segmentation networks, or of transformers
        name = next((name for name in ("out", "logits") if name in scores), None)
        if name is None:
            raise ValueError(
                f"the model returns {', '.join(map(repr, scores))} by name, and neither 'out' nor 'logits'."
            )
        scores = scores[name]
    if not isinstance(scores, Tensor):
        raise TypeError(
            f"the model returns a {type(scores).__name__}, and consistency reads one tensor of logits; give it a module that "
            "returns these alone."
        )
    require_finite(scores, "the model's outputs")
    if scores.ndim != (4 if dense else 2) or scores.shape[1] < 2:
        wanted = "(B, classes, H, W)" if dense else "(B, classes)"
        raise ValueError(
            f"expected outputs {wanted} of two classes or more, got {tuple(scores.shape)}; of one logit z give the two classes' "
            "torch.cat((-z, z), 1)."
        )
    return scores


def consistency(model: nn.Module, images: Tensor | Iterable, protocol: str | Protocol = "mass", seed: int = 0) -> float:
    """Percentage of images whose predicted label is the same after two random shifts, by a protocol's name.

    Args:
        model: images (B, C, H, W) -> logits (B, classes); evaluated in eval mode.
        images: a batch, or an iterable of batches or of (images, labels).
        protocol: one of `PROTOCOLS`, or a `Protocol` of your own.
        seed: of the shifts, drawn on the CPU: the same on every device.

    Raises:
        TypeError: what is no `torch.nn.Module`, or returns neither a tensor nor a dict; no protocol.
        ValueError: a dict without an 'out' or 'logits', NaN or infinity in images or outputs, outputs of one class or of another shape,
            no images, an unknown protocol.

    >>> model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> consistency(model, torch.rand(8, 3, 40, 40), "aps")
    100.0
    """
    if isinstance(protocol, str):
        if protocol not in PROTOCOLS:
            raise ValueError(f"unknown protocol {protocol!r}; choose one of {', '.join(PROTOCOLS)}.")
        protocol = PROTOCOLS[protocol]
    if not isinstance(protocol, Protocol):
        raise TypeError(f"expected the name of a protocol or a Protocol, got {protocol!r}.")
    check_module(model)
    generator = torch.Generator().manual_seed(seed)
    agree = total = 0
    with evaluating(model):
        for x in batches(images):
            require_finite(x, "the images")
            first, second = (protocol.move(x, protocol.draw(len(x), generator)) for _ in range(2))
            agree += int((_scores(model, first).argmax(1) == _scores(model, second).argmax(1)).sum())
            total += len(x)
    return 100.0 * agree / total


def circular_consistency(model: nn.Module, images: Tensor | Iterable, max_shift: int = 32, seed: int = 0) -> float:
    """Circular consistency (paper, eq. 4): both shifts uniform in {0, …, max_shift - 1}, in percent.

    >>> flat = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> circular_consistency(flat, torch.rand(8, 3, 16, 16))
    100.0
    """
    check_counts(max_shift=max_shift)
    return consistency(model, images, Protocol("circular", 0, max_shift - 1), seed)


def segmentation_consistency(
    model: nn.Module, images: Tensor | Iterable, protocol: str = "mass", seed: int = 0
) -> float:
    """Mean average segmentation circular consistency, mASCC (paper, eq. 5), in percent.

    The share of pixels with the same label after two shifts, both undone; averaged over pixels, then images. Protocol
    'mass': both shifts in {0, …, 511}; 'lps': the unshifted image against 5 shifts in {-32, …, 32}.

    Args, raises: as `consistency`, for a model with outputs (B, classes, H, W) or a dict with such an 'out'.

    >>> segmentation_consistency(nn.Conv2d(3, 4, 1), torch.rand(2, 3, 16, 16))
    100.0
    """
    if protocol not in ("mass", "lps"):
        raise ValueError(f"unknown protocol {protocol!r}; choose mass or lps.")
    check_module(model)
    generator = torch.Generator().manual_seed(seed)
    agreement, total = 0.0, 0  # percent, added up
    with evaluating(model):
        for x in batches(images):
            require_finite(x, "the images")

            def labels(by: Tensor, x: Tensor = x) -> Tensor:
                by = by.to(x.device)
                scores = _scores(model, shift(x, by), dense=True)
                if scores.shape[2:] != x.shape[2:]:
                    raise ValueError(f"outputs of {tuple(scores.shape)} are not dense for images of {tuple(x.shape)}.")
                return restore(scores, by).argmax(1)

            if protocol == "mass":
                first, *others = (torch.randint(512, (len(x), 2), generator=generator) for _ in range(2))
            else:
                first = torch.zeros(len(x), 2, dtype=torch.int64)
                others = [torch.randint(-32, 33, (len(x), 2), generator=generator) for _ in range(5)]
            reference = labels(first)
            for by in others:
                same = (labels(by) == reference).double().mean((1, 2))
                agreement += 100.0 * same.sum().item() / len(others)
            total += len(x)
    return agreement / total
