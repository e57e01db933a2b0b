"""Shared by all tests: deterministic seeds, a quiet hypothesis profile, one thread setting restored after each test."""

import os
import sys

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
