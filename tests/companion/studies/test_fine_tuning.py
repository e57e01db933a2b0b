"""Fine-tuning in folds: each image is held out once, a fold is tuned once, and processes share a step."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy
import pytest
import torch
from fine_tuning_process import tuned
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

import mass
from companion.core.errors import Refusal
from companion.data.folds import stratified
from companion.studies.fine_tuning.answers import answers, outcomes, shares
from companion.studies.fine_tuning.at_scale import streamed
from companion.studies.fine_tuning.compared import comparisons
from companion.studies.fine_tuning.figures import before_and_after
from companion.studies.fine_tuning.run_folds import run_folds
from companion.training.tune import Tuning, fine_tune, freeze_statistics, in_memory

TUNING = Tuning(epochs=1, batch=3, lr=0.01)


def small() -> nn.Module:
    torch.manual_seed(0)
    layers = (
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
    )
    return nn.Sequential(*layers, nn.Linear(8, 4)).eval()


def data(count: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (count, 3, 64, 64), dtype=torch.uint8, generator=generator)
    return images, torch.arange(count) % 4


@settings(max_examples=50, deadline=None)
@given(labels=st.lists(st.integers(0, 9), min_size=5, max_size=60), folds=st.integers(2, 5), seed=st.integers(0, 99))
def test_folds_are_stratified(labels: list[int], folds: int, seed: int) -> None:
    held_out = stratified(torch.tensor(labels), folds, seed).tolist()
    sizes = Counter(held_out)
    assert max(sizes.values()) - min(sizes[k] for k in range(folds)) <= 1
    for one in set(labels):
        of_class = Counter(fold for fold, label in zip(held_out, labels, strict=True) if label == one)
        assert max(of_class.values()) - min(of_class[k] for k in range(folds)) <= 1


@pytest.mark.parametrize("folds", [0, 1, 13])
def test_folds_that_make_no_sense(folds: int) -> None:
    with pytest.raises(ValueError, match=f"from 2 to the number of images, 12, got {folds}"):
        stratified(data()[1], folds)


def test_statistics_stay_and_weights_move() -> None:
    model = small()
    before = copy.deepcopy(model.state_dict())
    fine_tune(model, in_memory(*data(), TUNING), TUNING)
    after = model.state_dict()
    assert not model.training
    for name, tensor in after.items():
        stays = "running" in name or "num_batches" in name
        assert torch.equal(tensor, before[name]) == stays, name
    freeze_statistics(model)
    assert model.training and not model[1].training and model[5].training


def test_an_epoch_is_a_function_of_its_number() -> None:
    images, labels = data()
    epochs = in_memory(images, labels, TUNING)
    first, again, second = list(epochs(0)), list(epochs(0)), list(epochs(1))
    assert all(torch.equal(one[0], other[0]) for one, other in zip(first, again, strict=True))
    assert not torch.equal(first[0][0], second[0][0])
    assert torch.cat([batch for _, batch, _ in first]).sort().values.equal(labels.sort().values)
    shares = [list(epochs(0, rank, 2)) for rank in range(2)]
    for whole, *parts in zip(first, *shares, strict=True):
        assert sum(len(images) for images, _, _ in parts) == whole[2] == parts[0][2] == parts[1][2] == len(whole[0])
        assert torch.equal(torch.cat([part[1] for part in parts]).sort().values, whole[1].sort().values)


def folder_of_images(folder: Path) -> Path:
    for k in range(9):
        place = folder / f"n{k % 3:08}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = numpy.random.default_rng(k).integers(0, 256, (30, 40, 3), dtype=numpy.uint8)
        Image.fromarray(pixels).save(place / f"{k}.JPEG")
    return folder


def test_a_streamed_epoch_shows_each_image_to_one_process(tmp_path: Path) -> None:
    epochs = streamed(folder_of_images(tmp_path / "train"), Tuning(1, 4, 0.1), workers=0, classes=3)
    shares = [list(epochs(0, rank, 2)) for rank in range(2)]
    assert [[(tuple(x.shape), count) for x, _, count in share] for share in shares] == [[((2, 3, 224, 224), 4)] * 2] * 2
    alone = list(epochs(0, 0, 1))
    assert [count for _, _, count in alone] == [4, 4, 1] and torch.equal(alone[0][0], next(epochs(0, 0, 1))[0])
    assert torch.equal(shares[1][0][0], alone[0][0][1::2])  # the very crops
    assert torch.cat([labels for _, labels, _ in alone]).bincount().tolist() == [3, 3, 3]
    with pytest.raises(Refusal, match="expected ImageNet's training images, a folder per class"):
        streamed(tmp_path / "nowhere", TUNING, 0)
    with pytest.raises(Refusal, match="has 3 folders, expected one for each of 1,000 classes"):
        streamed(tmp_path / "train", TUNING, 0)
    (tmp_path / "train" / "empty").mkdir()
    with pytest.raises(Refusal, match="is not ImageNet's training set: Found no valid file for the classes empty"):
        streamed(tmp_path / "train", TUNING, 0)


def test_a_tuning_that_was_killed_ends_with_the_same_bits(tmp_path: Path) -> None:
    tuning, place = Tuning(3, 5, 0.01), tmp_path / "checkpoint"
    whole, part, rest = small(), small(), small()
    expected = fine_tune(whole, in_memory(*data(), tuning), tuning)

    def killed(number: int, rank: int, world: int):
        if number == 2:
            raise KeyboardInterrupt
        return in_memory(*data(), tuning)(number, rank, world)

    with pytest.raises(KeyboardInterrupt):
        fine_tune(part, killed, tuning, place)
    assert fine_tune(rest, in_memory(*data(), tuning), tuning, place) == expected
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), rest.state_dict().values(), strict=True))
    with pytest.raises(Refusal, match="is of another tuning"):
        fine_tune(small(), killed, TUNING, place)


def test_answers_are_each_networks_to_the_same_questions() -> None:
    plain = small()
    images, labels = data()
    model = mass.convert(plain, images[:1].float())
    one, other = (answers(network, images, labels, 5, 2.0) for network in (plain, model))
    assert torch.equal(one["true"], other["true"]) and other["identical"].all() and not one["identical"].all()
    assert shares(other)["consistency"] == 100 == shares(other)["identical"]
    assert shares(one)["top1"] == 100 * outcomes(one)["top1"].double().mean()
    assert torch.equal(answers(model, images, labels, 5, 0.0)["noisy"], other["clean"])


def test_each_image_is_held_out_once_and_a_fold_tuned_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = data()
    plain = small()
    versions = {"plain": plain, "MASS": mass.convert(plain, images[:1].float())}
    how = {"folds": 3, "tuned": 6, "tuning": TUNING, "noise": 2.0}
    answered = run_folds(versions, images, labels, tmp_path, **how)
    assert torch.equal(answered["plain"]["after"]["true"], labels)
    assert answered["MASS"]["after"]["identical"].all()
    assert len(list(tmp_path.glob("*.pt"))) == 6
    (tmp_path / "MASS-fold-1.pt").unlink()
    calls = []
    monkeypatch.setattr(
        "companion.studies.fine_tuning.run_folds.fine_tune", lambda *given: calls.append(1) or fine_tune(*given)
    )
    again = run_folds(versions, images, labels, tmp_path, **how)
    assert len(calls) == 1
    assert all(
        torch.equal(again[m][s][n], v)
        for m, stages in answered.items()
        for s, f in stages.items()
        for n, v in f.items()
    )
    with pytest.raises(Refusal, match=r"is of another run \(tuned 6, not 5\): move it away"):
        run_folds(versions, images, labels, tmp_path, **how | {"tuned": 5})
    answered["circular padding"] = answered["plain"]
    rows = comparisons(answered)
    assert {row["input"] for row in rows} == {"top-1", "changed by noise"} and len(
        {tuple(list(r.values())[:3]) for r in rows}
    ) == len(rows)
    assert len(before_and_after(answered, "title").axes) == 3


def test_it_learns() -> None:
    colours = (60 * torch.arange(4)).to(torch.uint8).view(4, 1, 1, 1).expand(4, 3, 16, 16)
    first, *_, last = fine_tune(small(), in_memory(colours, torch.arange(4), TUNING), Tuning(60, 4, 0.05))
    assert last < 0.8 * first


def test_a_loss_that_explodes_is_said() -> None:
    with pytest.raises(Refusal, match="of epoch 1: try a smaller lr"):
        fine_tune(small(), in_memory(*data(), TUNING), Tuning(1, 3, float("inf")))


def test_two_processes_tune_as_one_does(tmp_path: Path) -> None:
    script = Path(__file__).with_name("fine_tuning_process.py")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d"]
    done = subprocess.run(
        [*torchrun, "--rdzv-endpoint=localhost:0", script, tmp_path / "weights.pt"],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = torch.load(tmp_path / "weights.pt", weights_only=True)
    for name, ours in tuned().state_dict().items():
        torch.testing.assert_close(theirs[name], ours, rtol=1e-5, atol=1e-6)
