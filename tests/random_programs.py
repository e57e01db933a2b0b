"""Random networks: programs of convolutions, pools, reductions, reshapes, masks, writes in place, one to three outputs in
some structure. Each runs plainly, as a user's network, or with circular borders (`wrapped`), by indexing and PyTorch's
own operations alone.
"""

from __future__ import annotations

import collections
import dataclasses
import random
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pair = tuple[int, int]
Outputs = collections.namedtuple("Outputs", ["first", "second"])


@dataclasses.dataclass
class Prediction:
    """A structured output, as libraries return them."""

    score: Any
    mask: Any


def around(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    """Positions start to stop of an axis that is a circle."""
    return x.index_select(axis, torch.arange(start, stop) % x.shape[axis])


class Window(nn.Module):
    """A convolution or pooling, as a module or a function, perhaps with padding put before it."""

    def __init__(
        self, kind: str, channels: Pair, kernel: int, stride: int, padding: int, before: int, functional: bool
    ) -> None:
        super().__init__()
        self.kind, self.kernel, self.stride, self.padding, self.before = kind, kernel, stride, padding, before
        self.functional, self.wrapped = functional, False
        if kind == "conv":
            self.inner: nn.Module = nn.Conv2d(*channels, kernel, stride, padding)
        else:
            self.inner = (nn.MaxPool2d if kind == "max" else nn.AvgPool2d)(kernel, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        if self.wrapped:
            first = -self.padding - self.before
            for axis in (2, 3):
                last = first + self.stride * (x.shape[axis] // self.stride - 1) + self.kernel
                x = around(x, axis, first, last)
            return self._apply_to(x, 0)
        if self.before:
            after = self.kernel - self.stride - self.before
            x = F.pad(x, (self.before, after, self.before, after))
        return self._apply_to(x, self.padding) if self.functional else self.inner(x)

    def _apply_to(self, x: Tensor, padding: int) -> Tensor:
        if self.kind == "conv":
            return F.conv2d(x, self.inner.weight, self.inner.bias, self.stride, padding)
        return (F.max_pool2d if self.kind == "max" else F.avg_pool2d)(x, self.kernel, self.stride, padding)


class Larger(nn.Module):
    """Interpolation or transposed convolution by 2."""

    def __init__(self, mode: str, channels: int) -> None:
        super().__init__()
        self.mode, self.wrapped = mode, False
        if mode == "transposed":
            self.inner = nn.ConvTranspose2d(channels, channels, 3, 2, 1, output_padding=1)

    def forward(self, x: Tensor) -> Tensor:
        margin = 4 if self.wrapped else 0
        size = x.shape[2] * 2, x.shape[3] * 2
        for axis in (2, 3):
            x = around(x, axis, -margin, x.shape[axis] + margin) if margin else x
        y = self.inner(x) if self.mode == "transposed" else F.interpolate(x, scale_factor=2, mode=self.mode)
        return y[:, :, 2 * margin : 2 * margin + size[0], 2 * margin : 2 * margin + size[1]] if margin else y


class Weighted(nn.Module):
    """A function that has a layer of its own."""

    def __init__(self, function: Callable[..., Any], *layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, *values: Any) -> Any:
        return self.function(*self.layers, *values)


def gate(x: Tensor) -> Tensor:
    return torch.stack([x.max(1)[0], x.mean(1)], 1)


def written_view(x: Tensor, how: int) -> Tensor:
    y = x * 1.5
    view = (
        lambda: y.flatten(1),
        lambda: y[:, :, 0],
        lambda: y[:, :, ::2, ::2],
        lambda: y[:, :, 1:-1, 1:-1],
        lambda: y[:, :1],
    )[how]()
    view.mul_(0.5)
    return y


UNARY: dict[str, Callable[[Tensor], Any]] = {
    "relu": lambda x: x.relu(), "silu": F.silu, "gelu": lambda x: F.gelu(x, approximate="tanh"), "abs": torch.abs,
    "sigmoid": torch.sigmoid, "tanh": torch.tanh, "clamp": lambda x: x.clamp(-1, 1), "softmax": lambda x: x.softmax(1),
    "softmax in double": lambda x: x.softmax(1, dtype=torch.float64), "pow": lambda x: x.abs().pow(1.3), "power of two": lambda x: 2.0**x.clamp(max=3),
    "rsub": lambda x: 1 - x, "sub with alpha": lambda x: torch.sub(x, x.roll(1, 1), alpha=0.3), "neg": lambda x: -x,
    "normalize": lambda x: F.normalize(x, dim=1), "rsqrt": lambda x: (x * x + 1).rsqrt(), "local response": lambda x: F.local_response_norm(x, 2),
    "mean over channels": lambda x: x.mean(1, keepdim=True), "max over channels": lambda x: x.max(1)[0], "argmax": lambda x: x.argmax(1),
    "logsumexp": lambda x: x.logsumexp(1), "norm": lambda x: x.norm(dim=1), "amax": lambda x: x.amax(1), "std over channels": lambda x: x.std(1),
    "topk": lambda x: x.topk(2, 1)[0], "topk places": lambda x: x.topk(2, 1)[1], "sort": lambda x: x.sort(1)[0], "cumsum": lambda x: x.cumsum(1),
    "one hot": lambda x: F.one_hot(x.argmax(1), 8).permute(0, 3, 1, 2).to(x.dtype), "mask": lambda x: x > 0, "long": lambda x: (x * 10).long(),
    "mask sum": lambda x: (x > 0).sum((2, 3)), "mask sum over channels": lambda x: (x > 0).sum(1), "count": lambda x: (x > 0).to(torch.uint8).sum((2, 3)),
    "sum": lambda x: x.sum((2, 3)), "mean": lambda x: x.mean((2, 3)), "mean kept": lambda x: x - x.mean((2, 3), keepdim=True),
    "std": lambda x: x / (x.std((2, 3), keepdim=True) + 0.1), "var over rows": lambda x: x.var(2), "mean over rows": lambda x: x.mean(2), "amax over columns": lambda x: x.amax(3),
    "group norm": lambda x: F.group_norm(x, 2), "instance norm": lambda x: F.instance_norm(x), "layer norm": lambda x: F.layer_norm(x, x.shape[1:]),
    "flatten": lambda x: x.flatten(1), "tokens": lambda x: x.flatten(2).transpose(1, 2), "back from tokens": lambda x: x.flatten(2).softmax(1).reshape(x.shape),
    "channels last": lambda x: x.permute(0, 2, 3, 1), "there and back": lambda x: F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2]).permute(0, 3, 1, 2),
    "turned": lambda x: x.transpose(2, 3), "flipped": lambda x: x.flip(3), "rolled": lambda x: x.roll((1, 2), (2, 3)), "moved axes": lambda x: x.movedim(1, 3),
    "first channel": lambda x: x[:, 0], "half of the channels": lambda x: x.chunk(2, 1)[1], "every second": lambda x: x[:, :, ::2, 1::2], "cropped": lambda x: x[:, :, 1:-1, 1:-1],
    "unshuffle": lambda x: F.pixel_unshuffle(x, 2), "shuffle": lambda x: F.pixel_shuffle(x.repeat(1, 4, 1, 1)[:, : x.shape[1] * 4], 2),
    "to a size": lambda x: F.interpolate(x, size=(6, 6)), "to three halves": lambda x: F.interpolate(x, scale_factor=1.5), "to four tenths": lambda x: F.interpolate(x, scale_factor=0.4),
    "pooled to one": lambda x: F.adaptive_avg_pool2d(x, 1), "pooled to two": lambda x: F.adaptive_avg_pool2d(x, 2), "pooled to three": lambda x: F.adaptive_max_pool2d(x, 3),
    "pooled branch": lambda x: x + F.interpolate(F.adaptive_avg_pool2d(x, 1), size=x.shape[2:]), "power pool": lambda x: F.lp_pool2d(x.abs(), 2, 3, 3),
    "excite": lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(), "spatial gate": lambda x: x * gate(x).mean(1, keepdim=True).sigmoid(),
    "gram": lambda x: x.flatten(2) @ x.flatten(2).transpose(1, 2) / x.shape[2], "attention": lambda x: (x.flatten(2).transpose(1, 2) @ x.flatten(2)).softmax(2) @ x.flatten(2).transpose(1, 2),
    "rows by rows": lambda x: x @ x.transpose(2, 3), "einsum": lambda x: torch.einsum("bchw,bdhw->bcd", x, x), "spectrum": lambda x: torch.fft.fft2(x).abs(),
    "masked": lambda x: x.masked_fill(x < 0, 0.1), "where": lambda x: torch.where(x > 0, x, x * 0.1), "in place": lambda x: (x * 1).relu_(), "typed": lambda x: (x > 0).type_as(x) * x,
    **{f"written view {k}": (lambda x, k=k: written_view(x, k)) for k in range(5)},
    "coordinates": lambda x: x + torch.arange(x.shape[3]).to(x), "maximum place": lambda x: x.flatten(1).argmax(1), "dropped": lambda x: F.dropout(x, 0.5, training=False),
    "if a tensor": lambda x: x * 2 if isinstance(x, torch.Tensor) else x, "if a tensor 2": lambda x: x + 1 if torch.is_tensor(x) else x, "by shape": lambda x: x.view(len(x), *x.shape[1:]) * len(x.shape),
    "expanded": lambda x: x.mean((2, 3), keepdim=True).expand(-1, -1, *x.shape[2:]), "new zeros": lambda x: x + x.new_zeros(x.shape), "squeezed": lambda x: x.mean(1, keepdim=True).squeeze(1).unsqueeze(1),
}  # fmt: skip


BINARY: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "add": lambda a, b: a + b, "mul": lambda a, b: a * b, "cat": lambda a, b: torch.cat((a, b), 1), "sub": torch.sub, "maximum": torch.maximum,
    "stack": lambda a, b: torch.stack((a, b), 1).mean(1), "select": lambda a, b: torch.where(a > 0, a, b),
    "resized to meet": lambda a, b: a + F.interpolate(b, size=a.shape[2:]), "add with alpha": lambda a, b: a.add(b, alpha=0.5), "cosine": lambda a, b: F.cosine_similarity(a, b),
}  # fmt: skip


