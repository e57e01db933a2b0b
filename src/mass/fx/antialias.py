"""`antialias`: any convolutional network with a low-pass filter wherever it samples (Zhang, 2019, section 3.2).

An operation with a stride is a dense one, of stride 1, and a subsampling behind it. The dense one does not alias; the
subsampling does, so a filter goes in between:

    max pooling          -> dense max pooling, then the filter samples
    strided convolution  -> dense convolution, its normalisation and activation, then the filter samples
    average pooling      -> the filter samples, where it is as wide; else dense average pooling, then the filter samples

A strided 1 x 1 convolution reads nothing but what it samples: there the filter comes first, which is the same and cheaper.
Every map keeps its size (an average pooling that the filter replaces: at sizes that its stride divides; at others a row and a column
more). Other ways to sample are left as they are: slices with a step, adaptive pooling, pixel unshuffling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.modules import activation
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from mass.axes import Pair, pair_of
from mass.errors import NotEquivariantError, check_counts, check_map
from mass.fx.infer import infer
from mass.fx.network.converted import Converted
from mass.fx.nodes import is_in_place, module_of, name_of, place_of
from mass.fx.rule import Site, operation_of
from mass.fx.rules.conv import conv
from mass.fx.rules.pooling import avg_pool, max_pool
from mass.fx.tracing.example import Example, as_example
from mass.fx.tracing.plain import require_plain
from mass.fx.tracing.trace import note_shapes, trace
from mass.fx.verification.verify_trace import verify_trace
from mass.nn.blurpool import BlurPool

Filter = Callable[[int, Pair], nn.Module]  # (channels, stride) -> a module that filters and samples
_ACTIVATIONS = ("relu", "relu6", "leaky_relu", "prelu", "hardswish", "hardtanh", "silu", "gelu", "mish", "elu", "celu", "selu",
                "softplus", "tanh", "sigmoid", "hardsigmoid")  # fmt: skip
_NOT_POINTWISE = (nn.Softmax, nn.Softmin, nn.LogSoftmax, nn.Softmax2d, nn.GLU, nn.MultiheadAttention)
# What may stand between an operation and its activation.
_BETWEEN = (_BatchNorm, nn.GroupNorm, nn.InstanceNorm2d, nn.Identity, _DropoutNd)
_FUNCTIONS_BETWEEN = ("batch_norm", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout",
                      "feature_alpha_dropout")  # fmt: skip
_INDICES = "max pooling that returns indices: behind a filter they would say nothing of where maxima were"
_STRIDED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


def antialias(model: nn.Module, example_input: Any, kernel_size: int = 3, *, verify: bool = True) -> Converted:
    """A copy of `model` that blurs before it samples (`mass.BlurPool`), with no new parameter.

    Shape: images (B, C, H, W) in; out, what `model` gives, in the same shapes.

    The copy is a `torch.fx.GraphModule` with the original's `state_dict` keys, in which the filters `mass_sample_…` are nodes.
    Their borders reflect, as in the authors' networks; `mass.convert(mass.antialias(model, x), x)` makes all borders wrap and
    samples from origins (MASS over anti-aliasing), with `origin="zero"` from the fixed grid. Convolutions that had a stride
    cost its square times as much.

    Args:
        model, example_input: as for `mass.convert`; it is not changed.
        kernel_size: of the binomial filters, 1 for none: the same function then, computed densely and sampled, but for group and
            instance normalisation in front of a filter, whose statistics are of the dense map.
        verify: compare the traced graph with the model before it is changed.

    Raises:
        NotEquivariantError: where nothing samples by a stride; or naming the operation that cannot be anti-aliased, and why.
        TypeError, ValueError: for a wrong example or size.

    >>> import torch
    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> x = torch.randn(1, 3, 16, 16)
    >>> smooth = antialias(model, x)
    >>> list(smooth.state_dict()) == list(model.state_dict()), torch.allclose(antialias(model, x, 1)(x), model(x), atol=1e-6)
    (True, True)
    """
    check_counts(kernel_size=kernel_size)

    def blur(channels: int, stride: Pair) -> nn.Module:
        return BlurPool(channels, tuple(kernel_size if s > 1 else 1 for s in stride), stride, "reflect")  # type: ignore[arg-type]

    return sample_by(model, example_input, blur, replaced=kernel_size, verify=verify)


def sample_by(
    model: nn.Module,
    example_input: Any,
    make: Filter,
    *,
    replaced: int | None = None,
    wraps: bool = False,
    verify: bool = True,
) -> Converted:
    """A copy of `model` in which every operation with a stride is dense, and another module samples behind it.

    Args:
        make: (channels, stride) -> that module, (B, C, H, W) -> (B, C, H / stride, W / stride), rounded up.
        replaced: average poolings of windows no wider than this are replaced by it; None: all.
        wraps: whether dense windows that pad too little to keep rows and columns (2 x 2 without padding, say) wrap around instead,
            for modules that sample what the stride divides.

    Raises:
        NotEquivariantError: as `antialias`; where it wraps, for a size that the total stride does not divide.
    """
    require_plain(model)
    example = as_example(example_input)
    check_map(example.values[0])
    traced = trace(model, example)
    if verify:
        verify_trace(model, traced, example)
    if wraps and (plan := infer(traced)).indivisible:
        raise plan.refusals[0][1]
    _Densely(traced, make, replaced, wraps, example.values[0].device).run(example)
    traced.mass_antialiased = True
    traced.mass_stand_for(model, example.values[0], example.positional(model))
    return traced


class _Densely:
    """Makes what samples dense, and samples behind it by other modules."""

    def __init__(
        self, traced: Converted, make: Filter, replaced: int | None, wraps: bool, device: torch.device
    ) -> None:
        self.module, self.graph, self.make, self.device = traced, traced.graph, make, device
        self.replaced, self.wraps = replaced, wraps
        self.before: dict[tuple[fx.Node, Pair], fx.Node] = {}  # filters in front of 1 x 1 convolutions
        self.renamed: dict[str, str] = {}  # what stands for a node that others knew by its name
        self.filters: list[fx.Node] = []

    def run(self, example: Example) -> None:
        sites = [site for node in self.graph.nodes if (site := self._site(node)) is not None]
        strides = {site.node: self._stride(site) for site in sites}  # first, for a module may be called again
        sampled = [site for site in sites if max(strides[site.node]) > 1 and not self._spans_the_map(site)]
        dense = {site.module for site in sampled if site.module is not None}
        for site in sites:
            if site.module in dense and site not in sampled:
                reason = f"{site.kind} leaves one position here, and samples by its stride at another call"
                raise site.refuse(reason, "give each call a module of its own")
        for site in sampled:
            self._sample_behind(site, strides[site.node])
        if not self.filters:
            reason = "nothing in this model samples by the stride of a convolution or pooling"
            raise NotEquivariantError("", reason, "take the model as it is")
        self.module.mass_calls = tuple(
            call.renamed(lambda name: self.renamed.get(name, name)) for call in self.module.mass_calls
        )
        self.graph.lint()
        self.module.recompile()
        shapes = {node: node.meta["shape"] for node in self.filters}
        note_shapes(self.module, example.values)
        for node, shape in shapes.items():
            if node.meta["shape"] != shape:
                reason = f"it would be of shape {node.meta['shape']} instead of {shape}"
                raise NotEquivariantError(place_of(node), reason, "report it")

    def _site(self, node: fx.Node) -> Site | None:
        """A node as a convolution or pooling of images; None for others. What samples where nobody can look is refused."""
        operation = operation_of(node)
        if name_of(node) == "max_pool2d_with_indices":
            raise NotEquivariantError(place_of(node), _INDICES)
        if operation is not None and operation.axes == 2 and operation.rule in (conv, max_pool, avg_pool):
            return Site(node, operation, {}, (1, 1))
        module = module_of(node)
        inside = module.modules() if module is not None and operation is None else ()
        if any(isinstance(part, _STRIDED) and max(pair_of(part.stride, 2)) > 1 for part in inside):
            reason = f"{type(module).__name__} could not be traced, and samples inside"
            raise NotEquivariantError(place_of(node), reason, "rewrite it so that it can be, or anti-alias it by hand")
        return None

    def _stride(self, site: Site) -> Pair:
        stride = site.argument("stride")
        if stride in (None, ()):
            stride = 1 if site.operation.rule is conv else site.argument("kernel_size")  # type: ignore[union-attr]
        return pair_of(stride, 2)

    def _kernel(self, site: Site) -> Pair:
        if site.operation.rule is not conv:  # type: ignore[union-attr]
            return pair_of(site.argument("kernel_size"), 2)
        weight: Any = site.module.weight.shape if site.module is not None else site.given("weight").meta["shape"]
        return weight[2], weight[3]

    def _spans_the_map(self, site: Site) -> bool:
        """Whether a pooling is global: what it returns has no positions left."""
        return site.operation.rule is not conv and tuple(site.node.meta["shape"][2:]) == (1, 1)  # type: ignore[union-attr]

    def _sample_behind(self, site: Site, stride: Pair) -> None:
        node = site.node
        assert site.operation is not None
        if site.argument("return_indices", False):
            raise site.refuse(_INDICES)
        if site.operation.rule is conv and self._kernel(site) == (1, 1) and not _pads(site):
            self._sample_in_front(site, stride)
        elif site.operation.rule is avg_pool and self._as_narrow(site, stride):
            end = self._filter(node, site.input, node.meta["shape"], stride)
            node.replace_all_uses_with(end)
            self.graph.erase_node(node)
            self.renamed[node.name] = end.name
            return
        elif site.operation.rule is avg_pool and site.argument("ceil_mode", False):
            raise site.refuse("an average pooling that rounds sizes up", "build the model with ceil_mode=False")
        else:
            last = _activated(node)
            end = self._filter(last.next, last, node.meta["shape"], stride)
            last.replace_all_uses_with(end, delete_user_cb=lambda user: user is not end)
            self.renamed[last.name] = end.name
        if site.operation.rule is max_pool and site.argument("ceil_mode", False):
            self._round_up(site, stride)
        elif self.wraps:
            self._wrap(site, stride)
        self._make_dense(site)

    def _round_up(self, site: Site, stride: Pair) -> None:
        """Windows that reach beyond the far border, where sizes are rounded up, find nothing there."""
        kernel, padding = self._kernel(site), pair_of(site.argument("padding", 0), 2, 0)
        if any(p + s > k for k, s, p in zip(kernel, stride, padding, strict=True)):
            raise site.refuse("rounding sizes up, it would have windows with nothing inside", "use ceil_mode=False")
        source, amounts = site.input, (0, stride[1] - 1, 0, stride[0] - 1)
        with self.graph.inserting_before(site.node):
            padded = self.graph.call_function(F.pad, (source, amounts), {"value": -math.inf})
        site.node.replace_input_with(source, padded)

    def _wrap(self, site: Site, stride: Pair) -> None:
        """Windows that start in every place, and go on at the opposite border, where they give as many rows as the stride leaves."""
        padding, dilation = site.argument("padding", 0), pair_of(site.argument("dilation", 1), 2, 1)
        given = (0, 0) if padding in ("valid", "same") else pair_of(padding, 2, 0)
        reach = [d * (k - 1) - 2 * p for k, p, d in zip(self._kernel(site), given, dilation, strict=True)]
        sizes, sampled = site.shape[2:], site.node.meta["shape"][2:]
        keeps = [size == s * left for size, s, left in zip(sizes, stride, sampled, strict=True)]
        rows, columns = (r if keep and r > 0 and padding != "same" else 0 for r, keep in zip(reach, keeps, strict=True))
        if not (rows or columns):
            return
        source, amounts = site.input, (0, columns, 0, rows)
        with self.graph.inserting_before(site.node):
            padded = self.graph.call_function(F.pad, (source, amounts), {"mode": "circular"})
        site.node.replace_input_with(source, padded)

    def _as_narrow(self, site: Site, stride: Pair) -> bool:
        """Whether an average pooling can be replaced by the filter, for it is no wider, and gives maps of the same size."""
        sizes = tuple(-(-size // s) for size, s in zip(site.shape[2:], stride, strict=True))
        fits = self.replaced is None or max(self._kernel(site)) <= self.replaced
        if site.argument("ceil_mode", False):  # of as many positions as a filter gives, whatever the size of the map
            padding = pair_of(site.argument("padding", 0), 2, 0)
            fits = fits and all(k == s + 2 * p for k, s, p in zip(self._kernel(site), stride, padding, strict=True))
        return fits and sizes == site.node.meta["shape"][2:] and not site.argument("divisor_override")

    def _sample_in_front(self, site: Site, stride: Pair) -> None:
        source = site.input
        known = self.before.get((source, stride))
        if known is None or any(is_in_place(node) or name_of(node) == "setitem" for node in _between(known, site.node)):
            shape = *site.shape[:2], *site.node.meta["shape"][2:]
            self.before[source, stride] = self._filter(site.node, source, shape, stride)
        site.node.replace_input_with(source, self.before[source, stride])

    def _filter(self, before: fx.Node, source: fx.Node, shape: tuple[int, ...], stride: Pair) -> fx.Node:
        """A filter of a map, that gives one of this shape."""
        name = f"mass_sample_{len(self.filters) + 1}"
        self.module.add_submodule(name, self.make(shape[1], stride).to(self.device))
        with self.graph.inserting_before(before):
            node = self.graph.call_module(name, (source,))
        node.meta["shape"] = shape
        self.filters.append(node)
        return node

    def _make_dense(self, site: Site) -> None:
        if site.module is not None:
            site.module.stride = 1 if isinstance(site.module.stride, int) else (1, 1)  # type: ignore[assignment]
            return
        assert site.operation is not None
        place = site.operation.arguments.index("stride")
        if len(site.node.args) > place:
            site.node.update_arg(place, (1, 1))
        else:
            site.node.update_kwarg("stride", (1, 1))


def _between(first: fx.Node, last: fx.Node) -> Iterator[fx.Node]:
    node = first.next
    while node is not last:
        yield node
        node = node.next


def _pads(site: Site) -> bool:
    padding = site.argument("padding", 0)
    return padding not in ("valid", "same") and any(pair_of(padding, 2, 0))


def _activated(node: fx.Node) -> fx.Node:
    """The activation behind an operation, its normalisation, identities and dropouts; the operation itself where none follows."""
    last = node
    while len(last.users) == 1:
        (user,) = last.users
        module, name = module_of(user), name_of(user)
        pointwise = type(module).__module__ == activation.__name__ and not isinstance(module, _NOT_POINTWISE)
        if pointwise or (module is None and name in _ACTIVATIONS):
            return user
        if isinstance(module, nn.BatchNorm2d) and type(module) is not nn.BatchNorm2d:  # ends in an activation (timm's)
            return user
        if not (isinstance(module, _BETWEEN) or (module is None and name in _FUNCTIONS_BETWEEN)):
            return node
        last = user
    return node
