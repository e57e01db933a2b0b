"""Borders that wrap: H / s outputs, output n reading positions s n - p + d j (mod H)."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import mass
from mass import native
from mass.functional.kernels import conv2d, elementwise, pixelwise_linear
from mass.functional.padding import circular_pad, sample, window_pads
from mass.nn.conv import CircularConv2d
from mass.nn.pooling import CircularAvgPool2d, CircularMaxPool2d


@given(
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    pad=st.tuples(*[st.integers(-1, 9)] * 4),
    channels_last=st.booleans(),
)
def test_padding_reads_modulo_the_size(size, pad, channels_last):
    left, right, top, bottom = pad
    if min(size[0] + top + bottom, size[1] + left + right) < 1 or (min(size) < 3 and min(pad) < 0):
        return
    x = torch.randn(2, 3, *size)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    rows = [i % size[0] for i in range(-top, size[0] + bottom)]
    columns = [j % size[1] for j in range(-left, size[1] + right)]
    padded = circular_pad(x, pad)
    assert torch.equal(padded, x[:, :, rows][..., columns])
    if channels_last and min(padded.shape) > 1 and min(x.shape) > 1:
        assert padded.is_contiguous(memory_format=torch.channels_last)


narrow = st.tuples(*[st.integers(0, 4)] * 4)  # pads no wider than the map: what the operator itself takes


@given(pad=narrow, channels_last=st.booleans())
def test_padding_is_torch_s(pad, channels_last):
    """Values, gradient and memory format; the operator's own, and what compilers are given."""
    x = torch.randn(2, 3, 4, 5)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    padded, expected = circular_pad(ours, pad), F.pad(theirs, pad, mode="circular")
    upstream = torch.randn_like(expected)
    padded.backward(upstream)
    expected.backward(upstream)
    assert torch.equal(padded, expected) and torch.allclose(ours.grad, theirs.grad, atol=1e-6)
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    assert padded.is_contiguous(memory_format=memory_format) and ours.grad.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("pad", [(1, 1, 1, 1), (3, 2, 0, 1), (0, 3, 4, 0), (7, 5, 9, 1), (-1, 2, 1, -1)])
def test_padding_has_the_gradient_of_its_values(pad):
    x = torch.randn(2, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: circular_pad(x, pad), x)
    assert torch.autograd.gradgradcheck(lambda x: circular_pad(x, pad).square(), x)


@given(
    blocks=st.tuples(st.integers(1, 5), st.integers(1, 20)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    memory_format=st.sampled_from([torch.contiguous_format, torch.channels_last]),
)
def test_a_sample_is_the_shifted_map_s(blocks, stride, dtype, memory_format):
    x = torch.randn(2, 3, blocks[0] * stride[0], blocks[1] * stride[1], dtype=torch.float64)
    x, origin = x.to(dtype).contiguous(memory_format=memory_format), torch.randint(-50, 50, (2, 2))
    expected = mass.shift(x, origin)[:, :, :: stride[0], :: stride[1]]
    sampled = sample(x, stride, origin)
    assert torch.equal(sampled, expected) and sampled.is_contiguous(memory_format=memory_format)
    with native.reference():
        sampled = sample(x, stride, origin)
    assert torch.equal(sampled, expected) and sampled.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_compiled_sampling_convolution_is_the_eager_one_with_its_gradients(memory_format):
    torch._dynamo.reset()
    conv = mass.MassConv2d(4, 6, 1, stride=2).double()
    x = torch.randn(2, 4, 6, 8, dtype=torch.float64).contiguous(memory_format=memory_format)
    x, origin = x.requires_grad_(), torch.tensor([[1, 0], [0, 1]])
    outputs = [run(x, origin) for run in (conv, torch.compile(conv, fullgraph=True))]
    upstream = torch.randn_like(outputs[0])
    eager, compiled = (torch.autograd.grad(out, (x, conv.weight), upstream) for out in outputs)
    assert torch.allclose(outputs[0], outputs[1])
    assert all(torch.allclose(one, other) for one, other in zip(eager, compiled, strict=True))


@pytest.mark.parametrize("pad", [(2, 1, 3, 0), (7, 5, 9, 1)])
@pytest.mark.parametrize("axis", [0, 1, 4])
def test_padding_under_vmap(pad, axis):
    x = torch.randn(2, 3, 4, 5, 6)
    expected = torch.stack([circular_pad(part, pad) for part in x.unbind(axis)], axis)
    assert torch.equal(torch.vmap(lambda x: circular_pad(x, pad), axis, axis)(x), expected)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_padding_compiles_without_a_graph_break(memory_format):
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=memory_format).requires_grad_()
    compiled = torch.compile(lambda x: circular_pad(x, (1, 2, 3, 0)), fullgraph=True, backend="aot_eager")
    padded = compiled(x)
    assert torch.equal(padded, circular_pad(x, (1, 2, 3, 0))) and padded.is_contiguous(memory_format=memory_format)
    upstream = torch.randn_like(padded)
    gradient = torch.autograd.grad(circular_pad(x, (1, 2, 3, 0)), x, upstream)[0]
    assert torch.allclose(torch.autograd.grad(padded, x, upstream)[0], gradient, atol=1e-6)


def test_padding_is_a_well_formed_operator():
    """Schema, fake rule, gradient registration and shapes unknown when compiled, as torch.library checks them."""
    x = torch.randn(2, 3, 4, 5, requires_grad=True)
    torch.library.opcheck(torch.ops.mass.circular_pad.default, (x, 1, 2, 3, 0))


