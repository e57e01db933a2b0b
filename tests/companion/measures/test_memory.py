"""Memory: a call's peak is at least what it holds at once."""

import os
import subprocess
import sys

import pytest

from companion.measures.memory import GIVING_BACK

PROGRAM = """
import torch
from companion.measures.memory import grown
held = grown(lambda: [torch.ones(8 << 20, dtype=torch.uint8) for _ in range(4)])
one_by_one = grown(lambda: [float(torch.ones(8 << 20, dtype=torch.uint8)[0]) for _ in range(4)])
print(held, one_by_one)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_peak_is_what_is_held_at_once():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True, env=os.environ | GIVING_BACK
    )
    held, one_by_one = map(float, done.stdout.split())
    assert 32 <= held < 40  # and what else the process grows by meanwhile
    assert 8 <= one_by_one < 16
