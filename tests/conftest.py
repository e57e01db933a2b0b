"""Shared by all tests: deterministic seeds, a quiet hypothesis profile, one thread setting restored after each test."""

import os
import subprocess
import sys
from pathlib import Path

# More threads than cores are tested on purpose: let idle ones sleep, not spin (2.2 times faster on 2 cores).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "mass", deadline=None, max_examples=25, derandomize=True, suppress_health_check=list(HealthCheck)
)
settings.load_profile("mass")


@pytest.fixture(autouse=True)
def _reproducible():
    torch.manual_seed(0)
    if "torch._dynamo" in sys.modules:  # it compiles eight networks a process, and refuses a ninth
        torch._dynamo.reset()
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def run_triton():
    """Runs a file of tests of Triton kernels in a process of its own: on a GPU if there is one, or in Triton's interpreter.

    The interpreter must be chosen before Triton is loaded.
    """
    pytest.importorskip("triton")

    def run(tests: Path) -> None:
        environment = os.environ | ({} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"})
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]

    return run
