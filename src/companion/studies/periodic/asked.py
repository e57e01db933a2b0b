"""Networks as they were trained, asked at every residue of their total stride; and whether what they answer differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from companion.core.device import at_hand
from companion.data.datasets import labelled
from companion.fetching.catalogue import fingerprint
from companion.measures.paired_images import holm, mcnemar
from companion.measures.paired_t import known, paired_gains
from companion.models.methods import METHODS
from companion.studies.periodic.worst_case import STRIDE, Attacked, attack
from companion.training.recipe import Recipe
from companion.training.record_run import trained
from companion.training.sweep import run_all

Rows = list[dict[str, Any]]
ASKED = {"in place": "top1", "worst residue": "worst_top1"}  # what is compared, and its field


def about(recipe: Recipe) -> dict[str, Any]:
    """What a row says of a run."""
    data = {"dataset_sha256": fingerprint("elpv")} if recipe.dataset.startswith("solar-cells") else {}
    return data | {
        "method": METHODS[recipe.method].printed,
        "dataset": recipe.dataset,
        "net": recipe.net,
        "seed": recipe.seed,
        "epochs": recipe.epochs,
    }


def networks(made: Sequence[Recipe], root: Path, folder: Path) -> dict[Recipe, nn.Module]:
    """The trained networks of recipes, in eval mode; those that are missing are trained."""
    run_all(made, root, folder)
    return {recipe: trained(folder / recipe.name)[0] for recipe in made}


@dataclass(frozen=True)
class Asked:
    """What networks of one architecture and data set answer to the same test images at all residues, by recipe."""

    answers: dict[Recipe, Attacked]

    @property
    def rows(self) -> Rows:
        """One a network."""
        return [about(recipe) | found.row() for recipe, found in self.answers.items()]

    def records(self) -> Rows:
        """The rows of networks and of comparisons, each with its stage."""
        return [{"stage": "worst case"} | row for row in self.rows] + [
            {"stage": "worst case, paired"} | row for row in self.paired()
        ]

    def paired(self, method: str = "mass") -> Rows:
        """A method against each of the others, in place and at the worst residue: one family of comparisons.

        Returns:
            Rows of `over_seeds`, with what `mcnemar` finds of the first seed's networks, image by image; p_holm is corrected for all.
        """
        if not self.answers:
            return []
        ours, seed = METHODS[method].printed, next(iter(self.answers)).seed
        first = {METHODS[r.method].printed: found for r, found in self.answers.items() if r.seed == seed}
        rows = [
            row | mcnemar(first[row["against"]].right(row["input"]), first[ours].right(row["input"]))
            for row in over_seeds(self.rows, ours, ASKED)
        ]
        return corrected(rows, "p")


def over_seeds(rows: Rows, ours: str, fields: Mapping[str, str]) -> Rows:
    """A method against each of the others, seed by seed: one family of comparisons.

    Args:
        rows: of networks, one a method and seed; fields: of them, in percent, by what they are called.

    Returns:
        Rows: method, against, input (what a field is called), seeds, and, where these are several, seed_difference, the mean of the
        paired differences in percentage points, with its 95% interval and p-value (Student's; none where all seeds differ
        alike), and seed_p_holm, corrected for all.
    """
    found = []
    for called, field in fields.items():
        for other, gain in paired_gains(rows, ours, field).iterrows():
            about = {"dataset": rows[0]["dataset"], "net": rows[0]["net"], "input": called, "seeds": int(gain["n"])}
            values = {"difference": -gain["gain"], "low": -gain["high"], "high": -gain["low"], "p": gain["p"]}
            several = {f"seed_{name}": float(value) for name, value in values.items()} if gain["n"] > 1 else {}
            found.append({"method": ours, "against": str(other)} | about | known(several))
    return corrected(found, "seed_p")


def corrected(rows: Rows, name: str) -> Rows:
    """The same rows; those with a p-value of that name have it corrected for their number as well (Holm)."""
    tested = [row for row in rows if name in row]
    for row, p in zip(tested, holm([row[name] for row in tested]), strict=True):
        row[f"{name}_holm"] = p
    return rows


def asked(
    made: Sequence[Recipe], root: Path, folder: Path, count: int = 0, stride: int = STRIDE, batch: int = 200
) -> Asked:
    """Train what is missing, and ask it of all test images (or the first `count`) at all residues of `stride`.

    Answers are kept beside the weights, for they may take longer than the training.
    """
    answers = {}
    for recipe, network in networks(made, root, folder).items():
        data = labelled(recipe.dataset, root)
        split = data.test.first(count or len(data.test))
        place = folder / recipe.name / f"residues-{stride}-of-{len(split)}.pt"
        answers[recipe] = Attacked.load(place) or attack(
            network.to(at_hand()), split.to(at_hand()), data.normalize, stride, batch
        )
        answers[recipe].save(place)
    return Asked(answers)
