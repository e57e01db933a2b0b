"""Random networks, and an oracle that tells whether what `mass.convert` made of one is right.

A network is a random program: convolutions, pools, reductions, reshapes, masks, writes in place, one to three outputs
in some structure. It can run in two ways: plainly, as a user's network, and with circular borders (`wrapped`), by
indexing and PyTorch's own operations alone. The oracle knows nothing of graphs, lattices or origins. It requires of
every output y of the converted network, for images x and shifts t:

1. y is what the wrapped program makes of the image moved to some place O, moved back by O;
2. if the wrapped program's output moves under multiples of the total stride, y moves in the same way under these, and
   under all shifts where it has the image's resolution; if it stays, y stays under all shifts.

Or the conversion is refused with a sentence. Anything else is a silent failure.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mass
from mass.nn.graph.alignment import SelectOrigin

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


@dataclasses.dataclass
class Verdict:
    """What became of one network: 'exact', 'refused' with a reason, or 'wrong' with one."""

    seed: int
    outcome: str
    reason: str = ""


def judge(seed: int, verify: bool = True) -> Verdict:
    """Convert one random network and ask the oracle."""
    model, x = program(seed)
    try:
        converted = mass.convert(model, x, verify=verify)
    except (mass.NotEquivariantError, ValueError, TypeError) as refusal:
        sentence = str(refusal)
        whole = sentence.endswith(".") and len(sentence) > 20
        return Verdict(seed, "refused" if whole else "wrong", sentence)
    except Exception as error:  # noqa: BLE001 - no sentence: a failure of its own
        return Verdict(seed, "wrong", f"{type(error).__name__} instead of a sentence: {error}")
    try:
        return Verdict(seed, *_compare(model.double(), converted.double(), x.double()))
    except Exception as error:  # noqa: BLE001
        return Verdict(seed, "wrong", f"after conversion {type(error).__name__}: {error}")


def _close(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    if not (a.is_floating_point() and b.is_floating_point()):
        return bool((a == b).all())
    size = b.double().abs().nan_to_num(0.0, 0.0, 0.0).max().item()
    # In float64, what is left of 1e-12 is rounding: a mean of values that were normalised to zero, say.
    return bool(torch.allclose(a.double(), b.double(), rtol=1e-6, atol=max(1e-6 * size, 1e-12), equal_nan=True))


def _motions(shape: torch.Size, size: Pair) -> list[tuple[Pair, Pair]]:
    """Pairs of axes that may be rows and columns, with their sizes."""
    found = []
    for a in range(1, len(shape)):
        for b in range(1, len(shape)):
            if (
                a != b
                and shape[a] * size[1] == shape[b] * size[0]
                and shape[a] * shape[b] > 1
                and 0 in (size[0] % shape[a], shape[a] % size[0])
            ):
                found.append(((a, b), (shape[a], shape[b])))
    return found


def _everywhere(model: Program, image: Tensor, which: tuple[bool, ...]) -> list[list[Tensor]]:
    """Every output for the image moved to every place; nothing where layers count positions and no longer fit."""
    places = [(i, j) for i in range(image.shape[2]) for j in range(image.shape[3])]
    try:
        return [
            list(each)
            for each in zip(
                *(tensors(model.wrapped(which)(image.roll((-i, -j), (2, 3)))) for i, j in places), strict=True
            )
        ]
    except RuntimeError:
        return []


def _choices(converted: Any) -> list[SelectOrigin]:
    return [module for module in converted.modules() if isinstance(module, SelectOrigin)]


def _is_found(y: Tensor, everywhere: list[Tensor], size: Pair) -> bool:
    """Whether y is what was computed of the image moved to some place, moved back or not."""
    for place, out in enumerate(everywhere):
        i, j = divmod(place, size[1])
        moved = [out.roll((i * n // size[0], j * m // size[1]), axes) for axes, (n, m) in _motions(out.shape, size)]
        if any(_close(y, candidate) for candidate in (out, *moved)):
            return True
    return False


def _compare(model: Program, converted: Any, x: Tensor) -> tuple[str, str]:
    height, width = size = x.shape[2], x.shape[3]
    rows, columns = converted.total_stride
    t = (rows // 2 | 1) % height, (columns + 1) % width
    image, choices = x[:1], list(itertools.product((True, False), repeat=len(model.windows())))
    with torch.no_grad():
        try:
            theirs = [
                list(tensors(model.wrapped(True)(x.roll((-i, -j), (2, 3))))) for i, j in ((0, 0), (rows, columns))
            ]
        except RuntimeError:  # layers that count positions: there the converted network keeps borders
            theirs = []
        ours = [list(tensors(converted(x.roll((-i, -j), (2, 3))))) for i, j in ((0, 0), (rows, columns), t)]
        for k, (y, stepped, between) in enumerate(zip(*ours, strict=True)):
            what = f"output {k} of shape {tuple(y.shape)}"
            if theirs and theirs[0][k].dtype != y.dtype:
                return "wrong", f"{what}: {y.dtype}, not {theirs[0][k].dtype}"
            trivial = rows % height == 0 and columns % width == 0
            if theirs and theirs[0][k].shape == y.shape and not trivial:
                z, z_stepped = theirs[0][k], theirs[1][k]
                moving = []
                for axes, counts in _motions(y.shape, size):
                    by = [-rows * counts[0] / height, -columns * counts[1] / width]
                    if all(s == int(s) for s in by):
                        moved = z.roll((int(by[0]), int(by[1])), axes)
                        if _close(z_stepped, moved) and not _close(moved, z):
                            moving.append((axes, counts, (int(by[0]), int(by[1]))))
                if moving and not any(_close(stepped, y.roll(by, axes)) for axes, _, by in moving):
                    return "wrong", f"{what} does not move under {(rows, columns)}, the circular network's does"
                if not moving and _close(z_stepped, z) and not (_close(stepped, y) and _close(between, y)):
                    return "wrong", f"{what} moves, the circular network's stays"
                fine = [(axes, counts[0] // height) for axes, counts, _ in moving if counts[0] % height == 0]
                if fine and not any(_close(between, y.roll((-t[0] * r, -t[1] * r), axes)) for axes, r in fine):
                    return "wrong", f"{what} does not move along under {t}"
        # A network that goes down again behind a way up samples twice, at origins of their own: it is compared at zero.
        for module in converted.modules() if len(_choices(converted)) > 1 and model.goes_up() else ():
            if isinstance(module, SelectOrigin):
                module.rule = "zero"
        alone = list(tensors(converted(image)))
        computed = [_everywhere(model, image, which) for which in choices[:1]]
        for k, y in enumerate(alone):
            while not any(outs and _is_found(y, outs[k], size) for outs in computed):
                if len(computed) == len(choices):
                    return (
                        "wrong",
                        f"output {k} of shape {tuple(y.shape)} is not what the network gives of the image moved anywhere",
                    )
                computed.append(_everywhere(model, image, choices[len(computed)]))
        model.wrapped(False)
    return "exact", ""


def main() -> None:
    """Judge the networks of seeds FIRST to LAST - 1, and say how many of which."""
    first, last = map(int, sys.argv[1:3]) if len(sys.argv) > 2 else (0, 2000)
    counts: collections.Counter[str] = collections.Counter()
    for seed in range(first, last):
        verdict = judge(seed)
        counts[verdict.outcome] += 1
        if verdict.outcome == "wrong":
            print(f"seed {seed}: {verdict.reason}", flush=True)
    print(
        f"{last - first:,} networks: {counts['exact']:,} exact, {counts['refused']:,} refused, {counts['wrong']:,} wrong"
    )
    sys.exit(bool(counts["wrong"]))


if __name__ == "__main__":
    main()
