"""Implicit equivariance (Khetan et al., 2021): a loss for networks that need not be equivariant, and how far they are from it.

    cross-entropy(x and T x) + beta * sum over layers of mean((pool f_l(x) - T^-1 pool f_l(T x))^2)

`pool` is the maximum over groups of channels (`companion.models.implicit.group_pool`); a network's filters stay what they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

import mass
from companion.core.errors import Refusal
from companion.data.transforms import Shifts, Transforms
from mass.functional.shift import shift
from mass.nn.evaluating import evaluating

Pool = Callable[[Tensor], Tensor]


@contextmanager
def reading(model: nn.Module, layers: Sequence[str]) -> Iterator[list[Tensor]]:
    """While entered, what the named layers of any module gave in its last forward pass, in the order of `layers`.

    Raises:
        Refusal: for a name that the module has no layer of.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> with reading(model, ["0"]) as features:
    ...     y = model(torch.ones(1, 2))
    >>> torch.equal(features[0].relu(), y)
    True
    """
    found: list[Tensor] = [torch.empty(0)] * len(layers)
    modules = dict(model.named_modules())
    for name in layers:
        if name not in modules:
            raise Refusal(f"The network has no layer named {name!r} to read; it has {', '.join(list(modules)[1:9])}, …")

    def keep(number: int) -> Callable[..., None]:
        def hook(module: nn.Module, args: object, output: Tensor) -> None:
            found[number] = output if isinstance(output, Tensor) else output.tensor  # escnn's and e2cnn's tensors

        return hook

    handles = [modules[name].register_forward_hook(keep(number)) for number, name in enumerate(layers)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def layer_losses(features: Sequence[Tensor], of_transformed: Sequence[Tensor], transforms: Transforms) -> Tensor:
    """Each layer's mean of squares of pool f_l(x) - T^-1 pool f_l(T x), image by image: over channels and defined positions.

    Shape: maps (B, C_l, H_l, W_l), pooled already -> (layers, B), float32 or more.
    """
    rows = []
    for here, there in zip(features, of_transformed, strict=True):
        back, defined = transforms.undo(there if there.dtype == torch.float64 else there.float())
        squares = (here - back).square().mean(1, keepdim=True)
        if defined is None:
            rows.append(squares.flatten(1).mean(1))
        else:
            rows.append((squares * defined).flatten(1).sum(1) / defined.flatten(1).sum(1).clamp(min=1))
    return torch.stack(rows)


def implicit_equivariance_loss(
    features: Sequence[Tensor], features_of_transformed: Sequence[Tensor], transforms: Transforms
) -> Tensor:
    """The equivariance term of Khetan et al. (2021): the sum over layers of the mean squared difference; zero where all move along.

    Args:
        features: of images x, one map a layer, (B, C_l, H_l, W_l), pooled over groups of channels.
        features_of_transformed: of T x, of the same shapes.
        transforms: T, one for each image.

    Returns:
        A scalar: the mean over images, so that a batch gives what its images, one by one, give on average.

    >>> from companion.data.transforms import QuarterTurns
    >>> x, turns = torch.rand(2, 3, 4, 4), QuarterTurns(torch.tensor([1, 3]))
    >>> implicit_equivariance_loss([x], [turns(x)], turns).item()
    0.0
    """
    return layer_losses(features, features_of_transformed, transforms).mean(1).sum()


def equivariance_errors(
    model: nn.Module,
    layers: Sequence[str],
    pool: Pool,
    images: Tensor,
    transforms: Transforms,
    prepare: Callable[[Tensor], Tensor] = lambda images: images,
) -> list[float]:
    """Of every layer the relative error ||pool f(x) - T^-1 pool f(T x)|| / ||pool f(x)||: a mean over images, in eval mode.

    A layer of which no position is defined after the way back (a map of 2 x 2, turned by 45 degrees) has none: NaN.

    Args:
        images: (B, C, H, W), black where they are 0, as transformed ones are beyond their image.
        prepare: what is done to images, transformed or not, ahead of the network.
    """
    with evaluating(model), reading(model, layers) as features:
        model(prepare(images))
        here = [pool(feature).float() for feature in features]
        model(prepare(transforms(images)))
        there = [pool(feature).float() for feature in features]
    norms = torch.stack([feature.square().flatten(1).mean(1) for feature in here])
    errors = (layer_losses(here, there, transforms) / norms.clamp(min=1e-20)).sqrt()
    seen = [transforms.undo(torch.ones_like(maps))[1] for maps in there]
    return [
        math.nan if defined is not None and not defined.any() else float(value)
        for value, defined in zip(errors.mean(1), seen, strict=True)
    ]


def shifts_of(model: nn.Module, x: Tensor, by: Tensor) -> Shifts:
    """Shifts of images with what a converted network's origins make of them: how far its maps move at every total stride.

    A map on the lattice (S, O) moves by (t + O' - O) / S positions under a shift t, with O' its origin then.
    """
    moved: dict[int, Tensor] = {}
    with torch.no_grad(), mass.record_origins(model) as passes:
        model(x)
        model(shift(x, by))
    stride, before, after = 1, torch.zeros_like(by), torch.zeros_like(by)
    for first, second in zip(*passes, strict=True):
        before, after = before + stride * first.origin, after + stride * second.origin
        stride *= first.period[0]
        moved[stride] = (by + after - before) // stride
    return Shifts(by, x.shape[2], moved)
