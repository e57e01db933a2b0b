"""The worst of all misalignments, by trying them all.

A network with circular borders and total stride S answers two shifts alike if they differ by a multiple of S: its S x S residues
are all the answers there are. (Of one with zero padding they are a part: it may answer every shift in its own way.)
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from companion.data.labelled import Split
from companion.measures.accuracy import Prepare
from companion.training.checkpoint import load_tensors, save_tensors
from mass.nn.evaluating import evaluating

STRIDE = 8  # total, of the network "periodic"


@dataclass(frozen=True)
class Attacked:
    """Answers to every residue.

    Attributes:
        true: labels (N,).
        said: predicted labels (residues, N), the unmoved image first.
        identical: whether all logits are bit-identical, (N,) bool.
    """

    true: Tensor
    said: Tensor
    identical: Tensor

    def right(self, asked: str) -> Tensor:
        """Which images are right "in place", or at the "worst residue", that is, at every one: (N,) bool."""
        return {"in place": self.said[0] == self.true, "worst residue": (self.said == self.true).all(0)}[asked]

    def save(self, path: Path) -> None:
        save_tensors(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """What was saved, or None."""
        return cls(**load_tensors(path)) if path.exists() else None

    def row(self) -> dict[str, Any]:
        """Percentages over n images: right unmoved, right on average, right always; labels that agree, on average over pairs of
        residues, and in all; bit-identical logits; and what one and the same answer to all would get right at best (majority)."""
        right = (self.said == self.true).double()
        votes = nn.functional.one_hot(self.said, 2).double().mean(0)  # (N, 2)
        shares = {
            "top1": right[0],
            "shifted_top1": right.mean(0),
            "worst_top1": right.amin(0),
            "consistency": votes.square().sum(1),
            "steady": (self.said == self.said[0]).all(0).double(),
            "identical": self.identical.double(),
        }
        majority = 100 * self.true.bincount().max().item() / len(self.true)
        return {"n": len(self.true), "residues": len(self.said), "majority": majority} | {
            name: 100 * share.mean().item() for name, share in shares.items()
        }


def attack(model: nn.Module, split: Split, prepare: Prepare, stride: int = STRIDE, batch: int = 200) -> Attacked:
    """Ask a network of all images at all residues of `stride`.

    Args:
        model: normalised images -> logits (B, 2); split: bytes and labels, where the model is.

    Returns:
        On the CPU, whatever the device.
    """
    said, identical = [], []
    with evaluating(model):
        for images, _ in split.batches(batch):
            x = prepare(images)
            logits = torch.stack([model(x.roll((i, j), (2, 3))) for i in range(stride) for j in range(stride)])
            said.append(logits.argmax(2))
            identical.append((logits == logits[0]).flatten(2).all(2).all(0))
    return Attacked(split.labels.cpu(), torch.cat(said, 1).cpu(), torch.cat(identical).cpu())
