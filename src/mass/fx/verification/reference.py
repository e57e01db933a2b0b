"""The plain network with borders that wrap, computed without origins: what a converted network is compared with.

An interpreter of the traced graph, before any rewriting. Every operation is PyTorch's own, on a map that was
extended around its borders by indexing; of the library's kernels, layers and lattices nothing is used (of a BlurPool its
filter is read), so that a mistake in them does not repeat itself here. Slow, and only run when a conversion is verified.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from mass.fx.interpreter import Probing
from mass.fx.nodes import name_of, nodes_in
from mass.nn.blurpool import BlurPool

_NAMES = {  # the parameters of functions, in order
    "conv": ("input", "weight", "bias", "stride", "padding", "dilation", "groups", "padding_mode"),
    "conv_transpose": ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation"),
    "max_pool": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    "avg_pool": ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    "max_unpool": ("input", "indices", "kernel_size", "stride", "padding", "output_size"),
    "interpolate": ("input", "size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "antialias"),
    "pad": ("input", "pad", "mode", "value"),
    "blur": ("input", "stride"),
}
_CLASSES: dict[str, tuple[type[nn.Module], ...]] = {
    "conv_transpose": (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    "conv": (nn.Conv1d, nn.Conv2d, nn.Conv3d),
    "max_pool": (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    "avg_pool": (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    "max_unpool": (nn.MaxUnpool2d,),
    "interpolate": (nn.Upsample,),
    "pad": (nn.modules.padding._ConstantPadNd, nn.modules.padding._ReflectionPadNd,
            nn.modules.padding._ReplicationPadNd, nn.modules.padding._CircularPadNd),
    "blur": (BlurPool,),
}  # fmt: skip
_REACH = 3  # samples that bicubic interpolation reads past a border, and one to spare


class Reference(Probing):
    """Runs a traced graph as PyTorch does, with wrapped borders at the nodes named in `wraps`.

    Args:
        traced: the graph that `trace` gave, with its nodes' shapes.
        wraps: names of the operations whose borders wrap.
        axes: how many axes of positions maps have, the last ones: 1 for signals, 2 for images and videos.
    """

    def __init__(self, traced: fx.GraphModule, wraps: set[str], axes: int) -> None:
        super().__init__(traced)
        self.wraps, self.axes = wraps, axes
        self.before: dict[str, tuple[int, ...]] = {}  # rows and columns that stand before a map, for the next window
        self.kept: dict[str, Any] = {}  # what every node returned

    def run_node(self, n: fx.Node) -> Any:
        kind = self._kind(n) if n.name in self.wraps else None
        result = super().run_node(n) if kind is None else self._called(kind, n)
        self.kept[n.name] = result.clone() if isinstance(result, Tensor) else result
        return result

    def _kind(self, n: fx.Node) -> str | None:
        if n.op == "call_module":
            module = self.module.get_submodule(str(n.target))
            return next((kind for kind, classes in _CLASSES.items() if isinstance(module, classes)), None)
        name = name_of(n).removesuffix("_with_indices").rstrip("d").rstrip("123")
        return name if name in _NAMES else name_of(n) if name_of(n) in _NAMES else None

    def _called(self, kind: str, n: fx.Node) -> Any:
        """A module with its hooks, which are part of what it computes."""
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        if n.op != "call_module":
            return self._wrapped(kind, n, *args, **kwargs)
        module = self.module.get_submodule(str(n.target))
        module.forward = partial(self._wrapped, kind, n)
        try:
            return module(*args, **kwargs)
        finally:
            del module.forward

    def _wrapped(self, kind: str, n: fx.Node, *args: Any, **kwargs: Any) -> Any:
        given = dict(zip(_NAMES[kind], args, strict=False)) | kwargs
        module: Any = self.module.get_submodule(str(n.target)) if n.op == "call_module" else None
        if module is not None:
            given |= {name: getattr(module, name) for name in _NAMES[kind][1:] if hasattr(module, name)}
            if kind == "pad":
                given |= {"pad": module.padding, "mode": _mode(module)}
            if kind == "blur":  # a convolution of each channel
                half = tuple((size - 1) // 2 for size in module.kernel_size)
                given |= {
                    "weight": module.filter.to(given["input"].dtype),
                    "padding": half,
                    "groups": module.channels,
                }
        if name_of(n).endswith("_with_indices"):
            given["return_indices"] = True
        source = n.args[0] if n.args else n.kwargs["input"]
        before = self.before.get(getattr(source, "name", ""), (0,) * self.axes)
        if kind == "interpolate":
            return self._interpolated(given, n, source)
        if kind == "pad":
            return self._padded(given, n, before)
        if kind in ("avg_pool", "max_pool") and given.get("ceil_mode") and _exceeds(given, self.axes):
            if module is not None:
                return type(module).forward(module, *args, **kwargs)
            return super().run_node(n)  # a window larger than its map, cut to it
        operation: Callable[..., Any] = {
            "conv": self._conv, "conv_transpose": self._conv_transpose, "max_pool": self._max_pool,
            "avg_pool": self._avg_pool, "max_unpool": self._max_unpool, "blur": self._conv,
        }[kind]  # fmt: skip
        return operation(given, before)

    def _extended(self, given: dict[str, Any], before: tuple[int, ...]) -> tuple[Tensor, dict[str, Any]]:
        """The map as a window reads it to give H / stride outputs, and the arguments that this leaves."""
        x: Tensor = given["input"]
        count = x.ndim - 2
        kernel = _each(given.get("kernel_size") or tuple(given["weight"].shape[2:]), count)
        stride = _each(given.get("stride") or (kernel if "weight" not in given else 1), count)
        dilation = _each(given.get("dilation") or 1, count)
        padding = given.get("padding") or 0
        if isinstance(padding, str):
            padding = tuple(d * (k - 1) // 2 if padding == "same" else 0 for k, d in zip(kernel, dilation, strict=True))
        padding = list(_each(padding, count))
        for axis in range(count - self.axes, count):
            first = -padding[axis] - before[axis - count + self.axes]
            last = first + stride[axis] * (x.shape[2 + axis] // stride[axis] - 1) + dilation[axis] * (kernel[axis] - 1)
            x = _around(x, 2 + axis, first, last + 1)
            padding[axis] = 0
        return x, {"kernel_size": kernel, "stride": stride, "padding": tuple(padding), "dilation": dilation}

    def _conv(self, given: dict[str, Any], before: tuple[int, ...]) -> Tensor:
        x, now = self._extended(given, before)
        function = getattr(F, f"conv{x.ndim - 2}d")
        if given.get("padding_mode", "zeros") != "zeros" and any(now["padding"]):  # along time
            amount = now["padding"][0]
            x = F.pad(x, (0, 0, 0, 0, amount, amount), given["padding_mode"])
            now["padding"] = (0,) * (x.ndim - 2)
        return function(x, given["weight"], given.get("bias"), now["stride"], now["padding"], now["dilation"],
                        given.get("groups", 1))  # fmt: skip

    def _max_pool(self, given: dict[str, Any], before: tuple[int, ...]) -> Any:
        x, now = self._extended(given, before)
        function = getattr(F, f"max_pool{x.ndim - 2}d")
        ceil_mode = given.get("ceil_mode", False)
        if not given.get("return_indices"):
            return function(x, now["kernel_size"], now["stride"], now["padding"], now["dilation"], ceil_mode)
        places = torch.arange(given["input"][0, 0].numel(), device=x.device).view(1, 1, *given["input"].shape[2:])
        read, _ = self._extended(given | {"input": places}, before)  # where each pixel of the extended map comes from
        y, index = function(x, now["kernel_size"], now["stride"], 0, now["dilation"], False, return_indices=True)
        return y, read.flatten()[index]

    def _max_unpool(self, given: dict[str, Any], before: tuple[int, ...]) -> Tensor:
        y: Tensor = given["input"]
        stride = _each(given.get("stride") or given["kernel_size"], 2)
        size = [n * s for n, s in zip(y.shape[2:], stride, strict=True)]
        flat = y.new_zeros(*y.shape[:2], size[0] * size[1])
        return flat.scatter_(2, given["indices"].flatten(2), y.flatten(2)).view(*y.shape[:2], *size)

    def _avg_pool(self, given: dict[str, Any], before: tuple[int, ...]) -> Tensor:
        x, now = self._extended(given, before)
        function, rest = getattr(F, f"avg_pool{x.ndim - 2}d"), {}
        if given.get("divisor_override") is not None:
            rest["divisor_override"] = given["divisor_override"]
        return function(x, now["kernel_size"], now["stride"], now["padding"], given.get("ceil_mode", False),
                        given.get("count_include_pad", True), **rest)  # fmt: skip

    def _conv_transpose(self, given: dict[str, Any], before: tuple[int, ...]) -> Tensor:
        x, weight = given["input"], given["weight"]
        count = x.ndim - 2
        kernel = tuple(weight.shape[2:])
        stride, dilation = _each(given.get("stride", 1), count), _each(given.get("dilation", 1), count)
        padding, more = list(_each(given.get("padding", 0), count)), list(_each(given.get("output_padding", 0), count))
        crops = []
        for axis in range(count - self.axes, count):
            size, s = x.shape[2 + axis], stride[axis]
            reach = (dilation[axis] * (kernel[axis] - 1) + padding[axis]) // s + 2
            x = _around(x, 2 + axis, -reach, size + reach)
            crops.append((2 + axis, reach * s + padding[axis], s * size))
            padding[axis] = more[axis] = 0
        function = getattr(F, f"conv_transpose{count}d")
        y = function(
            x, weight, given.get("bias"), stride, tuple(padding), tuple(more), given.get("groups", 1), dilation
        )
        for axis, start, length in crops:
            y = y.narrow(axis, start, length)
        return y

    def _interpolated(self, given: dict[str, Any], n: fx.Node, source: Any) -> Tensor:
        """Enlarged or reduced by integers, half-pixel centres (as the example was: sizes may differ by borders here)."""
        x: Tensor = given["input"]
        now, then = source.meta["shape"], n.meta["shape"]
        if nodes_in((n.args[1:], n.kwargs.get("size"))):  # a size that follows the input's
            now, then = x.shape, (*x.shape[:2], *_each(given["size"], x.ndim - 2))
        mode = given.get("mode", "nearest")
        crops, size = [], list(x.shape[2:])
        for axis in range(x.ndim - self.axes, x.ndim):
            up, down = then[axis] // now[axis] or 1, now[axis] // then[axis] or 1
            x = _around(x, axis, -_REACH * down, x.shape[axis] + _REACH * down)
            size[axis - 2] = x.shape[axis] * up // down
            crops.append((axis, _REACH * up, size[axis - 2] - 2 * _REACH * up))
        if x.ndim == 5:  # rows and columns first, frame by frame; then time, whose borders stay
            flat = F.interpolate(x.transpose(1, 2).flatten(0, 1), size=size[1:], mode=mode.replace("tri", "bi"))
            x = flat.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)
            corners = {} if mode == "nearest" else {"align_corners": bool(given.get("align_corners"))}
            factor = given.get("scale_factor")
            if factor is None:
                y = F.interpolate(x, size=[then[2], *size[1:]], mode=mode, **corners)
            else:
                factors = (float(factor[0] if isinstance(factor, tuple | list) else factor), 1.0, 1.0)
                again = given.get("recompute_scale_factor")
                y = F.interpolate(x, scale_factor=factors, mode=mode, recompute_scale_factor=again, **corners)
        else:
            antialias = {"antialias": True} if given.get("antialias") else {}
            y = F.interpolate(x, size=size, mode=mode, **antialias)
        for axis, start, length in crops:
            y = y.narrow(axis, start, length)
        return y

    def _padded(self, given: dict[str, Any], n: fx.Node, before: tuple[int, ...]) -> Tensor:
        x: Tensor = given["input"]
        amounts = list(given["pad"])
        self.before[n.name] = tuple(b + amounts[2 * (self.axes - 1 - i)] for i, b in enumerate(before))
        others = [0] * (2 * self.axes) + amounts[2 * self.axes :]
        return F.pad(x, others, value=given.get("value") or 0.0) if any(others) else x


def _exceeds(given: dict[str, Any], axes: int) -> bool:
    """Whether a window without padding is larger than its map along all axes."""
    kernel, sizes = _each(given["kernel_size"], axes), given["input"].shape[-axes:]
    return not any(_each(given.get("padding") or 0, axes)) and all(k > n for k, n in zip(kernel, sizes, strict=True))


def _around(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    """Positions start, …, stop - 1 of an axis that is a circle."""
    return x.index_select(axis, torch.arange(start, stop, device=x.device) % x.shape[axis])


def _each(value: Any, count: int) -> tuple[int, ...]:
    return (value,) * count if isinstance(value, int) else tuple(value) * (count if len(value) == 1 else 1)


def _mode(module: nn.Module) -> str:
    return "constant" if isinstance(module, nn.modules.padding._ConstantPadNd) else "other"
