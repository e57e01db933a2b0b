"""The Triton kernels, by the tests of gpu_kernels.py."""

from pathlib import Path


def test_triton_kernels(run_triton):
    run_triton(Path(__file__).with_name("gpu_kernels.py"))
