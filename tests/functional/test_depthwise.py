"""Depthwise convolution in one pass: whatever its operands look like in memory, and however it is called."""

import pytest
import torch
import torch.nn.functional as F

import mass
from mass.functional.conv import circular_conv2d
from mass.functional.padding import circular_pad

PADS, ORIGIN = (1, 1, 1, 1), torch.tensor([[1, 0], [3, 2]])


def expected(x, weight, bias):
    return F.conv2d(circular_pad(x, PADS, ORIGIN), weight.contiguous(), bias.contiguous(), 1, 0, 1, len(weight))


def test_weights_and_biases_with_gaps_in_memory():
    x, weight, bias = torch.randn(2, 8, 6, 10), torch.randn(8, 1, 3, 6)[..., ::2], torch.randn(8, 2)[:, 0]
    for b in (bias, torch.randn(1).expand(8)):
        found = circular_conv2d(x, weight, b, (1, 1), (1, 1), 8, PADS, ORIGIN)
        assert torch.allclose(found, expected(x, weight, b), atol=1e-5)


def test_a_bias_of_another_length_is_refused_as_pytorch_refuses_it():
    with pytest.raises(RuntimeError, match="bias"):
        circular_conv2d(torch.randn(2, 8, 6, 10), torch.randn(8, 1, 3, 3), torch.randn(4), (1, 1), (1, 1), 8, PADS)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("stride", [1, 2])
def test_compiled_it_is_the_same_operator(stride, memory_format):
    """Bit for bit, and in the same memory format."""
    torch._dynamo.reset()
    layer = mass.MassConv2d(8, 8, 3, stride, 1, groups=8).eval()
    x = torch.randn(2, 8, 6, 10).contiguous(memory_format=memory_format)
    with torch.no_grad():
        eager, compiled = (run(x, ORIGIN % stride) for run in (layer, torch.compile(layer, fullgraph=True)))
    assert torch.equal(eager, compiled) and eager.stride() == compiled.stride()


def test_without_kernels_a_compiled_graph_has_the_memory_format_it_was_promised():
    layer = mass.MassConv2d(8, 8, 3, 2, 1, groups=8).eval()
    x = torch.randn(2, 8, 6, 10).contiguous(memory_format=torch.channels_last)
    torch._dynamo.reset()
    with torch.no_grad():
        compiled = torch.compile(layer, fullgraph=True)
        first = compiled(x, ORIGIN % 2)
        with mass.native.reference():
            again = compiled(x, ORIGIN % 2)
    assert torch.allclose(first, again, atol=1e-6) and first.stride() == again.stride()


def test_a_module_calls_it_in_training_too():
    """Gradients go through a wrapped copy; the values are the same."""
    layer = mass.MassConv2d(8, 8, 3, 2, 1, groups=8)
    x = torch.randn(2, 8, 6, 10)
    with torch.no_grad():
        once = layer(x)
    assert torch.allclose(layer(x), once, atol=1e-6)


def test_a_layer_on_another_device_is_refused():
    layer = mass.MassConv2d(8, 8, 3, 1, 1, groups=8, device="meta")
    with torch.no_grad(), pytest.raises(RuntimeError):
        layer(torch.randn(2, 8, 6, 10))
