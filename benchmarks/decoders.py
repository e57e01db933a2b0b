"""The exactness of decoders: segmentation architectures x encoders, converted, under random circular shifts.

    python benchmarks/decoders.py                               # about an hour on 2 idle cores; resumable
    python benchmarks/decoders.py --architectures Unet --encoders resnet18 mit_b0 --shifts 4
    python benchmarks/decoders.py --table                       # what has been measured, as a Markdown table

Each row: does the architecture convert (verified in float64, node by node) or why not, and for how many of the shifts
its output for a photograph moves along, bit for bit, in float32 and in bfloat16. One record a row in
runs/decoders/records/; what is there already is not measured again.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")  # before torch is loaded

import torch

import mass
from companion.awkward import photograph
from companion.files import read_json, write_json
from companion.networks import ARCHITECTURES, ENCODERS, TORCHVISION_SEGMENTERS, segmenter
from companion.paths import find_root
from companion.provenance import provenance

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

# Sizes that an architecture can divide: pyramid bins of 6 at stride 8 and 32, three more poolings at stride 16.
SIZES = {"PSPNet": (96, 144), "UPerNet": (192, 384), "PAN": (128, 256)}
STRIDES = {"DeepLabV3": (8, 16), "DeepLabV3Plus": (8, 16), "PAN": (16, 32)}  # those that are offered


def measure(architecture: str, encoder: str, output_stride: int | None, size: tuple[int, int], count: int) -> dict:
    """One row of the table."""
    started = time.monotonic()
    row: dict = {
        "architecture": architecture,
        "encoder": encoder,
        "output_stride": output_stride or "",
        "size": f"{size[0]}x{size[1]}",
        "converts": False,
        "reason": "",
        "tried": count,
    }
    try:
        model = segmenter(architecture, encoder, size, output_stride)
    except Exception as error:  # noqa: BLE001 - what the library of models itself does not offer
        return row | {"reason": f"not offered: {str(error).splitlines()[0][:160]}"}
    x = photograph(*size)
    try:
        model = mass.convert(model, x)
    except mass.NotEquivariantError as refusal:
        return row | {"reason": str(refusal)}
    row |= {"converts": True, "total_stride": "x".join(map(str, model.total_stride))}
    generator = torch.Generator().manual_seed(0)
    shifts = [tuple(int(torch.randint(n, (), generator=generator)) for n in size) for _ in range(count)]
    for name, dtype in DTYPES.items():
        found = [mass.certify(model.to(dtype), x.to(dtype), [t]) for t in shifts]
        row[f"identical_{name}"] = sum(int(c.identical.all()) for c in found)
        row[f"max_difference_{name}"] = max(c.max_difference.max().item() for c in found)
    return row | {"seconds": round(time.monotonic() - started, 1)}


def table(folder: Path) -> str:
    """All records as a Markdown table."""
    lines = ["| architecture | encoder | stride | size | float32 | bfloat16 | |", "|---|---|---|---|---|---|---|"]
    for path in sorted(folder.glob("*.json")):
        r = read_json(path)
        counts = [f"{r[f'identical_{d}']}/{r['tried']}" if r["converts"] else "" for d in DTYPES]
        lines.append(
            f"| {r['architecture']} | {r['encoder']} | {r['output_stride']} | {r['size']} | {counts[0]} | {counts[1]} "
            f"| {r['reason']} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", nargs="+", default=[*ARCHITECTURES, *TORCHVISION_SEGMENTERS])
    parser.add_argument("--encoders", nargs="+", default=list(ENCODERS))
    parser.add_argument("--size", default="64x96", help="of architectures that need no other")
    parser.add_argument("--shifts", type=int, default=8)
    parser.add_argument("--table", action="store_true", help="print what has been measured and stop")
    options = parser.parse_args()
    root = find_root()
    folder = root / "runs" / "decoders" / "records"
    folder.mkdir(parents=True, exist_ok=True)
    height, width = map(int, options.size.split("x"))
    for architecture in [] if options.table else options.architectures:
        encoders = ["tu-vit_tiny_patch16_224"] if architecture == "DPT" else options.encoders
        encoders = [""] if architecture in TORCHVISION_SEGMENTERS else encoders
        for encoder in encoders:
            for stride in STRIDES.get(architecture, (None,)):
                size = SIZES.get(architecture, (height, width))
                size = (256, 512) if architecture == "PAN" and stride == 32 else size
                name = f"{architecture}_{encoder}_{stride or ''}_{size[0]}x{size[1]}_{options.shifts}.json"
                if not (folder / name).exists():
                    found = measure(architecture, encoder, stride, size, options.shifts)
                    write_json(folder / name, found | provenance(root))
                    print({k: found[k] for k in list(found)[:7]}, found.get("identical_float32"),
                          found.get("identical_bfloat16"), found.get("seconds"), flush=True)  # fmt: skip
    print(table(folder))


if __name__ == "__main__":
    main()
