"""Compiled kernels, behind one door: selection, wrapping copies, means, pooling, depthwise convolution.

Each computes what the PyTorch code beside it computes, in one pass: origins, copies and maxima are bit-identical; a
depthwise convolution sums in an order of its own, the same at all positions. `kernels()` is the one place that decides:
they are built when first needed (mass.native.build), and never by `import mass`. Without a compiler, with
`MASS_NATIVE=0` in the environment or inside `reference()`, PyTorch does the work. On CUDA selection, copies and depthwise
convolution are Triton's (mass.native.gpu).
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import torch
from torch import Tensor, nn

from mass.axes import Pair

_KINDS = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
NAMES = ("origins", "wrap", "exact_mean", "max_pool", "depthwise")  # the compiled kernels
# By thread, since networks may run in others: what PyTorch does there, '' for all.
_references: dict[int, Counter[str]] = {}


@functools.cache
def _wanted() -> bool:
    return os.environ.get("MASS_NATIVE") != "0"


@functools.cache
def _load() -> ctypes.CDLL | None:
    from mass.native.build import load

    return load() if _wanted() else None


def kernels() -> ctypes.CDLL | None:
    """The compiled kernels, or None where PyTorch does the work."""
    return None if _is_left_to_pytorch() else _load()


def _is_left_to_pytorch(name: str = "") -> bool:
    """Whether this thread is inside `reference()`, or inside that of this kernel."""
    return bool(_references) and _references.get(threading.get_ident(), Counter())[name] > 0


@contextmanager
def reference(*names: str) -> Iterator[None]:
    """Inside it PyTorch does all the work of this thread, or that of these compiled kernels (`NAMES`): what they are tested against.

    >>> x = torch.randn(1, 2, 8, 8)
    >>> with reference():
    ...     kernels() is None
    True
    >>> with reference("origins"):
    ...     origins(x, (2, 2)) is None
    True
    """
    left, thread = names or ("",), threading.get_ident()
    _references.setdefault(thread, Counter()).update(left)
    try:
        yield
    finally:
        _references[thread].subtract(left)
        if not +_references[thread]:
            del _references[thread]


def _layout(x: Tensor) -> int | None:
    """0 for channels first, 1 for channels last, None for a map with gaps."""
    if x.is_contiguous():
        return 0
    return 1 if x.is_contiguous(memory_format=torch.channels_last) else None


def readable(x: Tensor, name: str = "") -> bool:
    """Whether the kernels, that of this name if one is said, can read this map: dense, on the CPU, not empty."""
    return (
        x.dtype in _KINDS
        and x.device.type == "cpu"
        and x.numel() > 0
        and _layout(x) is not None
        and not (name and _is_left_to_pytorch(name))
        and kernels() is not None
    )


@functools.cache
def _triton() -> ModuleType | None:
    try:
        from mass.native import gpu
    except ImportError:
        return None
    return gpu


def _on_device(x: Tensor) -> ModuleType | None:
    """The Triton kernels, for a map on a CUDA device."""
    return _triton() if x.is_cuda and not _is_left_to_pytorch() and _wanted() else None


def unobserved(*tensors: Tensor | None) -> bool:
    """Whether nobody records or transforms what happens to these tensors: no gradient, compiler, mode or transform."""
    return not (
        torch.compiler.is_compiling()
        or any(t is not None and type(t) not in (Tensor, nn.Parameter) for t in tensors)
        or (torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors))
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
        or torch.jit.is_tracing()
        or torch.is_autocast_enabled("cpu")
    )


def called_when_compiled(x: Tensor) -> bool:
    """Whether what is being compiled calls these kernels, as operators: on the CPU.

    A copy by them takes less there than reads at computed places, which a compiler can only make one by one. What is exported
    has PyTorch's own operations, for a machine without these.
    """
    return x.device.type == "cpu" and torch.compiler.is_compiling() and not torch.compiler.is_exporting()


def serves_windows(x: Tensor, stride: Pair, operands: tuple[Tensor | None, ...], origin: Tensor | None) -> bool:
    """Whether `max_pool`, of the map alone, or `depthwise`, with weight and bias, can be called with these operands."""
    return (
        unobserved(*operands, origin)
        and all(t is None or (t.dtype == torch.float32 and t.device == x.device) for t in operands)
        and x.shape[2] % stride[0] == x.shape[3] % stride[1] == 0
        and readable(x, "depthwise" if len(operands) > 1 else "max_pool")
    )


def _integers(*values: int) -> ctypes.Array:
    return (ctypes.c_int64 * len(values))(*values)


def _address(x: Tensor | None) -> ctypes.c_void_p | None:
    return None if x is None else ctypes.c_void_p(x.data_ptr())


def _rows(origin: Tensor | None, batch: int) -> Tensor | None:
    """An origin per image, (B, 2) or (2,) -> (B, 2) in one block of memory."""
    return None if origin is None else origin.expand(batch, 2).contiguous()


def _empty(x: Tensor, height: int, width: int) -> Tensor:
    memory_format = torch.channels_last if _layout(x) else torch.contiguous_format
    return torch.empty((*x.shape[:2], height, width), dtype=x.dtype, device=x.device, memory_format=memory_format)


def origins(x: Tensor, period: Pair) -> tuple[Tensor, Tensor | None, Tensor] | None:
    """Of the rule 'l2', by the first 15 bits (mass.functional.origin.select); None if not served.

    Shape: x (B, C, H, W) -> origins (B, 2) int64; which images are tied or not finite, (B,) bool, None if none is; energies
    (B, P * Q) int64, which mean nothing of an image that is not finite.
    """
    if not readable(x, "origins"):
        return None
    library = kernels()
    assert library is not None
    sizes = 2, period[0] * period[1]
    origin, totals = (torch.empty((x.shape[0], n), dtype=torch.int64, device=x.device) for n in sizes)
    undecided = torch.empty(x.shape[0], dtype=torch.bool, device=x.device)
    kind, shape = ctypes.c_int64(_KINDS[x.dtype]), _integers(*x.shape, _layout(x) or 0, *period)
    left = library.mass_origins(_address(x), kind, shape, _address(totals), _address(origin), _address(undecided))
    return origin, undecided if left else None, totals


def device_origin(x: Tensor, period: Pair, source: Tensor | None, source_origin: Tensor | None) -> Tensor | None:
    """Of a map on a CUDA device, origins of the rule 'l2', ties broken; None if not served.

    Shape: x (B, C, H, W), source (B, C', S * H, S * W), source_origin (B, 2) int64 -> (B, 2) int64.
    """
    device = _on_device(x)
    return None if device is None else device.select_origin(x, period, source, source_origin)


def exact_mean(x: Tensor, bits: int) -> Tensor | None:
    """Exact means over all positions (mass.functional.exact), of integers of so many bits; None if not served.

    Shape: x (B, C, H, W) float32 or float64 -> (B, C, 1, 1).
    """
    if x.dtype not in (torch.float32, torch.float64) or not readable(x, "exact_mean"):
        return None
    library = kernels()
    assert library is not None
    out = torch.empty((*x.shape[:2], 1, 1), dtype=x.dtype, device=x.device)
    shape = _integers(*x.shape[:2], x.shape[2] * x.shape[3], _layout(x) or 0, bits)
    finite = library.mass_exact_mean(_address(x), _address(out), ctypes.c_int64(_KINDS[x.dtype]), shape)
    return out if finite else None


def wrap(
    x: Tensor, pads: tuple[int, int, int, int], origin: Tensor | None = None, step: Pair = (1, 1)
) -> Tensor | None:
    """A map moved to its origin and wrapped around its borders, one copy: any amounts, negative ones crop.

    Shape: x (B, C, H, W), pads (left, right, top, bottom), origin (B, 2) or (2,) int64
    -> (B, C, top + H + bottom, left + W + right), in the memory format of x; None if not served.
    With a step, every so many rows and columns of that.
    """
    if (device := _on_device(x)) is not None:
        return device.wrap(x, pads, origin, step)
    if not readable(x, "wrap"):
        return None
    library = kernels()
    assert library is not None
    batch, channels, height, width = x.shape
    left, right, top, bottom = pads
    out = _empty(x, -(-(height + top + bottom) // step[0]), -(-(width + left + right) // step[1]))
    last = _layout(x)
    shape = _integers(
        batch if last else batch * channels, 1 if last else channels, height, width,
        x.element_size() * (channels if last else 1), *out.shape[2:], top, left, *step,
    )  # fmt: skip
    origin = _rows(origin, batch)
    library.mass_wrap(_address(x), _address(out), shape, _address(origin))
    return out


def _windows(x: Tensor, kernel: Pair, stride: Pair, dilation: Pair, pads: tuple[int, int, int, int]) -> ctypes.Array:
    return _integers(*x.shape, _layout(x) or 0, *kernel, *stride, *dilation, pads[2], pads[0])


def max_pool(
    x: Tensor, kernel: Pair, stride: Pair, dilation: Pair, pads: tuple[int, int, int, int], origin: Tensor | None
) -> Tensor:
    """Max pooling of a map moved to its origin, borders wrapped, one pass.

    Shape: x (B, C, H, W) float32 that is `readable`, the stride dividing H and W -> (B, C, H / stride, W / stride).
    """
    library = kernels()
    assert library is not None
    out = _empty(x, x.shape[2] // stride[0], x.shape[3] // stride[1])
    shape = _windows(x, kernel, stride, dilation, pads)
    origin = _rows(origin, x.shape[0])
    library.mass_max_pool(_address(x), _address(out), shape, _address(origin))
    return out


def depthwise(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Pair,
    dilation: Pair,
    pads: tuple[int, int, int, int],
    origin: Tensor | None,
) -> Tensor | None:
    """Depthwise convolution of a map moved to its origin, borders wrapped, one pass; every output summed in one order.

    Shape: x (B, C, H, W) float32, on a CUDA device half precision too, weight (C, 1, kH, kW), the stride dividing H and W
    -> (B, C, H / stride, W / stride), in the memory format of x; None if not served.
    """
    if (device := _on_device(x)) is not None:
        return device.depthwise(x, weight, bias, stride, dilation, pads, origin)
    if x.dtype != torch.float32 or not readable(x, "depthwise"):
        return None
    library = kernels()
    assert library is not None
    out = _empty(x, x.shape[2] // stride[0], x.shape[3] // stride[1])
    shape = _windows(x, (weight.shape[2], weight.shape[3]), stride, dilation, pads)
    origin, weight = _rows(origin, x.shape[0]), weight.contiguous()
    bias = None if bias is None else bias.contiguous()
    library.mass_depthwise(_address(x), _address(out), shape, _address(origin), _address(weight), _address(bias))
    return out
