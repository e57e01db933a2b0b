"""An empty project to train in, and the digits that lie in scikit-learn."""

from pathlib import Path

import pytest
import torch

from companion.data.datasets import DATASETS
from companion.data.labelled import Labelled
from companion.training.train import train


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """An empty project to train in, by one thread of the CPU, where equal means equal bits."""
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    torch.set_num_threads(1)
    return tmp_path


@pytest.fixture(scope="module")
def digits() -> Labelled:
    return DATASETS["digits"](Path())


@pytest.fixture
def lend(digits, monkeypatch):
    """Spare runs in this process the reading of the digits."""
    monkeypatch.setitem(DATASETS, "digits", lambda root: digits)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Runs that nothing has stopped, each trained once."""
    folder = tmp_path_factory.mktemp("whole")
    return lambda recipe: train(recipe, folder, folder)
