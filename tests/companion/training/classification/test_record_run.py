"""Measurements of a run: percentages of all images, made once, with their provenance."""

import json

import pytest
import torch
from digit_runs import SMALL, say
from torch import nn

from companion.data.labelled import Split
from companion.measures.accuracy import accuracy, right_labels, top1_and_consistency
from companion.training.recipe import Recipe
from companion.training.record_run import record_run
from companion.training.train import train
from mass.evaluate.consistency import PROTOCOLS


class Reads(nn.Module):
    """The label is the pixel at (0, 0), if that is a whole number, else 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pixel = x[:, 0, 0, 0]
        return nn.functional.one_hot(torch.where(pixel == pixel.round(), pixel, 0).long(), 2).float()


class Turns:
    """A protocol that does not draw: the first shift of a batch is by (0, 1), the second by (1, 1)."""

    def __init__(self) -> None:
        self.row = 1

    def draw(self, count: int, generator: torch.Generator) -> torch.Tensor:
        self.row = 1 - self.row
        return torch.tensor([[self.row, 1]]).expand(count, 2)


# A picture's pixels (0, 0), (0, 1) and (1, 1), which are its labels before and after the shifts; and the true one.
READ = [(0, 0, 0, 0), (1, 0, 0, 1), (1, 1, 0, 1), (1, 1, 0, 1), (0, 0, 1, 1)]


@pytest.mark.parametrize("batch", [5, 2])
def test_percentages_are_of_all_pictures(monkeypatch, batch):
    monkeypatch.setitem(PROTOCOLS, "turns", Turns())
    images = torch.tensor([[[[a, b], [0, c]]] for a, b, c, _ in READ]).float()
    split = Split(images, torch.tensor([label for *_, label in READ]))
    model = Reads().train()
    expected = {"n": 5, "top1": 80.0, "shifted_top1": 60.0, "consistency": 40.0}
    assert top1_and_consistency(model, split.batches(batch), protocol="turns") == expected
    assert right_labels(model, split.batches(batch)).tolist() == [True, True, True, True, False]
    assert accuracy(model, split.batches(batch)) == 80.0
    assert accuracy(model, split.batches(batch), prepare=lambda images: 1 - images) == 20.0
    assert model.training


def test_a_record_is_made_once_and_says_where_it_comes_from(home, lend, monkeypatch, capsys):
    run = train(Recipe(**SMALL | {"epochs": 1}), home, home)
    assert say("companion.evaluate", monkeypatch, str(run)) is None
    record = json.loads((run / "record.json").read_text())
    assert str(record["top1"]) in capsys.readouterr().out
    assert not list(run.glob(".*"))
    for name in ("top1", "shifted_top1", "consistency"):
        assert 0 <= record[name] <= 100
    assert record["consistency"] == 100  # it is MASS
    facts = {"net": "digits", "method": "mass", "seed": 0, "epochs": 1, "n": 500, "protocol": "mass", "commit": None}
    assert record | facts == record
    assert record["parameters"] == 5122
    assert record["train_seconds"] > 0 and record["images_per_s"] > 0
    assert {"torch", "python", "device", "cpu", "threads", "started"} <= set(record)
    assert all(isinstance(value, str | int | float | None) for value in record.values())  # flat

    facts = {"trained_commit": None, "trained_on": record["cpu"], "modified": None}  # there is no git
    assert record | facts == record and record["trained_started"] <= record["started"]

    (run / "record.json").write_text('{"top1": 1}')
    assert record_run(run, home) == {"top1": 1}  # it is not measured again


def test_measuring_says_what_it_wants(home, monkeypatch):
    assert say("companion.evaluate", monkeypatch) == "Which runs? Name their folders."
    end = say("companion.evaluate", monkeypatch, "nothing")
    assert end == "nothing holds no finished run: train it first (python -m companion.train)."
