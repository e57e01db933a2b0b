"""Kernels that treat all positions alike, so that equal inputs give equal bits wherever they lie.

Float32 on the CPU has two that do not (measured; docs/design.md, "Exactness"):

* small convolutions at batch 1, and linear layers over pixels, fall to a matrix product whose blocks round
  differently by position. Called directly, oneDNN's convolution is clean.
* activations built on exp (sigmoid, SiLU, GELU, …) finish each thread's share with a scalar loop that rounds
  differently from the vector loop. A buffer of whole vectors leaves nothing for it.

Float64 on the CPU is a matrix product throughout, of channels by positions, whose blocks round by position. Products of sixteen positions
by channels do not, where no thread is given a part of one and each begins at a vector's boundary; nor do sums over the taps of a depthwise
filter (none of 300 convolutions drawn at random, with 1 to 12 threads; of PyTorch's own 68): those of images and signals are computed as
such, in one to five times the time, more for few output channels, and those of videos are not. What is compiled or exported keeps
PyTorch's own. Grouped convolutions of few positions, in oneDNN, round their last columns otherwise: they get scrap for last columns.

`MKL_CBWR=AVX2,STRICT` in the environment, set before torch is loaded, mends the first as well; it is needed
only where PyTorch was built without oneDNN.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mass.axes import Pair, Triple
from mass.functional.derivatives import takes_derivatives
from mass.functional.padding import laid_out_as

_SCRAP = 16  # outputs that a matrix product computes alike, and that take its tail

_VECTOR = 8  # float64 of AVX-512, and of a cache line

_LANES = 64  # elements of the longest unrolled vector loop: 2 vectors of 32 bfloat16 in AVX-512
# Elements that ATen gives a thread at least: of most operations (at::internal::GRAIN_SIZE), and of those from MKL's
# vector library (exp, tanh, erf and the like). GELU is divided evenly among all threads from so many elements on.
_GRAINS = (32768, 2048)
_EVENLY = 16384
_HAS_ONEDNN = torch.backends.mkldnn.is_available()  # asked once: torch.compile cannot look into torch.backends


def _calls_onednn(x: Tensor) -> bool:
    """Whether `x` is a real float32 map on the CPU; compilers, fake tensors and forward mode do not know the operator."""
    return (
        _HAS_ONEDNN
        and not torch.compiler.is_compiling()
        and type(x) is Tensor
        and not takes_derivatives()
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
    )


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Tensor:
    """`torch.nn.functional.conv2d` without padding, by a kernel in which every output is summed in one order.

    Shape: x (B, C, H, W), weight (C', C / groups, kH, kW) -> (B, C', H', W').
    """
    if x.dtype == torch.float64 and _is_double(x):
        return laid_out_as(x, _in_double(x, weight, bias, stride, dilation, groups))
    if groups > 1 and x.device.type == "cpu" and _rounds_by_position(weight, groups):
        return _with_scrap(x, weight, bias, stride, dilation, groups)
    return _conv2d(x, weight, bias, stride, dilation, groups)


def _is_double(x: Tensor) -> bool:
    """Whether `x` is float64 on the CPU, run as it stands."""
    return x.device.type == "cpu" and x.dtype == torch.float64 and not torch.compiler.is_compiling()


def _in_double(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, dilation: Pair, groups: int) -> Tensor:
    """A convolution in float64, image by image."""
    one = _as_taps if groups == weight.shape[0] > 1 and weight.shape[1] == 1 else _as_products
    out = torch.cat([one(image, weight, stride, dilation, groups) for image in x.split(1)])
    return out if bias is None else out + bias.view(-1, 1, 1)


def _as_taps(image: Tensor, weight: Tensor, stride: Pair, dilation: Pair, groups: int) -> Tensor:
    """Depthwise, element by element: a product of a matrix by a vector rounds by where its rows begin in memory."""
    kernel, size = weight.shape[2:], _output_size(image, weight, stride, dilation)
    out = torch.zeros((), dtype=image.dtype)
    for row, column in itertools.product(*map(range, kernel)):
        first = row * dilation[0], column * dilation[1]
        last = [start + step * (count - 1) + 1 for start, step, count in zip(first, stride, size, strict=True)]
        read = image[:, :, first[0] : last[0] : stride[0], first[1] : last[1] : stride[1]]
        out = out + read * weight[:, 0, row, column, None, None]
    return out


def _as_products(image: Tensor, weight: Tensor, stride: Pair, dilation: Pair, groups: int) -> Tensor:
    """Group by group, its windows by its weights."""
    by_channels = weight.reshape(groups, -1, weight[0].numel()).transpose(1, 2)  # (groups, C kH kW, C')
    windows = F.unfold(image, weight.shape[2:], dilation, 0, stride).unflatten(1, (groups, -1))[0]
    made = torch.cat([_products(own.T, to).T for own, to in zip(windows, by_channels, strict=True)])
    return made.unflatten(1, _output_size(image, weight, stride, dilation))[None]


def _output_size(x: Tensor, weight: Tensor, stride: Pair, dilation: Pair) -> Pair:
    """Rows and columns of a convolution's output."""
    reach = [step * (count - 1) for step, count in zip(dilation, weight.shape[2:], strict=True)]
    return (x.shape[2] - reach[0] - 1) // stride[0] + 1, (x.shape[3] - reach[1] - 1) // stride[1] + 1


