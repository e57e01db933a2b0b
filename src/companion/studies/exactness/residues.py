"""The slow sweep of exactness: torchvision's families at full size, all residues, every awkward image.

    make residues                                # about 6 hours on 2 cores; resumable
    python -m companion.studies.exactness.residues --networks resnet18 --sizes 224x224 --every 32

For each network, size, dtype and image, `mass.certify` compares logits under all residues of the total stride (or a random
N-th of them). One record a combination in runs/residues/records/; what is there already is not measured again.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch

import mass
from companion.core.files import read_json, write_json
from companion.core.paths import find_root
from companion.core.provenance import provenance
from companion.data.generated.hard_images import awkward_images
from companion.models.random_weights import FAMILIES, calibrated
from mass.evaluate.shifts import all_residues

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def measure(name: str, size: tuple[int, int], dtype: str, every: int, batch: int) -> dict:
    """Percent of (image, shift) pairs with bit-identical logits, and the worst difference."""
    images = awkward_images(*size)
    x = torch.cat(list(images.values())).to(DTYPES[dtype])
    model: Any = mass.convert(calibrated(name), x[:1].float()).to(DTYPES[dtype])
    residues = all_residues(size, model.total_stride)
    order = torch.randperm(len(residues), generator=torch.Generator().manual_seed(0)).tolist()
    shifts = [residues[k] for k in order[::every]]
    started = time.monotonic()
    found = [mass.certify(model, x[i : i + batch], shifts) for i in range(0, len(x), batch)]
    identical = torch.cat([c.identical for c in found])
    return {
        "net": name,
        "size": f"{size[0]}x{size[1]}",
        "dtype": dtype,
        "images": len(x),
        "shifts": len(shifts),
        "identical_images": int(identical.sum()),
        "not_identical": ", ".join(n for n, same in zip(images, identical.tolist(), strict=True) if not same),
        "max_difference": max(c.max_difference.max().item() for c in found),
        "seconds": round(time.monotonic() - started, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(FAMILIES))
    parser.add_argument("--sizes", nargs="+", default=["224x224", "192x320"])
    parser.add_argument("--dtypes", nargs="+", default=list(DTYPES), choices=list(DTYPES))
    parser.add_argument("--every", type=int, default=1, help="try a random N-th of the residues only")
    parser.add_argument("--batch", type=int, default=13)
    options = parser.parse_args()
    root = find_root()
    folder = root / "runs" / "residues" / "records"
    folder.mkdir(parents=True, exist_ok=True)
    for name in options.networks:
        for size in options.sizes:
            for dtype in options.dtypes:
                path: Path = folder / f"{name}_{size}_{dtype}_{options.every}.json"
                if not path.exists():
                    height, width = map(int, size.split("x"))
                    found = measure(name, (height, width), dtype, options.every, options.batch)
                    write_json(path, found | {"every": options.every} | provenance(root))
                record = read_json(path)
                print("{net:20} {size:8} {dtype:9} identical {identical_images}/{images} images under {shifts} shifts "
                      "(worst {max_difference:.1g}), {seconds} s".format(**record), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
