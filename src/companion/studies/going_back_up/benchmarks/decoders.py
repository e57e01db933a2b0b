"""The exactness of decoders: segmentation architectures x encoders, converted, under circular shifts.

    make decoders                                               # hours on 2 cores; resumable
    python -m companion.studies.going_back_up.benchmarks.decoders --architectures Unet --encoders resnet18 mit_b0
    make publish PROFILE=bench                                  # to results/decoders.json and the README

A row: does the architecture convert (verified in float64, node by node) or why not, and does its output for a
photograph move along, bit-identically, in float32 and in bfloat16? Every encoder under a few random shifts of a small
image; the first also of large squares, and under every residue of its total stride at 128 x 192, or what it can
divide. One record a row; what is there already is not measured again.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from typing import Any

os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")  # before torch is loaded

import torch

import mass
from companion.core.files import read_json, write_json
from companion.core.paths import find_root
from companion.core.provenance import peak_memory_mb, provenance
from companion.core.records import Record, make_record, read_records, record_name
from companion.data.generated.hard_images import centred_photograph
from companion.models.random_weights import ARCHITECTURES, ENCODERS, TORCHVISION_SEGMENTERS, segmenter

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SHIFTS = 4  # random ones; at one size all residues of the total stride instead,
MOST = 2048  # or so many random ones, where pyramid bins make every position one

# Sizes that an architecture can divide: pyramid bins of 6 at stride 8 and 32, three more poolings at stride 16.
SMALL = {"PSPNet": (192, 384), "UPerNet": (192, 384), "PAN": (128, 256)}
SWEPT = {"PSPNet": (144, 192), "UPerNet": (192, 192), "PAN": (128, 384)}
LARGE = {"PSPNet": (384, 576), "UPerNet": (384, 576)}
STRIDES = {"DeepLabV3": (8, 16), "DeepLabV3Plus": (8, 16), "PAN": (16,)}  # those that are offered

Row = tuple[str, str, int | None, tuple[int, int]]  # architecture, encoder, output stride, image size


def rows(architecture: str, encoders: list[str]) -> list[Row]:
    """What is measured of an architecture."""
    if architecture == "DPT":
        encoders = ["tu-vit_tiny_patch16_224"]
    elif architecture in TORCHVISION_SEGMENTERS:
        encoders = [""]
    sizes = [swept(architecture), *((side, side) for side in LARGE.get(architecture, (384, 512, 640)))]
    found: list[Row] = []
    for stride in STRIDES.get(architecture, (None,)):
        found += [(architecture, encoder, stride, SMALL.get(architecture, (64, 96))) for encoder in encoders]
        found += [(architecture, encoders[0], stride, size) for size in sizes]
    return found


def swept(architecture: str) -> tuple[int, int]:
    """The size at which all residues are tried."""
    return SWEPT.get(architecture, (128, 192))


def describe(row: Row) -> Record:
    """The fields that tell a row from the others."""
    architecture, encoder, stride, (height, width) = row
    return {"model": architecture, "net": encoder, "stage": f"output stride {stride}" if stride else "",
            "size": f"{height}x{width}", "seed": 0}  # fmt: skip


def measure(row: Row) -> Record:
    """Does it convert, and is it exact?"""
    architecture, encoder, stride, size = row
    started = time.monotonic()
    refused = {"converts": False, "reason": ""}
    model: Any
    try:
        model = segmenter(architecture, encoder, size, stride)
    except Exception as error:  # noqa: BLE001 - what the library of models itself does not offer
        return refused | {"reason": f"not offered: {str(error).splitlines()[0][:160]}"}
    x = centred_photograph(*size)
    try:
        model = mass.convert(model, x)
    except mass.NotEquivariantError as refusal:
        return refused | {"reason": str(refusal)}
    found: Record = {"converts": True, "reason": "", "total_stride": "x".join(map(str, model.total_stride))}
    shifts: int | None = SHIFTS
    if size == swept(architecture):
        shifts = None if math.prod(model.total_stride) <= MOST else MOST
    for name, dtype in DTYPES.items():
        certificate = mass.certify(model.to(dtype), x.to(dtype), shifts)
        found["tried"] = len(certificate.shifts)
        found[f"identical_{name}"] = bool(certificate.identical.all())
        found[f"max_difference_{name}"] = certificate.max_difference.max().item()
    return found | {"row_seconds": round(time.monotonic() - started, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", nargs="+", default=[*ARCHITECTURES, *TORCHVISION_SEGMENTERS])
    parser.add_argument("--encoders", nargs="+", default=list(ENCODERS))
    options = parser.parse_args()
    root = find_root()
    folder = root / "runs" / "bench" / "decoders"
    (folder / "records").mkdir(parents=True, exist_ok=True)
    facts = {"notebook": "decoders", "profile": "bench", "seed": 0} | provenance(root)
    earlier = read_json(folder / "provenance.json") if (folder / "provenance.json").exists() else {}
    wanted = [row for architecture in options.architectures for row in rows(architecture, options.encoders)]
    for row in sorted(wanted, key=lambda row: (row[3] == swept(row[0]), row[3])):  # what takes longest comes last
        name = describe(row)
        path = folder / "records" / f"{record_name(name)}.json"
        if not path.exists():
            found = measure(row)
            write_json(path, make_record(name | found) | provenance(root))
            print(*row, {key: value for key, value in found.items() if value != ""}, flush=True)
    seconds = sum(record.get("row_seconds", 0.0) for record in read_records(folder / "records"))  # of all its runs
    most = max(peak_memory_mb(), earlier.get("peak_memory_mb", 0))
    write_json(folder / "provenance.json", facts | {"seconds": round(seconds, 1), "peak_memory_mb": most})


if __name__ == "__main__":
    main()
