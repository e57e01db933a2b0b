"""What `mass.antialias` takes: every classifier of torchvision, and smp's U-Net; and MASS over an anti-aliased ResNet-50, certified.

    python -m companion.studies.antialiasing.benchmarks.coverage      # 10 minutes on one core, resumable
    make publish PROFILE=bench                                        # to results/antialiased.json

A record a network: is it anti-aliased, by how many filters, or why not; has it the plain one's `state_dict` keys and shapes; and,
with filters of size 1, the plain one's outputs. The certificate tries all 32 x 32 residues of ResNet-50's total stride at 64 x 64.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")  # before torch is loaded

import segmentation_models_pytorch as smp
import torch
import torchvision
from torch import Tensor, nn

import mass
from companion.core.files import write_json
from companion.core.paths import find_root
from companion.core.provenance import peak_memory_mb, provenance
from companion.core.records import Record, make_record, read_records, record_name
from companion.data.generated.hard_images import centred_photograph
from companion.models.random_weights import calibrated, vary_constants

TOPIC = "antialiased"
SIZES = (64, 96, 224)  # the first that a network takes
CERTIFIED = "resnet50"
UNET = "smp/Unet-resnet18"


def builders() -> dict[str, Callable[[], nn.Module]]:
    """Every network, by name, and how it is built; small ones first."""

    def classifier(name: str) -> nn.Module:
        options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        return torchvision.models.get_model(name, weights=None, **options)

    names = torchvision.models.list_models(module=torchvision.models)
    known = {name: partial(classifier, name) for name in names}
    return {UNET: partial(smp.Unet, "resnet18", encoder_weights=None, classes=3), **known}


def example(model: nn.Module) -> Tensor:
    """Images of the first size that a network takes."""
    *others, last = SIZES
    for size in others:
        x = torch.cat([centred_photograph(size, size, which) for which in (0, 1)])
        with suppress(Exception), torch.no_grad():  # networks say no in many ways
            model(x)
            return x
    return torch.cat([centred_photograph(last, last, which) for which in (0, 1)])


def measure(build: Callable[[], nn.Module]) -> Record:
    """Whether a network is anti-aliased, and what stays the same."""
    started = time.monotonic()
    torch.manual_seed(0)
    model = vary_constants(build()).eval()
    x = example(model)
    found: Record = {
        "size": x.shape[-1],
        "parameters": sum(p.numel() for p in model.parameters()),
        "antialiased": False,
    }
    try:
        smooth = mass.antialias(model, x)
    except mass.NotEquivariantError as refusal:
        return found | {"reason": str(refusal)}
    filters = [m for name, m in smooth.named_children() if name.startswith("mass_sample_")]
    with torch.no_grad():
        plain, blurred = model(x), smooth(x)
        keys = list(smooth.state_dict()) == list(model.state_dict())
        del smooth
        dense = mass.antialias(model, x, 1, verify=False)(x)
    return found | {
        "antialiased": True,
        "reason": "",
        "filters": len(filters),
        "same_keys": keys,
        "same_shape": blurred.shape == plain.shape,
        "moved": ((blurred - plain).norm() / plain.norm()).item(),
        "without_filter": ((dense - plain).norm() / plain.norm()).item(),
        "row_seconds": round(time.monotonic() - started, 1),
    }


def certify(name: str) -> Record:
    """MASS over an anti-aliased network, under all residues of its total stride."""
    started = time.monotonic()
    x = torch.cat([centred_photograph(64, 64, which) for which in (0, 1)])
    model: Any = mass.convert(mass.antialias(calibrated(name, size=64), x), x)
    certificate = mass.certify(model, x, None)
    return {
        "stage": "MASS over anti-aliasing, all residues",
        "size": 64,
        "total_stride": "x".join(map(str, model.total_stride)),
        "tried": len(certificate.shifts),
        "images": len(x),
        "identical": bool(certificate.identical.all()),
        "max_difference": certificate.max_difference.max().item(),
        "verdict": str(certificate).splitlines()[0],
        "row_seconds": round(time.monotonic() - started, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=[])
    options = parser.parse_args()
    root, known = find_root(), builders()
    folder = root / "runs" / "bench" / TOPIC
    rows: list[tuple[Record, Callable[[], Record]]] = [
        ({"model": CERTIFIED, "stage": "MASS over anti-aliasing, all residues", "seed": 0}, partial(certify, CERTIFIED))
    ]
    rows += [({"model": name, "seed": 0}, partial(measure, known[name])) for name in options.models or known]
    for name, row in rows:
        path = folder / "records" / f"{record_name(name)}.json"
        if not path.exists():
            found = row()
            write_json(path, make_record(name | found) | provenance(root))
            print(name["model"], {key: value for key, value in found.items() if value != ""}, flush=True)
    seconds = sum(record.get("row_seconds", 0.0) for record in read_records(folder / "records"))
    facts = {"notebook": TOPIC, "profile": "bench", "seed": 0} | provenance(root)
    write_json(folder / "provenance.json", facts | {"seconds": round(seconds, 1), "peak_memory_mb": peak_memory_mb()})


if __name__ == "__main__":
    main()
