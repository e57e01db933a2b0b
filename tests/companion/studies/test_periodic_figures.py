"""Notebook 11: titles are computed, and claim no more than is drawn."""

import pandas as pd
import torch

from companion.studies.periodic import figures


def misregistered(shares):
    places = [0.0, 0.5, 1.0, 2.0, 8.0]
    return pd.DataFrame(
        {"method": method, "view": view, "pixels": pixels, "n": 200, "top1": share, "majority": 51.5}
        for view in ("wraps", "window")
        for method, row in shares.items()
        for pixels, share in zip(places, row, strict=True)
    )


def test_what_stays_at_one_answer_to_all_is_no_merit():
    rows = misregistered({"Baseline": [100, 100, 100, 48.5, 100], "MASS": [51.5, 53, 51.5, 53, 51.5]})
    fig = figures.against_misregistration(rows, "Shown fractions in training")
    assert fig.get_suptitle() == "Shown fractions in training, MASS does not learn the task; Baseline does, within 1 px"
    assert all(any(line.get_label().startswith("one answer") for line in ax.lines) for ax in fig.axes)
    rows = misregistered({"Baseline": [100, 48.5, 48.5, 48.5, 100], "MASS": [99, 48.5, 99, 99, 99]})
    assert figures.against_misregistration(rows).get_suptitle().endswith("where the image wraps: MASS 99%")


def of_few(shares):
    return pd.DataFrame(
        {"method": method, "images": 30, "n": 656, "worst_top1": share + seed, "majority": 68.6}
        for method, share in shares.items()
        for seed in (-0.5, 0, 0.5)
    )


def test_the_best_of_few_images_may_be_none():
    found = {
        "cells": of_few({"Baseline": 3, "LPF-3": 24, "MASS": 68}),
        "vias": of_few({"Baseline": 40, "LPF-3": 68, "MASS": 85}),
    }
    none, one = (ax.get_title() for ax in figures.against_images(found).axes)
    assert none == "Of 30 cells no network beats one answer to all;\non the fixed grid all fall below it"
    assert one == "Of 30 vias MASS beats one answer to all;\nBaseline falls below it"


def test_what_finds_most_says_its_false_alarms():
    rows = pd.DataFrame(
        {"method": method, "pixels": 32, "n": 805, "found": found, "false_alarms": alarms}
        for method, found, alarms in (
            ("both", 84, 30),
            ("difference", 45, 10),
            ("registered, then difference", 97, 0.9),
        )
    )
    title = figures.boards_located(rows).get_suptitle()
    assert "97% of defects found, 0.9 false alarms a board\nNot registered: at most 84%, and that with 30" in title


def test_alarms_everywhere_find_nothing():
    defects = torch.zeros(128, 128, dtype=torch.int64)
    defects[40:44, 40:44] = 1
    everywhere, there = torch.zeros(2, 128, 128, dtype=torch.bool)
    everywhere[::8, ::8] = True
    there[40, 40] = there[100, 100] = True
    fig = figures.heat(torch.zeros(128, 128), defects, [("Baseline", everywhere), ("MASS", there)])
    told = "Baseline gives alarms at 100% of its positions; MASS at 1 of 1 defects, with 1 false alarms"
    assert fig.get_suptitle() == f"Shifted: {told}"
