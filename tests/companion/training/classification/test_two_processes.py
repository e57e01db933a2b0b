"""Training in two processes, and what a machine needs for it."""

import subprocess
import sys
from dataclasses import asdict

import pytest
import torch
from digit_runs import SMALL, command_line, outcome

from companion.training.recipe import Recipe
from companion.training.record_run import trained
from companion.training.train import train


@pytest.mark.slow
def test_two_processes_are_one_with_two_parts(home, lend):
    """Halves of a batch in two processes, or one after the other in one: each is normalised by its own statistics and
    gradients are averaged, so the parameters agree. Running statistics are no part of this: one process updates them
    twice a batch, two processes once each and then take the mean, and no gradient sees either.
    """
    recipe = Recipe(**SMALL | {"epochs": 2})
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    command = [*launch, "companion.train", *command_line(recipe, home / "two")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("'consistency'") == 1  # the record, from one of the two
    two = home / "two" / recipe.name
    one = train(Recipe(**asdict(recipe) | {"accumulate": 2}), home, home / "one")

    (weights, curve), (others, other_curve) = outcome(two), outcome(one)
    model, _ = trained(two)
    for name, parameter in model.named_parameters():
        assert torch.linalg.vector_norm(parameter - others[name]) <= 1e-5 * torch.linalg.vector_norm(others[name]), name
    for name, buffer in model.named_buffers():
        if name in weights:
            assert buffer.isfinite().all() and torch.equal(buffer, weights[name]), name
    for (loss, top1, _), (other_loss, other_top1, _) in zip(curve, other_curve, strict=True):
        assert loss == pytest.approx(other_loss, rel=1e-5) and top1 == pytest.approx(other_top1, abs=0.1)


def test_training_loads_nothing_of_the_papers_machinery():
    """So that a GPU machine with torch, torchvision, numpy and tqdm is enough."""
    heavy = [
        *("dvc", "papermill", "jupytext", "seaborn", "pandas", "sklearn", "matplotlib", "timm", "ruamel", "requests"),
        *("segmentation_models_pytorch", "torchmetrics", "IPython", "ipywidgets"),
    ]
    program = (
        "import runpy, sys, companion.evaluate; sys.argv[1:] = ['--help']\n"
        "try: runpy.run_module('companion.train', run_name='__main__')\n"
        f"finally: print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "Train a network of Table 2 or 5" in done.stdout and "--weight-decay" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
