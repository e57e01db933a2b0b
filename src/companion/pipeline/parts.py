"""What takes longest in a notebook, part by part, without the rest of it; what is finished is not done again.

    python -m companion.pipeline.parts 11_periodic from_nothing few_images   # in the profile reduced
    make publish RECORDS=runs/parts
    python -m companion.publishing.redraw 11_periodic

On a GPU machine whose code came without its git, MASS_COMMIT in the environment says what it is. A part's records are those that the notebook makes of it; its study has them in `parts.py`.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import time

from companion.core.errors import Refusal
from companion.core.files import write_json
from companion.core.paths import find_root
from companion.core.provenance import peak_memory_mb, provenance
from companion.core.published import topic_of
from companion.core.records import make_record, record_name
from companion.pipeline.settings import load_config


def run_parts(notebook: str, profile: str, parts: list[str]) -> None:
    """Run them in turn; each leaves its records below runs/parts.

    Raises:
        Refusal: for a notebook, profile or part that does not exist.
    """
    root = find_root()
    settings = load_config(root).of(notebook, profile)
    module = f"companion.studies.{topic_of(notebook)}.parts"
    try:
        known = importlib.import_module(module).PARTS
    except ModuleNotFoundError as missing:
        if missing.name != module:
            raise
        raise Refusal(f"Notebook {notebook} has no parts: run it whole, `make repro PROFILE={profile}`.") from None
    if unknown := [part for part in parts if part not in known]:
        raise Refusal(f"Notebook {notebook} has no part named {unknown[0]!r}; known: {', '.join(known)}.")
    for part in parts:
        started = time.monotonic()
        facts = {"notebook": notebook, "profile": profile, "seed": settings.seed} | provenance(root)
        rows = known[part](settings, root, root / "checkpoints" / profile / notebook)
        folder = root / "runs" / "parts" / part
        shutil.rmtree(folder, ignore_errors=True)  # records of an earlier run are not this one's
        for number, row in enumerate(rows):
            record = make_record({"row": number, "seed": settings.seed} | row)
            write_json(folder / "records" / f"{record_name(record)}.json", record)
        took = {"seconds": round(time.monotonic() - started, 1), "peak_memory_mb": peak_memory_mb()}
        write_json(folder / "provenance.json", facts | took)
        print(f"{part}: {len(rows)} records, {took['seconds']} s", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser("python -m companion.pipeline.parts", description=str(__doc__).split("\n\n")[0])
    parser.add_argument("notebook", help="its name without extension, e.g. 11_periodic")
    parser.add_argument("parts", nargs="+")
    parser.add_argument("--profile", default="reduced")
    options = parser.parse_args()
    run_parts(options.notebook, options.profile, options.parts)


if __name__ == "__main__":
    try:
        main()
    except Refusal as refusal:
        sys.exit(f"parts: {refusal}")
