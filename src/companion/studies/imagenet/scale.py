"""What Table 3 and Table 4 take at the paper's scale: docs/scale.md, from measured images per second.

python -m companion.studies.imagenet.scale    # how fast one core decodes, recorded; seconds
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from companion.core.command_line import names_given
from companion.core.paths import find_root
from companion.core.published import read_results
from companion.data.published.imagenet import IMAGES, Listing
from companion.studies.imagenet.asking import SCALED
from companion.studies.imagenet.networks import METHODS, ROWS
from companion.studies.imagenet.streaming import Decoded
from companion.studies.imagenet.table_3 import keep

PASSES = 10 + 2 * (256 / 224) ** 2  # of an image, as many of 224 x 224 as take as long: asking.ask
TRAINING = 1_281_167
VALIDATION_BYTES, TRAINING_BYTES = 6_744_924_160, 147_897_477_120  # the official archives
CORES, STORAGE, PRICE = (
    16,
    2e9,
    3.0,
)  # assumed: cores beside a GPU, bytes a second of a shared file system, USD a GPU-hour
_TUNED = "resnet18"


def decoding() -> dict[str, Any]:
    """Images per second that one core decodes, scales and crops: photographs of 500 x 375, ImageNet's usual size."""
    import torch
    from torchvision.transforms.v2.functional import to_pil_image

    from companion.data.images import photographs

    torch.set_num_threads(1)
    count, repeats = 2, 40
    with tempfile.TemporaryDirectory() as scratch:
        files = []
        for k, photograph in enumerate(photographs((375, 500))):
            file = io.BytesIO()
            to_pil_image(photograph).save(file, "JPEG", quality=95)
            files.append(Path(scratch) / f"{k}.JPEG")
            files[-1].write_bytes(file.getvalue())
        decoded = Decoded(Listing("listed", tuple(files), (0,) * count), SCALED)
        decoded[0]
        began = time.process_time()  # of this process: the machine may be shared
        for k in range(count * repeats):
            decoded[k % count]
        seconds = time.process_time() - began
    return {
        "stage": "decode",
        "input": "JPEG, 500 x 375",
        "n": count * repeats,
        "images_per_s": count * repeats / seconds,
    }


def page(root: Path) -> str | None:
    """docs/scale.md; None while no speed of a GPU or of decoding is published."""
    on_gpus = [r for r in read_results(root, "speed") if r.get("batch") == 64 and r["device"] != "cpu"]
    speeds = [r for r in on_gpus if r.get("dtype") == "bfloat16"]
    decode = next((r for r in read_results(root, "imagenet") if r["stage"] == "decode"), None)
    if not speeds or decode is None:
        return None
    forward = {(r["net"], r["method"]): r for r in speeds if r.get("stage") == "forward" and r["input"] == "eager"}
    nets = [net for net in dict.fromkeys(net for net, _ in forward) if (net, "circular padding") in forward]
    train = {r["method"]: r for r in speeds if r.get("stage") == "training" and r["net"] == _TUNED}
    device = speeds[0]["device"]
    rates = [
        [net, *(f"{_rate(forward[net, m]):,.0f}" for m in _MEASURED), f"{_hours(forward, net):.2f}"] for net in nets
    ]
    lines = _table(["Network", *(f"{m}, images/s" for m in _MEASURED), "GPU-hours of a row"], rates)
    whole = sum(_hours(forward, net) for net in nets)
    return _PAGE.format(
        device=device, torch=speeds[0]["torch"], passes=PASSES, rates=lines, nets=len(nets), whole=whole, images=IMAGES,
        rows=len(ROWS), methods=len(METHODS), decode=decode["images_per_s"], cpu=decode["cpu"], cores=CORES, storage=STORAGE / 1e9,
        price=PRICE, row_bytes=3 * VALIDATION_BYTES / 1e9, evaluation=_evaluation(whole, len(nets), decode["images_per_s"]),
        tuning=_tuning(train, decode["images_per_s"]), train_bytes=3 * TRAINING_BYTES / 1e9,
        precisions=_precisions([r for r in on_gpus if r.get("stage") == "rate"]),
    )  # fmt: skip


_MEASURED = ("plain", "circular padding", "MASS")
_PRECISIONS = ("bfloat16", "tf32", "float32")
_GPUS = (1, 8, 64)


def _rate(record: Mapping[str, Any]) -> float:
    return 1000 * record["batch"] / record["milliseconds"]


def _hours(forward: Mapping[tuple[str, str], Mapping[str, Any]], net: str) -> float:
    return sum(IMAGES * PASSES / _rate(forward[net, method]) for method in _MEASURED) / 3600