windows = st.fixed_dictionaries(
    {
        "kernel": st.integers(1, 7),
        "stride": st.integers(1, 4),
        "dilation": st.integers(1, 3),
        "padding": st.integers(0, 4),
        "blocks": st.tuples(st.integers(1, 4), st.integers(1, 4)),
    }
)


def gather(x, w):
    """The windows themselves: (B, C, H / s, W / s, k, k), output n reading s n - p + d j."""
    height, width = x.shape[2:]

    def places(size):
        n, j = torch.arange(size // w["stride"])[:, None], torch.arange(w["kernel"])[None]
        return (n * w["stride"] - w["padding"] + j * w["dilation"]) % size

    return x[:, :, places(height)[:, None, :, None], places(width)[None, :, None, :]]


@given(w=windows)
def test_convolution(w):
    x = torch.randn(2, 3, w["blocks"][0] * w["stride"], w["blocks"][1] * w["stride"], dtype=torch.float64)
    conv = CircularConv2d(3, 4, w["kernel"], w["stride"], w["padding"], w["dilation"]).double()
    expected = torch.einsum("bchwij,ocij->bohw", gather(x, w), conv.weight) + conv.bias.view(1, -1, 1, 1)
    assert torch.allclose(conv(x), expected)


@given(w=windows)
def test_pooling(w):
    padding = min(w["padding"], w["kernel"] // 2)
    w = {**w, "padding": padding}
    x = torch.randn(2, 3, w["blocks"][0] * w["stride"], w["blocks"][1] * w["stride"], dtype=torch.float64)
    pool = CircularMaxPool2d(w["kernel"], w["stride"], padding, w["dilation"])
    assert torch.equal(pool(x), gather(x, w).amax((4, 5)))
    w["dilation"] = 1
    pool = CircularAvgPool2d(w["kernel"], w["stride"], padding)
    assert torch.allclose(pool(x), gather(x, w).mean((4, 5)))


def test_named_padding():
    assert window_pads(4, 1, "same") == (1, 2, 1, 2)
    assert window_pads(3, 2, "valid") == (0, 1, 0, 1)
    conv = CircularConv2d(2, 2, 4, padding="same")
    assert conv(torch.randn(1, 2, 6, 6)).shape == (1, 2, 6, 6)


def test_interior_equals_zero_padding():
    """Away from the border a converted convolution computes what the plain one does."""
    conv = CircularConv2d(3, 4, 3, padding=1)
    x = torch.randn(1, 3, 10, 10)
    plain = F.conv2d(x, conv.weight, conv.bias, padding=1)
    assert torch.allclose(conv(x)[..., 1:-1, 1:-1], plain[..., 1:-1, 1:-1], atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("shape", [(1, 512, 2, 3), (1, 256, 4, 6), (3, 512, 2, 3), (1, 10, 7, 9)])
def test_float32_kernels_treat_positions_alike(threads, shape):
    """The problems on which plain kernels round by position (batch 1, small maps, odd sizes)."""
    torch.set_num_threads(threads)
    channels = shape[1]
    weight, small = torch.randn(64, channels, 3, 3), torch.randn(64, channels)
    activations = [torch.sigmoid, torch.tanh, F.silu, F.gelu, F.mish, F.elu, F.softplus]
    x = torch.randn(shape)
    for t in ((1, 0), (0, 1), (1, 2)):
        moved = x.roll(t, (2, 3))
        for f in (
            lambda x: conv2d(circular_pad(x, (1, 1, 1, 1)), weight, None),
            lambda x: conv2d(x, small[..., None, None], None),
            lambda x: pixelwise_linear(x.permute(0, 2, 3, 1), small, None).permute(0, 3, 1, 2),
            *(lambda x, a=a: elementwise(a, x) for a in activations),
        ):
            assert torch.equal(f(moved), f(x).roll(t, (2, 3)))


def test_elementwise_keeps_format_and_gradient():
    x = torch.randn(2, 3, 5, 7, requires_grad=True)
    y = elementwise(torch.sigmoid, x)
    assert torch.allclose(y, torch.sigmoid(x))
    y.sum().backward()
    assert torch.allclose(x.grad, torch.sigmoid(x) * (1 - torch.sigmoid(x)))
    x = torch.randn(2, 3, 5, 7).contiguous(memory_format=torch.channels_last)
    assert elementwise(torch.sigmoid, x).is_contiguous(memory_format=torch.channels_last)


@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.integers(1, 4),
    dilation=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    padding=st.integers(0, 40),
    stride=st.integers(1, 2),
)
def test_a_dilation_wider_than_the_map_reads_modulo_the_size(size, kernel, dilation, padding, stride):
    """ASPP on small maps: output n reads positions s n - p + d k (mod H), however far that is."""
    size = size[0] * stride, size[1] * stride
    conv = CircularConv2d(2, 3, kernel, stride, padding, dilation).double()
    x = torch.randn(2, 2, *size, dtype=torch.float64)
    rows, columns = (
        (torch.arange(0, n, stride)[:, None] - padding + d * torch.arange(kernel)) % n
        for n, d in zip(size, dilation, strict=True)
    )
    windows = x[:, :, rows][:, :, :, :, columns]  # (B, C, H / s, k, W / s, k)
    expected = torch.einsum("bchkwl,ockl->bohw", windows, conv.weight) + conv.bias[:, None, None]
    assert torch.allclose(conv(x), expected)
