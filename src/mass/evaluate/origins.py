"""Reading the origins that a network chooses, image by image, while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mass.axes import Pair
from mass.errors import check_module
from mass.nn.graph.alignment import ChoosesOrigin


@dataclass(frozen=True)
class RecordedOrigin:
    """What one origin node chose in one forward pass.

    Attributes:
        name: of the node, as in `model.named_modules()`: 'mass_origin_1', say.
        period: the origin lies in [0, period[0]) x [0, period[1]).
        origin: (B, 2) int64, a row and a column for each image; of a network that blends, for each path.
        kept: what `keep` made of the map that it was read off; None where nothing was asked for.
    """

    name: str
    period: Pair
    origin: Tensor
    kept: Any = None


@contextmanager
def record_origins(
    model: nn.Module, keep: Callable[[Tensor, Pair], Any] | None = None
) -> Iterator[list[list[RecordedOrigin]]]:
    """While entered, every forward pass of `model` adds the origins that it chooses, in the order of its graph; so does every call of a
    method that was converted with it (`methods=`).

    Args:
        model: what `mass.convert` returned, or a model that contains it; a network of `mass.baselines` gives the
            polyphase components that it keeps. A network that chooses none (a plain one, or one converted with
            `origin="zero"`) gives empty lists. MASS layers used by hand choose inside, and are not heard.
        keep: (features, period) -> what is to be kept of the map (B, C, H, W) that an origin is read off, at the moment
            that it is: `mass.margin` for how near it came to another, `lambda features, period: features.clone()` for
            the map itself (a later operation may write to it). Gradients flow through.

    Yields:
        One list a forward pass, one `RecordedOrigin` an origin node.

    >>> import torch, mass
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 2, 2), nn.AdaptiveAvgPool2d(1)).eval()
    >>> x = torch.randn(5, 3, 16, 16)
    >>> converted = mass.convert(model, x)
    >>> with mass.record_origins(converted) as passes:
    ...     y, moved = converted(x), converted(x.roll((-1, -2), (2, 3)))
    >>> [(found.name, found.period, found.origin.shape) for found in passes[0]]
    [('mass_origin_1', (2, 2), torch.Size([5, 2])), ('mass_origin_2', (2, 2), torch.Size([5, 2]))]
    >>> torch.equal(passes[1][0].origin, (passes[0][0].origin - torch.tensor([1, 2])) % 2)    # it follows the image
    True
    """
    check_module(model)
    passes: list[list[RecordedOrigin]] = []

    def begin(*_: Any) -> None:
        passes.append([])

    def listen(name: str) -> Any:
        def read(module: ChoosesOrigin, args: tuple, output: Tensor) -> None:
            maps, period = module.read(args[0])
            if not passes:  # a part of the model was called
                begin()
            kept = None if keep is None else keep(maps, period)
            passes[-1].append(RecordedOrigin(name, period, module.chosen(output), kept))

        return read

    networks = [model, *getattr(model, "mass_networks", {}).values()]
    choosers = [(n, m) for network in networks for n, m in network.named_modules() if isinstance(m, ChoosesOrigin)]
    handles = [network.register_forward_pre_hook(begin) for network in networks]
    handles += [module.register_forward_hook(listen(name)) for name, module in choosers if module.chooses]
    try:
        yield passes
    finally:
        for handle in handles:
            handle.remove()
