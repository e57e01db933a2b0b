"""The kernels of narrow convolutions against PyTorch; run by test_gpu_queue.py, in a process of its own."""

import pytest
import torch
import torch.nn.functional as F

from companion.training.narrow import NarrowConv2d, narrow, narrow_conv
from mass.functional.padding import circular_pad
from mass.nn.conv import CircularConv2d

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # there in Triton's interpreter


@pytest.mark.parametrize("shape", [(2, 16, 32, 4, 8), (3, 32, 16, 8, 4), (1, 16, 16, 2, 2)])
def test_outputs_and_gradients_are_those_of_a_padded_convolution(shape):
    batch, inputs, outputs, height, width = shape
    last = {"memory_format": torch.channels_last}
    x = torch.randn(batch, inputs, height, width, device=DEVICE).contiguous(**last).requires_grad_()
    weight = torch.randn(outputs, inputs, 3, 3, device=DEVICE).contiguous(**last).requires_grad_()
    found, expected = narrow_conv(x, weight), F.conv2d(circular_pad(x, (1, 1, 1, 1)), weight)
    gradient = torch.randn_like(expected)
    pairs = zip((found, *torch.autograd.grad(found, (x, weight), gradient)),
                (expected, *torch.autograd.grad(expected, (x, weight), gradient)), strict=True)  # fmt: skip
    for ours, theirs in pairs:
        assert ours.is_contiguous(**last)
        assert (ours - theirs).norm() < (1e-5 if DEVICE == "cpu" else 2e-3) * theirs.norm()  # TF32 on a GPU


def test_what_they_do_not_serve_is_left_alone():
    served = [CircularConv2d(3, 16, 3, padding=1, bias=False), CircularConv2d(64, 32, 3, padding=1, bias=False)]
    left = [
        CircularConv2d(16, 16, 3, 2, 1, bias=False),
        CircularConv2d(16, 16, 1, bias=False),
        CircularConv2d(16, 128, 3, padding=1, bias=False),
        CircularConv2d(16, 16, 3, padding=1),
        CircularConv2d(48, 16, 3, padding=1, bias=False),
    ]
    model = narrow(torch.nn.ModuleList(served + left))
    assert [type(module) is NarrowConv2d for module in model] == [True, True, *[False] * len(left)]
    x = torch.randn(1, 3, 4, 4)
    plain = CircularConv2d(3, 16, 3, padding=1, bias=False)
    plain.load_state_dict(served[0].state_dict())
    assert torch.equal(served[0](x), plain(x))  # outside of mixed precision it is what it was
