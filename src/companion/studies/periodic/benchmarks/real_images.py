"""Notebook 11's solar cells without the rest of it, part by part; what is finished is not done again.

    python -m companion.studies.periodic.benchmarks.real_images from_nothing few_images   # in the profile reduced
    make publish RECORDS=runs/parts                                                        # then redraw 11_periodic

A part's records are those that the notebook makes of it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from companion.core.files import write_json
from companion.core.paths import find_root
from companion.core.provenance import peak_memory_mb, provenance
from companion.core.records import make_record, record_name
from companion.pipeline.settings import load_config
from companion.studies.periodic import solar_cells, whole_memory
from companion.studies.periodic.asked import Rows

NOTEBOOK = "11_periodic"


def _fine_tuned(settings: Any, root: Path, folder: Path) -> Rows:
    runs, gains = solar_cells.fine_tuned(settings, root, folder)
    return runs + gains


def _memory(settings: Any, root: Path, folder: Path) -> Rows:
    return [{"stage": "memory"} | row for row in whole_memory.peak_memory(settings.weighed)]


PARTS = {
    "from_nothing": lambda *given: solar_cells.from_nothing(*given).records(),
    "few_images": solar_cells.few_images,
    "fine_tuned": _fine_tuned,
    "exhaustive": lambda *given: solar_cells.exhaustive(*given).records(),
    "memory": _memory,
}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=list(PARTS))
    parser.add_argument("--profile", default="reduced")
    options = parser.parse_args()
    root = find_root()
    settings = load_config(root).of(NOTEBOOK, options.profile)
    for part in options.parts:
        started = time.monotonic()
        facts = {"notebook": NOTEBOOK, "profile": options.profile, "seed": settings.seed} | provenance(root)
        rows = PARTS[part](settings, root, root / "checkpoints" / options.profile / NOTEBOOK)
        folder = root / "runs" / "parts" / part
        for number, row in enumerate(rows):
            record = make_record({"row": number, "seed": settings.seed} | row)
            write_json(folder / "records" / f"{record_name(record)}.json", record)
        took = {"seconds": round(time.monotonic() - started, 1), "peak_memory_mb": peak_memory_mb()}
        write_json(folder / "provenance.json", facts | took)
        print(f"{part}: {len(rows)} records, {took['seconds']} s", flush=True)


if __name__ == "__main__":
    main()
