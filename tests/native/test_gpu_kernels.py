"""The Triton kernels: on a GPU if there is one, or in Triton's interpreter, which must be chosen before Triton is loaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch


def test_triton_kernels():
    pytest.importorskip("triton")
    tests = Path(__file__).with_name("gpu_kernels.py")
    environment = os.environ | ({} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"})
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