class Program(nn.Module):
    """Steps, each a module and the places of the values that it reads; the outputs, in a structure."""

    def __init__(self, steps: list[tuple[nn.Module, tuple[int, ...]]], outputs: list[int], structure: str) -> None:
        super().__init__()
        self.steps = nn.ModuleList(step for step, _ in steps)
        self.reads, self.outputs, self.structure = [reads for _, reads in steps], outputs, structure

    def forward(self, x: Tensor) -> Any:
        values: list[Any] = [x]
        for step, reads in zip(self.steps, self.reads, strict=True):
            values.append(step(*(values[k] for k in reads)))
        found = [values[k] for k in self.outputs]
        if self.structure == "tuple":
            return tuple(found)
        if self.structure == "dict":
            return {f"out{k}": value for k, value in enumerate(found)}
        if self.structure == "named tuple":
            return Outputs(found[0], found[1:])
        if self.structure == "dataclass":
            return Prediction(found[0], {"masks": found[1:]})
        return found[0]

    def windows(self) -> list[Any]:
        return [module for module in self.modules() if isinstance(module, Window | Larger)]

    def goes_up(self) -> bool:
        functions = {step.function for step in self.steps if isinstance(step, Weighted)}
        ups = {UNARY["shuffle"], UNARY["pooled branch"], UNARY["back from tokens"], BINARY["resized to meet"]}
        return any(isinstance(step, Larger) for step in self.steps) or bool(functions & ups)

    def wrapped(self, which: tuple[bool, ...] | bool) -> Program:
        """Wrap the borders of these windows, or of all or none."""
        windows = self.windows()
        for module, wrap in zip(windows, which if isinstance(which, tuple) else (which,) * len(windows), strict=True):
            module.wrapped = wrap
        return self


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors of a structured output, in order."""
    if isinstance(value, Tensor):
        yield value
    elif dataclasses.is_dataclass(value):
        yield from tensors([getattr(value, field.name) for field in dataclasses.fields(value)])
    else:
        for part in value.values() if isinstance(value, dict) else value:
            yield from tensors(part)


def program(seed: int) -> tuple[Program, Tensor]:
    """A random network, and an example for it."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    size = draw.choice([(8, 8), (12, 8), (16, 16), (24, 24), (12, 24), (16, 32)])
    x = torch.randn(draw.choice([1, 2]), 3, *size)
    values: list[Any] = [x]
    steps: list[tuple[nn.Module, tuple[int, ...]]] = []
    wanted = draw.randint(2, 7)
    for _ in range(60):
        if len(steps) == wanted:
            break
        step, reads = _step(draw, values)
        try:
            with torch.no_grad():
                value = step.eval()(*(values[k] for k in reads))
                if not isinstance(value, Tensor) or 0 in value.shape or value.numel() > 40_000:
                    continue
        except Exception:  # noqa: BLE001, S112 - PyTorch does not take it
            continue
        steps.append((step, reads))
        values.append(value)
    outputs = [len(values) - 1, *draw.sample(range(1, len(values)), min(draw.choice([0, 0, 1, 2]), len(values) - 1))]
    structures = ["tuple", "dict", "named tuple", "dataclass"]
    structure = (
        draw.choice(structures) if len(outputs) > 1 else draw.choice(["tensor", "tensor", "tensor", *structures])
    )
    return Program(steps, outputs, structure).eval(), x


