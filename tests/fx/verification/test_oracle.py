"""Random networks against an oracle that knows nothing of graphs: each converts to what it was, or is refused with a sentence.

Thousands more: `make census`, or `python tests/oracle.py FIRST LAST`.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

import oracle

_BATCHES, _EACH = 12, 20


@pytest.mark.parametrize("batch", range(_BATCHES))
def test_no_network_is_silently_wrong(batch):
    verdicts = [oracle.judge(seed) for seed in range(batch * _EACH, (batch + 1) * _EACH)]
    wrong = [f"{v.seed}: {v.reason}" for v in verdicts if v.outcome == "wrong"]
    assert not wrong, "\n".join(wrong)
    assert (
        sum(v.outcome == "exact" for v in verdicts) > _EACH // 4
    )  # a test in which nearly all are refused says little


@pytest.mark.parametrize("seed", [433, 457, 584])
def test_the_oracle_sees_what_the_gate_refuses(seed):
    """Networks that are refused when they are verified, and found wrong when they are not."""
    assert oracle.judge(seed).outcome == "refused"
    assert oracle.judge(seed, verify=False).outcome == "wrong"


@pytest.mark.parametrize("seed", [1447, 1629, 2155, 2569])
def test_what_a_census_found(seed):
    """A period of none; a square of products of rows that was taken for a map, of an example as high as the total stride;
    an output of which nothing was left; a plain network that no longer runs when its borders wrap."""
    assert oracle.judge(seed).outcome != "wrong"


def test_strides_may_differ_along_rows_and_columns():
    """Cells of 6 x 12 pixels, enlarged: the oracle looked for maps of one stride along both, and called this one wrong."""
    assert oracle.judge(10678).outcome == "exact"
