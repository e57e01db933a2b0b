"""The Triton kernels, without a GPU: Triton's interpreter must be chosen before Triton is loaded, hence a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_triton_kernels_in_the_interpreter():
    pytest.importorskip("triton")
    tests = Path(__file__).with_name("interpreted_gpu_kernels.py")
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