def _step(draw: random.Random, values: list[Any]) -> tuple[nn.Module, tuple[int, ...]]:
    maps = [k for k, v in enumerate(values) if v.ndim == 4 and v.is_floating_point() and v.dtype == torch.float32]
    recent = maps[-1:] * 3 + maps
    k = draw.choice(recent)
    channels = values[k].shape[1]
    kind = draw.choice(["window"] * 4 + ["larger"] + ["unary"] * 5 + ["binary"] * 3 + ["odd"])
    if kind == "window":
        kernel, stride = draw.choice([1, 2, 3, 3, 4, 5]), draw.choice([1, 1, 2, 2, 3, 4])
        padding = draw.choice([0, kernel // 2, kernel // 2])
        before = draw.choice([0, 0, 0, 1]) if kernel > stride + 1 and padding == 0 else 0
        op = draw.choice(["conv", "conv", "max", "avg"])
        return Window(op, (channels, draw.choice([4, 6])), kernel, stride, padding, before, draw.random() < 0.3), (k,)
    if kind == "larger":
        return Larger(draw.choice(["nearest", "bilinear", "bicubic", "transposed"]), channels), (k,)
    if kind == "binary":
        others = [j for j in maps if values[j].shape[2:] == values[k].shape[2:]] or maps
        return Weighted(BINARY[draw.choice(list(BINARY))]), (k, draw.choice(others))
    if kind == "odd":
        last = len(values) - 1
        makers = [
            lambda: (Weighted(lambda layer, x: layer(x), nn.Linear(values[last].shape[-1], 3)), (last,)),
            lambda: (Weighted(lambda layer, x: layer(x.flatten(1)), nn.Linear(values[k].flatten(1).shape[1], 4)), (k,)),
            lambda: (nn.BatchNorm2d(channels), (k,)),
            lambda: (nn.Sequential(nn.Conv2d(channels, 4, 1), nn.Dropout(0.3), nn.ReLU(inplace=True)), (k,)),
            lambda: (nn.GroupNorm(channels, channels), (k,)),
            lambda: (Weighted(lambda layer, x: x * layer(gate(x)).sigmoid(), Window("conv", (2, 1), 3, 1, 1, 0, False)), (k,)),
            lambda: (Weighted(lambda layer, x: x + layer(x.mean((2, 3)))[:, :, None, None], nn.Linear(channels, channels)), (k,)),
        ]  # fmt: skip
        return draw.choice(makers)()
    return Weighted(UNARY[draw.choice(list(UNARY))]), (k if draw.random() < 0.8 else draw.randrange(len(values)),)