def _precisions(records: list[dict[str, Any]]) -> str:
    """Images per second by precision, of the networks and methods that were measured in all."""
    rates = {(r["net"], r["method"], r["dtype"]): r["images_per_s"] for r in records}
    measured = dict.fromkeys((net, method) for net, method, _ in rates)
    kinds = [kind for kind in measured if all((*kind, dtype) in rates for dtype in _PRECISIONS)]
    slower = [rates[*kind, "bfloat16"] / rates[*kind, "float32"] for kind in kinds if kind[1] == "plain"]
    if not slower:
        return "Not measured."
    rows = [[*kind, *(f"{rates[*kind, dtype]:,.0f}" for dtype in _PRECISIONS)] for kind in kinds]
    told = f"\n\nFloat32 takes {min(slower):.1f} to {max(slower):.1f} times bfloat16's time, in the plain networks."
    return _table(["Network", "Method", *(f"{dtype}, images/s" for dtype in _PRECISIONS)], rows) + told


def _evaluation(gpu_hours: float, nets: int, decoded: float) -> str:
    passes_of_data = nets * len(_MEASURED)
    work = {
        "computing": gpu_hours * 60,
        "decoding": passes_of_data * IMAGES / decoded / CORES / 60,
        "reading": passes_of_data * VALIDATION_BYTES / STORAGE / 60,
    }
    return _times(work, gpu_hours)


def _tuning(train: Mapping[str, Mapping[str, Any]], decoded: float) -> str:
    minutes = 3 * TRAINING / _rate(train["MASS"]) / 60
    work = {
        "computing": minutes,
        "decoding": 3 * TRAINING / decoded / CORES / 60,
        "reading": 3 * TRAINING_BYTES / STORAGE / 60,
    }
    return _times(work, minutes / 60)


def _times(work: Mapping[str, float], gpu_hours: float) -> str:
    """Minutes by number of GPUs: what a GPU has beside it is divided by their number, the file system they share is not."""
    rows = []
    for gpus in _GPUS:
        minutes = {what: m if what == "reading" else m / gpus for what, m in work.items()}
        slowest = max(minutes, key=lambda what: minutes[what])
        held = gpus * minutes[slowest] / 60  # GPU-hours that are paid for, while the slowest part lasts
        rows.append([str(gpus), *(f"{m:.1f}" for m in minutes.values()), slowest, f"{held:.2f}", f"{held * PRICE:.1f}"])
    columns = ["GPUs", *(f"{what}, minutes" for what in work), "slowest", "GPU-hours held", "USD"]
    return _table(columns, rows) + f"\n\nOf the GPU-hours, {gpu_hours:.2f} are computing."


def _table(columns: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (columns, ["---"] * len(columns), *rows))


_PAGE = """\
# Scale: what Tables 3 and 4 take at the paper's size

Written by `make publish` from results/ (`companion.studies.imagenet.scale`). Measured are images per second of forward passes and
training steps on one {device} (torch {torch}, bfloat16, batch 64), and of decoding on one core ({cpu}: {decode:,.0f} JPEGs of 500 x 375 a
second of its time). Assumed are {cores} cores beside each GPU, a shared file system of {storage:g} GB/s, and {price:g} USD a GPU-hour. The times
below are these numbers divided by each other: **no run at this scale has been made**.

## Table 3: {images:,} validation images

Each image is asked about {passes:.1f} times (as it is, under noise, twice under each of five protocols; the larger images counted by
their area). Networks whose speed is on record, uncompiled as the evaluation runs them:

{rates}

All {nets} of them in three methods take {whole:.2f} GPU-hours; APS's speed on a GPU, and that of the table's other networks, is not on record. The
table has {rows} rows (weights) in {methods} methods. A row reads the validation set once a method, {row_bytes:.0f} GB for three.

{evaluation}

## By precision

Images per second of forward passes, channels last, uncompiled, in a run of their own: a network as small as MobileNetV2 waits for the
processor, whose times differ from run to run (the table above has another one), and converted, uncompiled, it does so in every precision.
PyTorch's own convolutions of float32 are in TF32; here float32 is float32, as `--precision float32` sets it.

{precisions}

## Table 4: ResNet-18, 3 epochs of the training set, MASS

Compiled training steps of 224 x 224; {train_bytes:.0f} GB are read.

{tuning}

## Where the bottleneck is

In Table 3 an image that was decoded once is asked about a dozen times, so that computing comes first until a few dozen GPUs share one
file system: from there on reading does, which adding GPUs does not make faster. In Table 4 each image is decoded for one step: decoding
comes first on one GPU with {cores} cores, reading from eight GPUs on. What helps, in this order: more cores or workers; images that were
scaled to a short side of 256 once (as `streaming.Decoded` does on its way) and kept; a copy of these on each node's own disk.

Sending it: `python -m companion.studies.imagenet FOLDER --executor slurm --nodes 8 --gpus 8 --cpus 128 --precision bfloat16 --dry-run` prints the
jobs, one a network; without `--dry-run` they are sent.
"""


def main() -> None:
    """Measure decoding and record it."""
    names_given(__doc__)
    began, root = time.monotonic(), find_root()
    found = decoding()
    print(f"{found['images_per_s']:.0f} images/s")
    keep([found], "reduced", root, root / "runs/reduced/imagenet_decode", time.monotonic() - began)


if __name__ == "__main__":
    main()
