"""Table 3 on the images of a folder.

    python -m companion.studies.imagenet FOLDER --models mobilenet_v2 efficientnet_lite0
    torchrun --nproc-per-node 8 -m companion.studies.imagenet FOLDER --precision bfloat16 --workers 12

A row whose weights are not at hand is said not to have been run. What is finished is kept in checkpoints/imagenet/, so that a
run that was killed goes on where it was; records go to runs/<profile>/imagenet/ (`make publish PROFILE=...`).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import mass
from companion.core.errors import Refusal
from companion.core.paths import find_root
from companion.data.published.imagenet import IMAGES, find_images
from companion.studies.imagenet import cluster
from companion.studies.imagenet.networks import METHODS, ROWS, Row
from companion.studies.imagenet.table_3 import PRECISIONS, Options, Processes, keep, measure, rows_of


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m companion.studies.imagenet",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder", type=Path, help="ImageNet's validation images, in any layout of companion.data.published.imagenet"
    )
    parser.add_argument(
        "--models", nargs="+", default=list(dict.fromkeys(row.model for row in ROWS)), help="default: all"
    )
    parser.add_argument("--weights", type=Path, help="others of the one model that is named, fine-tuned say")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--images", type=int, default=0, help="the first so many; default: all")
    parser.add_argument(
        "--moved", type=int, default=IMAGES, help="of how many consistencies are measured; default: all"
    )
    parser.add_argument("--piece", type=int, default=1000, help="images in what is computed at once and kept")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2, help="processes that decode, for each that computes")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--checkpoints", type=Path, default=Path("checkpoints/imagenet"))
    cluster.add_options(parser)
    return parser.parse_args(given)


def main() -> None:
    """Rows in their order, each recorded as it is finished."""
    options = arguments()
    try:
        if cluster.wanted(options):
            print(cluster.submit(options))
            return
        _run(options)
    except (Refusal, mass.NotEquivariantError) as refusal:
        sys.exit(f"imagenet: {refusal}")


def _run(options: argparse.Namespace) -> None:
    root, listing = find_root(), find_images(options.folder)
    if options.images:
        listing = listing.first(options.images)
    whole = len(listing) == IMAGES
    name = "imagenet-val" if whole else f"imagenet-val-{len(listing)}"
    asked = Options(name, options.piece, options.batch, options.moved, options.precision)
    unknown = set(options.models) - {row.model for row in ROWS}
    if unknown:
        raise Refusal(
            f"There is no row for {', '.join(sorted(unknown))}; known: {', '.join(dict.fromkeys(r.model for r in ROWS))}."
        )
    here, records, seconds = Processes(), [], 0.0
    for row in _wanted(options):
        if row.place(root) is None:
            if here.rank == 0:
                print(f"{row.model:19} {row.weights:14} not run: {row.file} is not at hand", flush=True)
            continue
        found = measure(
            row, options.methods, listing, asked, root, root / options.checkpoints / name, options.workers, here
        )
        if here.rank == 0:
            seconds += sum(one["seconds"] for one in found.values())
            records += rows_of(row, found, asked)
            profile = "paper" if whole else "reduced"
            keep(records, profile, root, root / "runs" / profile / "imagenet", seconds)


def _wanted(options: argparse.Namespace) -> list[Row]:
    if options.weights is None:
        return [row for row in ROWS if row.model in options.models]
    if len(options.models) != 1:
        raise Refusal(f"--weights are one network's: name it by --models, not {len(options.models)} of them.")
    first = next(row for row in ROWS if row.model == options.models[0])
    return [replace(first, weights=options.weights.stem, file=options.weights.name, given=options.weights)]


if __name__ == "__main__":
    main()
