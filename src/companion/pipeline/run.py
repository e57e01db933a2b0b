"""What a notebook says to the pipeline: its settings in, its records and figures out.

    run = Run("02_mass_layer", profile)
    run.settings.size
    run.record(method="mass", consistency=100.0)
    run.figure(fig, "figure-2")

Executed by the runner, a notebook writes where the runner says, and only a notebook that reached its end is moved to
runs/<profile>/<notebook>/. Opened in Jupyter it writes under runs/interactive/, so that trying things out never
disturbs results.
"""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import torch

from companion.core.device import at_hand
from companion.core.errors import Refusal
from companion.core.files import write_atomic, write_json
from companion.core.paths import FOLDER_VARIABLE, find_root, run_folder
from companion.core.provenance import provenance
from companion.core.records import make_record, nest, record_name
from companion.fetching.catalogue import fingerprint
from companion.pipeline.settings import load_config
from companion.studies import all_studies

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Run:
    """One run of one notebook in one profile.

    Args:
        device: 'auto', the GPU where there is one (`run.device`), or 'cpu' for a notebook that computes there wherever it runs.
    """

    def __init__(self, notebook: str, profile: str, device: str = "auto") -> None:
        root = find_root()
        self.notebook, self.profile = notebook, profile
        self.settings: Any = load_config(root).of(notebook, profile)
        self.device = at_hand() if device == "auto" else torch.device(device)
        self.interactive = FOLDER_VARIABLE not in os.environ
        self.root, self.folder = root, self._folder(root)
        self._records: dict[str, dict[str, Any]] = {}
        for name in ("records", "figures"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
            (self.folder / name).mkdir(parents=True)
        torch.manual_seed(self.settings.seed)
        numpy.random.seed(self.settings.seed)
        facts = {"notebook": notebook, "profile": profile, "seed": self.settings.seed} | provenance(root)
        facts |= {} if self.device.type == "cuda" else {"device": self.device.type}
        write_json(self.folder / "provenance.json", facts)
        write_json(self.folder / "metrics.json", {})

    def _folder(self, root: Path) -> Path:
        if self.interactive:
            return run_folder(root, f"interactive/{self.profile}", self.notebook)
        given = Path(os.environ[FOLDER_VARIABLE])
        if given.name != self.notebook:
            raise Refusal(f"The notebook {given.name} calls itself {self.notebook!r}: mend its Run(...).")
        return given

    @property
    def checkpoints(self) -> Path:
        """Where this notebook keeps what takes long to make; runs find there what earlier ones have finished."""
        return self.root / "checkpoints" / self.profile / self.notebook

    def record(self, **fields: Any) -> None:
        """Keep one measurement: flat fields, those in `companion.core.records.KEY` telling it from the run's others."""
        row = {"row": len(self._records), "notebook": self.notebook, "profile": self.profile}
        known = fingerprint(str(fields.get("dataset")))
        data = {"dataset_sha256": known} if known else {}
        record = make_record(row | {"seed": self.settings.seed} | fields | data)
        name = record_name(record)
        if name in self._records and not self.interactive:  # where a cell may well be run again
            raise Refusal(f"Two records are both named {name!r}: let one of the fields that identify differ (KEY).")
        self._records[name] = record
        write_json(self.folder / "records" / f"{name}.json", record)
        write_json(self.folder / "metrics.json", nest(self._records.values()))

    def published(self, table: str) -> str:
        """A table of the README, of any study, in Markdown: what has been published of it so far."""
        tables = {name: made for study in all_studies() for name, made in study.tables.items()}
        if table not in tables:
            raise Refusal(f"There is no table named {table!r}; known: {', '.join(tables)}.")
        return tables[table](self.root)

    def figure(self, fig: Figure, name: str) -> None:
        """Keep a matplotlib figure as PNG; the same figure gives the same bytes."""
        picture = io.BytesIO()
        fig.savefig(picture, format="png", dpi=150, bbox_inches="tight", metadata={"Software": None})
        write_atomic(self.folder / "figures" / f"{name}.png", picture.getvalue())

    def __repr__(self) -> str:
        return f"Run({self.notebook!r}, {self.profile!r})"
