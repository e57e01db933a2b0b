"""Rows of Table 3: a network with its weights, in several methods, on a data set; measured, compared, recorded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from companion.core.device import at_hand
from companion.core.errors import Refusal
from companion.core.files import write_json
from companion.core.intervals import wilson
from companion.core.provenance import peak_memory_mb, provenance
from companion.core.records import make_record, record_name
from companion.data.published.imagenet import IMAGES, Listing
from companion.measures.paired_images import compare
from companion.studies.imagenet.asking import CROP, SCALED, ask
from companion.studies.imagenet.networks import METHODS, Row
from companion.studies.imagenet.streaming import Pieces, evaluate, gathered, wait_for

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Options:
    """How rows are measured; all of it decides the labels and logits, to their last bit."""

    dataset: str
    piece: int = 1000
    batch: int = 100
    moved: int = IMAGES  # so many images are shifted
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise Refusal(f"There is no precision {self.precision!r}; known: {', '.join(PRECISIONS)}.")
        for name in ("piece", "batch", "moved"):
            if getattr(self, name) < 1:
                raise Refusal(f"{name} must be at least 1, not {getattr(self, name)}.")

    def autocast(self, device: str) -> AbstractContextManager:
        return nullcontext() if self.precision == "float32" else torch.autocast(device, getattr(torch, self.precision))


class Processes:
    """This process among those that torchrun started; one where it started none.

    They share a folder and nothing else: no process group, so none that could hang when one of them dies.
    """

    def __init__(self) -> None:
        self.world, self.rank = (
            int(os.environ.get(name, default)) for name, default in (("WORLD_SIZE", "1"), ("RANK", "0"))
        )
        self.device = str(at_hand())


def measure(
    row: Row, methods: Sequence[str], listing: Listing, options: Options, root: Path, folder: Path, workers: int, here: Processes
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """All methods of a row, by name: answers, unreadable files, seconds. Pieces that are in `folder` are taken as they are.

    The first process waits for the others' pieces and returns what they found; the others go on, and return nothing.

    Raises:
        Refusal: when the row's weights are not at hand; from the networks that a method cannot convert.
    """
    plain = row.load(root)
    pieces = Pieces(len(listing), options.piece, options.batch)
    made = asdict(options) | {"model": row.model, "weights": row.weights}
    found = {}
    for method in methods:
        model = METHODS[method](plain, torch.zeros(1, 3, CROP, CROP)).to(here.device)
        place = folder / row.model / row.weights / method.replace(" ", "-")
        asked = partial(ask, model, row.normalize, moved=options.moved, seed=options.seed, device=here.device)

        def answer(images: Tensor, labels: Tensor, indices: list[int], asked: Any = asked) -> dict[str, Tensor]:
            with options.autocast(here.device.partition(":")[0]):
                return asked(images, labels, indices)

        evaluate(
            listing, pieces, answer, place, made | {"method": method}, side=SCALED, workers=workers,
            rank=here.rank, world=here.world, description=f"{row.model}, {method}",
        )  # fmt: skip
        if here.rank == 0:
            wait_for(pieces, place)
            answers, unreadable, seconds = gathered(pieces, place, made | {"method": method})
            found[method] = {"answers": answers, "unreadable": unreadable, "seconds": seconds}
            print(_line(row, method, found[method]), flush=True)
    return found


def rows_of(row: Row, found: dict[str, dict[str, Any]], options: Options) -> list[dict[str, Any]]:
    """Records of a row: each method in percent, and each beside the plain network, image by image."""
    common = {
        "model": row.model,
        "input": row.weights,
        "dataset": options.dataset,
        "dtype": options.precision,
        "seed": options.seed,
    }
    records = []
    for method, one in found.items():
        answers = one["answers"]
        percent = {n: 100 * v.double().mean().item() for n, v in answers.items() if v.dtype == torch.bool}
        percent["consistency"] = percent.pop("consistency_mass")
        counts = {
            "n": len(answers["index"]),
            "moved": len(answers["consistency_mass"]),
            "unreadable": len(one["unreadable"]),
            "images_per_s": len(answers["index"]) / one["seconds"],
        }
        records.append(common | {"method": method, "stage": "row"} | counts | percent)
    for column, fields in (("top-1", "top1"), ("noise", "changed_by_noise")):
        outcomes = {method: one["answers"][fields] for method, one in found.items()}
        pairs = [(method, "plain") for method in outcomes if method != "plain" and "plain" in outcomes]
        pairs += [("MASS", "circular padding")] if {"MASS", "circular padding"} <= set(outcomes) else []
        records += [common | {"stage": f"{column}, paired"} | compared for compared in compare(outcomes, pairs)]
    return records


def keep(records: Sequence[dict[str, Any]], profile: str, root: Path, folder: Path, seconds: float) -> None:
    """Write records and where they come from, as a run that `make publish RECORDS=folder` publishes."""
    for number, fields in enumerate(records):
        record = make_record({"row": number, "notebook": "imagenet", "profile": profile} | fields)
        write_json(folder / "records" / f"{record_name(record)}.json", record)
    facts = {"notebook": "imagenet", "profile": profile, "seed": 0} | provenance(root)
    write_json(folder / "provenance.json", facts | {"seconds": round(seconds, 1), "peak_memory_mb": peak_memory_mb()})


def _line(row: Row, method: str, one: dict[str, Any]) -> str:
    answers = one["answers"]
    n, top1 = len(answers["index"]), 100 * answers["top1"].double().mean().item()
    low, high = wilson(top1, n)
    same = 100 * answers["consistency_mass"].double().mean().item()
    told = f"{row.model:19} {row.weights:14} {method:17} top-1 {top1:.2f} ({low:.1f} to {high:.1f}), consistency {same:.2f}, "
    told += f"{n / one['seconds']:,.1f} images/s"
    wrong = one["unreadable"]
    return told + (
        f"; {len(wrong)} files could not be read: {'; '.join(wrong[:3])}" + ("; …" if len(wrong) > 3 else "")
        if wrong
        else ""
    )
