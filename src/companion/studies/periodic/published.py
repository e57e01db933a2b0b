"""What notebook 11's drawing cells take from its measuring ones, read from published records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from companion.core.records import Record
from companion.models.methods import METHODS
from companion.studies.periodic.asked import ASKED, over_seeds


def names(records: Sequence[Record]) -> dict[str, Any]:
    """By the names that the notebook gives them."""
    ordered = sorted(records, key=lambda record: record["row"])

    def of(stage: str, start: str = "") -> list[Record]:
        return [r for r in ordered if r.get("stage") == stage and str(r.get("dataset", "")).startswith(start)]

    def about(dataset: str, stage: str) -> list[Record]:
        return [r for r in ordered if r.get("stage") == stage and r["dataset"] == dataset]

    rows = about("periodic", "worst case")
    return {
        "rows": rows,
        "paired": about("periodic", "worst case, paired") or over_seeds(rows, METHODS["mass"].printed, ASKED),
        "curves": about("periodic", "misregistration"),
        "again": about("periodic-fractions", "misregistration"),
        "pitches": of("pitch"),
        "longer": of("length"),
        "memory": of("memory"),
        "apart": of("equal objects"),
        "cells": about("solar-cells-64", "worst case"),
        "compared": about("solar-cells-64", "worst case, paired"),
        "sets": {
            "generated vias": of("few images", "periodic"),
            "solar cells": of("few images", "solar-cells"),
        },
        "tuned_few": of("fine-tuned, few images"),
        "tuned": of("fine-tuned"),
        "gains": of("fine-tuned, paired"),
        "tuned_cut": of("fine-tuned, 288 pixels"),
        "gains_cut": of("fine-tuned, 288 pixels, paired"),
        "asked_all": about("solar-cells", "worst case"),
        "compared_all": about("solar-cells", "worst case, paired"),
        "crops": of("boards"),
        "compared_crops": about("deeppcb", "worst case, paired"),
        "on_boards": of("boards, located"),
    }