def _products(rows: Tensor, by: Tensor) -> Tensor:
    """rows @ by, sixteen rows at a time: enough products, of scrap if need be, for every thread to have whole ones.

    Both sides of `by` are filled up with zeros to whole vectors: MKL computes products by where they begin in memory.
    """
    (inner, columns), scrap = by.shape, max(-len(rows) % _SCRAP, _SCRAP * torch.get_num_threads() - len(rows))
    blocks = F.pad(rows, (0, -inner % _VECTOR, 0, scrap)).unflatten(0, (-1, _SCRAP))
    filled = F.pad(by, (0, -columns % _VECTOR, 0, -inner % _VECTOR))
    return torch.bmm(blocks, filled.expand(len(blocks), -1, -1)).flatten(0, 1)[: len(rows), :columns]


def _rounds_by_position(weight: Tensor, groups: int) -> bool:
    """Whether a grouped convolution has no vector code of its own: it has for one channel a group, and for 4, 8 and 16."""
    outputs, inputs = weight.shape[0] // groups, weight.shape[1]
    return not (inputs == outputs == 1 or (inputs in (4, 8, 16) and outputs >= inputs))


def _with_scrap(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, dilation: Pair, groups: int) -> Tensor:
    """A convolution by matrix products, whose tail is rounded otherwise: channels first, its last columns scrap.

    Measured on maps of 1 to 160 positions: with 4 n channels in and out of a group, and several rows, the tail is as the rest.
    """
    more = 0
    count = _output_size(x, weight, stride, dilation)[1]
    if x.shape[2] == 1 or weight.shape[1] % 4 or weight.shape[0] // groups % 4:
        more = _SCRAP - count % _SCRAP + _SCRAP
    wide = F.pad(x.contiguous(), (0, stride[1] * more)) if more else x.contiguous()
    return laid_out_as(x, _conv2d(wide, weight.contiguous(), bias, stride, dilation, groups)[..., :count])


def _conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, dilation: Pair, groups: int) -> Tensor:
    if _calls_onednn(x):
        return torch.mkldnn_convolution(x, weight, bias, (0, 0), stride, dilation, groups)
    if _has_slow_gradient(x, stride, groups):
        dense = F.conv2d(x, weight, bias, 1, 0, dilation, groups)
        return laid_out_as(x, dense[..., :: stride[0], :: stride[1]])
    return F.conv2d(x, weight, bias, stride, 0, dilation, groups)


def _has_slow_gradient(x: Tensor, stride: Pair, groups: int) -> bool:
    """Whether oneDNN has no vector code for a gradient: depthwise, with a stride, in half precision on the CPU.

    Computed densely and sampled, passes forward and back take a tenth of the time (a filter 5 wide on 32 channels of 32 x 32).
    """
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    return (
        x.device.type == "cpu"
        and dtype in (torch.bfloat16, torch.float16)
        and groups == x.shape[1] > 1
        and stride != (1, 1)
        and x.requires_grad
        and torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
    )


def conv3d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Triple, frames: int, dilation: Triple, groups: int
) -> Tensor:
    """`torch.nn.functional.conv3d`, padded by zero frames alone, by a kernel in which every output is summed in one order.

    Shape: x (B, C, T, H, W), weight (C', C / groups, kT, kH, kW) -> (B, C', T', H', W').
    """
    if _calls_onednn(x):
        return torch.mkldnn_convolution(x, weight, bias, (frames, 0, 0), stride, dilation, groups)
    return F.conv3d(x, weight, bias, stride, (frames, 0, 0), dilation, groups)


def pixelwise_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`torch.nn.functional.linear` over the pixels of a channels-last map (B, H, W, C) -> (B, H, W, C').

    So of a signal (B, L, C) and a video (B, T, H, W, C).
    """
    if x.ndim == 4 and _calls_onednn(x):
        return conv2d(x.permute(0, 3, 1, 2), weight[:, :, None, None], bias).permute(0, 2, 3, 1)
    if x.ndim in (3, 5) and _calls_onednn(x):
        rows = x.unsqueeze(1) if x.ndim == 3 else x.flatten(1, 2)
        return pixelwise_linear(rows, weight, bias).reshape(*x.shape[:-1], -1)
    if _is_double(x):
        y = _products(x.flatten(0, -2), weight.T).view(*x.shape[:-1], -1)
        return y if bias is None else y + bias
    return F.linear(x, weight, bias)


def _excess(count: int) -> int:
    """How many elements complete the last vector of every thread's share, however an operation divides them."""
    total, threads = count, torch.get_num_threads()
    while True:
        shares = [min(threads, -(-total // grain)) for grain in _GRAINS]
        whole = _LANES * math.lcm(*shares, threads if total > _EVENLY else 1)
        needed = -(-total // whole) * whole
        if needed == total:
            return total - count
        total = needed


def elementwise(function: Callable[..., Tensor], x: Tensor, *others: Tensor) -> Tensor:
    """`function(x, *others)`, computed by whole vectors alone, in the memory format of `x`; all are of one shape.

    >>> x = torch.randn(1, 3, 5, 7)
    >>> torch.equal(elementwise(torch.sigmoid, x.roll(1, 3)), elementwise(torch.sigmoid, x).roll(1, 3))
    True
    """
    if x.device.type != "cpu" or x.numel() == 0 or torch.compiler.is_compiling():
        return function(x, *others)
    if any(other.shape != x.shape for other in others):
        raise ValueError(
            f"tensors of one shape are computed element by element, got {[tuple(t.shape) for t in (x, *others)]}."
        )
    channels_last = x.ndim == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    dense = [each.permute(0, 2, 3, 1) if channels_last else each.contiguous() for each in (x, *others)]
    excess = _excess(x.numel())
    out = function(*(F.pad(each.flatten(), (0, excess)) for each in dense) if excess else dense)
    if excess:
        out = out[: x.numel()].view(dense[0].shape)
    return out.permute(0, 3, 1, 2) if channels_last else out
