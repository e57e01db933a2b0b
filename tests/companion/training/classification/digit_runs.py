"""Runs of a few seconds on the digits, and what must be the same in two of them."""

import runpy
import sys
from pathlib import Path

import torch

from companion.core.files import read_json
from companion.training.checkpoint import load_tensors
from companion.training.recipe import Recipe, to_arguments

SMALL = {"net": "digits", "dataset": "digits", "batch": 64, "epochs": 3, "precision": "float32"}
STEPS = 1297 // 64  # in an epoch


def say(module: str, monkeypatch, *arguments: str) -> str | int | None:
    """Run `python -m module arguments` in this process; returns what it ends with."""
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    monkeypatch.delitem(sys.modules, module, raising=False)  # runpy warns of what is imported already
    try:
        runpy.run_module(module, run_name="__main__")
    except SystemExit as end:
        return end.code
    return None


def command_line(recipe: Recipe, folder: Path) -> list[str]:
    return [*to_arguments(recipe), f"--checkpoints={folder}"]


def outcome(run: Path) -> tuple[dict[str, torch.Tensor], list[tuple[float, ...]]]:
    """What a finished run must not owe to how often it was started."""
    curve = [
        tuple(point[name] for name in ("loss", "train_top1", "test_top1")) for point in read_json(run / "curve.json")
    ]
    return load_tensors(run / "weights.pt"), curve


def assert_same(run: Path, other: Path) -> None:
    (weights, curve), (others, other_curve) = outcome(run), outcome(other)
    assert list(weights) == list(others)
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    assert curve == other_curve
