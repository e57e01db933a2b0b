"""What exactness costs, counted: kernels, bytes, allocations, graph breaks, values that the host reads. No clock."""

from collections import Counter
from functools import partial

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import mass
from companion.models.random_weights import calibrated
from mass import native
from mass.functional import conv
from mass.functional.origin import select as origin

compiled = pytest.mark.skipif(native.kernels() is None, reason="no C++ compiler")
X = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def networks():
    names = ("resnet18", "mobilenet_v2", "densenet121")
    return {name: (plain := calibrated(name), mass.convert(plain, X)) for name in names}


class Operators(TorchDispatchMode):
    """Counts operators, and the bytes that their results take."""

    def __init__(self):
        super().__init__()
        self.calls, self.allocated = Counter(), 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        name = str(function).removesuffix(".default")
        self.calls[name] += 1
        returned = result if isinstance(result, tuple | list) else [result]
        written = [a.alias_info for a in function._schema.returns]
        self.allocated += sum(t.nbytes for t, a in zip(returned, written, strict=False) if a is None and t is not None)
        return result


def operators(model):
    with torch.no_grad(), Operators() as seen:
        model(X)
    return seen


@pytest.fixture
def launched(monkeypatch):
    """The compiled kernels that run, and the bytes that they read and write."""
    found = []

    def record(name, kernel, x, *rest):
        result = kernel(x, *rest)
        if name == "origins":
            moved = x.nbytes
        else:
            sampled = name == "wrap" and len(rest) == 3  # with a step: reads what it writes
            moved = result.nbytes + (result if sampled else x).nbytes
        found.append((name, moved))
        return result

    for name in ("origins", "wrap", "exact_mean", "max_pool", "depthwise"):
        monkeypatch.setattr(native, name, partial(record, name, getattr(native, name)))
    return found


@compiled
@pytest.mark.parametrize(
    ("name", "kernels"),
    [
        # 17 windows wider than their stride, 3 that only sample: one copy each, shifts included.
        ("resnet18", {"origins": 5, "wrap": 20, "max_pool": 1, "exact_mean": 1}),
        # 17 depthwise convolutions read the map where it lies; the stem's padding is the only copy.
        ("mobilenet_v2", {"origins": 5, "wrap": 1, "depthwise": 17, "exact_mean": 1}),
        # The stem, 58 convolutions of 3 x 3, three average pools that sample.
        ("densenet121", {"origins": 5, "wrap": 62, "max_pool": 1, "exact_mean": 1}),
    ],
)
def test_kernels_of_one_forward(networks, launched, name, kernels):
    with torch.no_grad():
        networks[name][1](X)
    assert Counter(kernel for kernel, _ in launched) == kernels


@compiled
def test_bytes_that_are_moved(networks, launched):
    """ResNet-18: every selection reads its map (at least) once, every window's copy reads the map and writes it with its border."""
    with torch.no_grad():
        networks["resnet18"][1](X)
    sizes = [(2 * 64 >> k) * (2 * 96 >> k) // 4 for k in range(6)]  # positions at strides 1, 2, 4, …
    assert 4 * 2 * 3 * sizes[0] == X.nbytes
    read = [3 * sizes[0], 64 * sizes[1], 64 * sizes[2], 128 * sizes[3], 256 * sizes[4]]
    assert [size for name, size in launched if name == "origins"] == [2 * 4 * n for n in read]
    height, width = 64 // 32, 96 // 32
    wraps = [size for name, size in launched if name == "wrap"]
    assert wraps[-1] == 2 * 512 * 4 * (height * width + (height + 2) * (width + 2))
    sampled = [2 * 2 * 4 * channels * n for channels, n in zip((64, 128, 256), sizes[3:], strict=True)]
    assert not Counter(sampled) - Counter(wraps)  # the 1 x 1 convolutions of stride 2 copy a quarter of their map


@pytest.mark.parametrize(("name", "most"), [("resnet18", 1.85), ("mobilenet_v2", 1.45), ("densenet121", 1.25)])
def test_memory_that_is_allocated(networks, name, most):
    """Results of one forward, by PyTorch's operators, beside the plain network's: a border is most of a map of 2 x 3."""
    plain, converted = networks[name]
    assert operators(converted).allocated <= most * operators(plain).allocated


@pytest.mark.parametrize(
    ("name", "shifts", "pads"), [("resnet18", 3, 18), ("mobilenet_v2", 0, 18), ("densenet121", 3, 60)]
)
def test_operators_of_one_forward(networks, name, shifts, pads):
    """Selection, shift and padding are one operator each, and the host reads no value."""
    seen = operators(networks[name][1]).calls
    assert seen["mass.select_origin"] == 5 and seen["mass.exact_mean"] == 1
    assert (seen["mass.shift"], seen["mass.circular_pad"]) == (shifts, pads)
    assert not [call for call in seen if "item" in call or "local_scalar" in call or "nonzero" in call]


def test_selection_on_a_device_reads_no_value():
    """With tensors that have no values at all, any reading would fail."""
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True), native.reference():
        x = torch.empty(4, 8, 32, 48, device="cuda")
        source, place = torch.empty(4, 3, 64, 96, device="cuda"), torch.empty(4, 2, dtype=torch.int64, device="cuda")
        for rule in mass.RULES:
            assert origin._by_keys(x, (2, 2), rule, source, place).shape == (4, 2)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
@pytest.mark.parametrize("gradient", [False, True])
def test_one_graph_without_a_break(networks, name, gradient):
    torch._dynamo.reset()
    with torch.set_grad_enabled(gradient):
        found = torch._dynamo.explain(networks[name][1])(X)
    assert (found.graph_count, found.graph_break_count) == (1, 0), found.break_reasons


@compiled
def test_layouts_are_computed_for_ties_alone(networks, monkeypatch):
    read = []
    monkeypatch.setattr(origin, "_keys", lambda x, *rest, keys=origin._keys: read.append(len(x)) or keys(x, *rest))
    with torch.no_grad():
        networks["resnet18"][1](X)
        assert not read
        networks["resnet18"][1](torch.cat((X, torch.zeros_like(X))))
    assert read and set(read) == {2}  # the black images


def test_training_keeps_no_padded_map(monkeypatch):
    """For the backward pass a convolution keeps its input, as the plain one does, and wraps it again."""
    wrapped = []
    monkeypatch.setattr(conv, "circular_pad", lambda *given, pad=conv.circular_pad: wrapped.append(1) or pad(*given))
    layer, x = mass.MassConv2d(8, 8, 3, stride=2, padding=1), torch.randn(2, 8, 16, 16, requires_grad=True)
    loss = layer(x).square().sum()
    assert len(wrapped) == 1
    loss.backward()
    assert len(wrapped) == 2
    gradient = x.grad.clone()
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: t, lambda t: t
    ):  # who keeps tensors their own way, keeps these
        assert torch.equal(torch.autograd.grad(layer(x).square().sum(), x)[0], gradient)
    assert len(wrapped) == 3


def test_a_map_that_was_written_to_has_no_gradient():
    conv, x = mass.MassConv2d(8, 8, 3, stride=2, padding=1), torch.randn(2, 8, 16, 16, requires_grad=True)
    y = x * 2
    loss = conv(y).sum()
    y.add_(1)
    with pytest.raises(RuntimeError, match="was written to after it"):
        loss.backward()


def test_gradients_of_gradients_go_through_the_border():
    conv = mass.MassConv2d(2, 2, 3, stride=2, padding=1).double()
    x = torch.randn(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: conv(x).square(), x)
