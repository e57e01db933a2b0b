"""Networks as published and after every training, asked the same: what the two benchmarks of training share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from companion.data.normalisation import normalize
from companion.measures.noise import labels_under_noise
from companion.measures.paired_images import holm
from companion.studies.stability import answers, networks, trained
from companion.studies.stability.benchmarks.recording import Bench

SHARE, PATHS, NOISE = 0.005, 8, 2.0  # of blending; grey levels, in training and after it
CHANGES = {name: change for name, change in answers.SHIFTS.items() if name.startswith("circular")}
CHANGES |= {name: answers.CHANGES[name] for name in ("noise 2", answers.ONE_LEVEL)}
Tune = Callable[[nn.Module, float], list[float]]  # a network, in place, and the noise of its training -> mean losses


def before_and_after(
    bench: Bench,
    four: Mapping[str, nn.Module],
    arms: Sequence[trained.Arm],
    tune: Tune,
    test: Iterable[tuple[Tensor, Tensor]],
    made: dict[str, Any],
    how: dict[str, Any],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Every network before any training, then after each of the trainings, what was tuned as MASS used blended as well.

    Args:
        four: of `networks.versions`; they stay as they are.
        test: images in [0, 1], and labels.
        made, how: settings of the questions, and of them and the trainings; what is kept of other settings is made again.

    Returns:
        Rows of all networks with the paired comparisons, and one a training: its last loss.
    """
    said: dict[str, answers.Answers] = {}
    frozen: dict[str, dict[str, Any]] = {}

    def ask(name: str, network: nn.Module, made: dict[str, Any], chooses: bool) -> None:
        said[name] = bench.answered(name, made, lambda: answers.answers(network, test, normalize, CHANGES, 0, name))
        if chooses:
            frozen[name] = bench.once(f"frozen origins of {name}", made, lambda: trained.frozen_row(labels_under_noise(
                network, test, normalize, NOISE, 1, 0, freeze=True)))  # fmt: skip

    for name, network in four.items():
        ask(name, network, made, name == networks.MASS)
    took: list[dict[str, Any]] = []
    for arm in arms:

        def weights(arm: trained.Arm = arm) -> dict[str, Any]:
            network = copy.deepcopy(four[arm.method])
            losses = tune(network, arm.noise)
            return {"state": network.state_dict(), "loss": losses[-1]}

        kept = bench.once(f"weights of {arm.used()}", how, weights)
        took.append({"stage": "steps", "method": arm.used(), "loss": kept["loss"]})
        for method in (arm.method, *[networks.BLENDED] * (arm.method == networks.MASS)):
            network = copy.deepcopy(four[method])
            network.load_state_dict(kept["state"])
            ask(arm.used(method), network, how, method == networks.MASS)
    for row, p in zip(frozen.values(), holm([row["frozen_p"] for row in frozen.values()]), strict=True):
        row["frozen_p_holm"] = p
    rows = [row | {"stage": "tuned"} | frozen.get(row["method"], {}) for row in trained.rows(said)]
    return rows + trained.compared(said, NOISE), took
