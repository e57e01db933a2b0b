"""Baselines composed with MASS become exact; alone they are not; wrong inputs are refused."""

import copy
import itertools
import pickle
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from loops import choosers, same_up_to_a_shift, trained
from torch import nn

import mass
from mass.baselines.aps import APS, convert_to_aps
from mass.baselines.ddac import DDAC2d
from mass.baselines.lps import LPS, PolyphaseScores, convert_to_lps
from mass.nn.blurpool import BlurPool

FILTERS = {
    "lpf1": partial(BlurPool, kernel_size=1),
    "lpf2": partial(BlurPool, kernel_size=2),
    "lpf3": BlurPool,
    "lpf5 by 3": partial(BlurPool, kernel_size=5, stride=3),
    "ddac3": DDAC2d,
    "ddac3 per group": partial(DDAC2d, groups=2, per_group=True),
}


class Net(nn.Module):
    """A residual block that filters and samples both of its branches, then a strided convolution, and a classifier."""

    def __init__(self, antialias):
        super().__init__()
        self.conv1, self.bn = nn.Conv2d(3, 8, 3, 1, 1), nn.BatchNorm2d(8)
        self.main = nn.Sequential(antialias(8), nn.Conv2d(8, 8, 3, 1, 1))
        self.shortcut = nn.Sequential(antialias(8), nn.Conv2d(8, 8, 1))
        self.conv2, self.head = nn.Conv2d(8, 8, 3, 2, 1), nn.Linear(8, 5)

    def forward(self, x):
        x = F.relu(self.bn(self.conv1(x)))
        x = F.relu(self.main(x) + self.shortcut(x))
        return self.head(F.relu(self.conv2(x)).mean((2, 3)))


def net(name, size=(24, 36)):
    """One of the networks, its statistics calibrated, and three pictures."""
    torch.manual_seed(0)
    model, x = Net(FILTERS[name]), torch.randn(3, 3, *size)
    model(x)
    return model.eval(), x


SHIFTS = [(1, 0), (0, 1), (3, 5), (7, 2), (12, 35)]


@pytest.mark.parametrize("name", FILTERS)
def test_mass_makes_them_exact(name):
    """MASS-LPF and MASS-DDAC: the same bits wherever the picture lies."""
    model, x = net(name)
    converted = mass.convert(model, x)
    assert list(converted.state_dict()) == list(model.state_dict())
    for dtype, batch in itertools.product((torch.float32, torch.bfloat16), (1, 3)):
        converted, pictures = converted.to(dtype), x[:batch].to(dtype)
        logits = converted(pictures)
        assert logits.dtype == dtype and logits.isfinite().all()
        for t in SHIFTS:
            assert torch.equal(converted(pictures.roll(t, (2, 3))), logits)


@pytest.mark.parametrize("convert", [convert_to_aps, convert_to_lps])
@pytest.mark.parametrize("name", FILTERS)
def test_polyphase_sampling_makes_them_equivariant(name, convert):
    """APS-LPF, LPS-DDAC and so on: equal up to rounding, on inputs without symmetry."""
    model, x = net(name)
    converted = convert(model, x).eval()
    assert len(choosers(converted)) == 2
    for t in SHIFTS:
        assert torch.allclose(converted(x.roll(t, (2, 3))), converted(x), atol=1e-5)


@pytest.mark.parametrize("name", FILTERS)
def test_alone_they_are_not(name):
    """LPF and DDAC: only shifts by multiples of the total stride leave the logits as they are."""
    model, x = net(name)
    model = mass.convert(model, x, origin="zero", verify=False)
    logits, (stride, _) = model(x), model.total_stride
    for t in itertools.product((stride, -2 * stride), (0, stride)):
        assert torch.allclose(model(x.roll(t, (2, 3))), logits, atol=1e-6)
    for t in ((1, 0), (0, 1), (1, 1)):
        assert (model(x.roll(t, (2, 3))) - logits).abs().amax() > 1e-4


@given(
    antialias=st.sampled_from([BlurPool, partial(DDAC2d, groups=2)]),
    size=st.sampled_from([3, 5]),
    stride=st.integers(1, 3),
    t=st.tuples(st.integers(0, 11), st.integers(0, 17)),
    seed=st.integers(0, 99),
)
def test_as_mass_layers(antialias, size, stride, t, seed):
    torch.manual_seed(seed)
    pool = trained(antialias(4, kernel_size=size, stride=stride), seed)
    layer = mass.MassPool2d(pool)  # which wraps by itself
    x = torch.randn(1, 4, 12, 18)
    assert torch.equal(layer(x), pool(mass.shift(x, mass.select_origin(x, stride))))
    assert same_up_to_a_shift(layer(x), layer(x.roll(t, (2, 3))))


LAYERS = {
    **{name: lambda x, make=make: trained(make(8)).to(x.dtype)(x) for name, make in FILTERS.items()},
    "aps": APS(3),
    "lps": lambda x: LPS(3).eval()(x, PolyphaseScores(8, 3).to(x.dtype).eval()(x)),
    "lps in training": lambda x: LPS(3)(x, PolyphaseScores(8, 3).to(x.dtype)(x)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", LAYERS)
def test_memory_format_and_dtype_are_kept(name, memory_format, dtype):
    x = torch.randn(2, 8, 6, 12).to(dtype).contiguous(memory_format=memory_format)
    y = LAYERS[name](x)
    assert y.dtype == dtype and y.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("name", FILTERS)
def test_bfloat16_and_channels_last_compute_the_same(name):
    module = trained(FILTERS[name](8))
    x = torch.randn(2, 8, 6, 12)
    expected = module(x)
    assert torch.allclose(module(x.contiguous(memory_format=torch.channels_last)), expected, atol=1e-6)
    rough = copy.deepcopy(module).bfloat16()(x.bfloat16())
    assert torch.allclose(rough.float(), expected, atol=0.05)


@pytest.mark.parametrize("convert", [mass.convert, convert_to_aps, convert_to_lps])
@pytest.mark.parametrize("name", ["lpf3", "ddac3"])
def test_converted_networks_copy_pickle_and_load(name, convert):
    model, x = net(name, (12, 12))
    converted = convert(model, x).eval()
    logits = converted(x)
    assert torch.equal(pickle.loads(pickle.dumps(converted))(x), logits)
    assert torch.equal(copy.deepcopy(converted)(x), logits)
    keys = [key for key in converted.state_dict() if not key.startswith("mass_origin_")]
    assert keys == list(model.state_dict()) and not any("filter" in key for key in keys)
    missing = converted.load_state_dict(model.state_dict(), strict=False)
    assert not missing.unexpected_keys and all(key.startswith("mass_origin_") for key in missing.missing_keys)


class Slicing(nn.Module):
    def forward(self, x):
        return x[:, :, ::2, ::2].mean((2, 3))


X = torch.randn(2, 4, 8, 8)


def _with_stride(stride):
    pool = DDAC2d(4, groups=2)
    pool.stride = stride
    return nn.Sequential(pool)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: DDAC2d(12), ValueError, "12 channels cannot be divided into 8 groups; choose a divisor"),
        (lambda: DDAC2d(8, 4), ValueError, "kernel_size must be odd, so that the filter has a centre, got 4"),
        (lambda: DDAC2d(8, -1), ValueError, "kernel_size must be at least 1, got -1"),
        (lambda: DDAC2d(8, groups=0), ValueError, "groups must be at least 1, got 0"),
        (lambda: DDAC2d(8, stride=2.0), TypeError, "stride must be an int, got 2.0"),
        (lambda: DDAC2d(4, groups=2)(X[..., 1:]), ValueError, "width 7 is not a multiple of the period 2"),
        (lambda: DDAC2d(4, groups=2)(X.int()), TypeError, "convert with x.float"),
        (lambda: APS(2)(X[..., 1:]), ValueError, "width 7 is not a multiple of the period 2"),
        (lambda: APS(2)(X[..., 1:], torch.zeros(2, 2).long()), ValueError, "width 7 is not a multiple of the period 2"),
        (lambda: APS(2)(X, torch.zeros(2, 2)), TypeError, "must be int64, got torch.float32"),
        (lambda: APS(2)(X, torch.zeros(3, 2).long()), ValueError, r"must have shape \(2, 2\)"),
        (lambda: PolyphaseScores(0), ValueError, "channels must be at least 1, got 0"),
        (lambda: PolyphaseScores(4, temperature=0), ValueError, "temperature must be positive, got 0"),
        (lambda: PolyphaseScores(4)(X[..., 1:]), ValueError, "width 7 is not a multiple of the period 2"),
        (lambda: LPS(0), ValueError, "stride must be at least 1"),
        (lambda: LPS(2)(X[..., 1:], torch.rand(2, 4)), ValueError, "width 7 is not a multiple of the period 2"),
        (lambda: LPS(2)(X, torch.rand(2, 3)), ValueError, r"weights must have shape \(2, 4\).*got \(2, 3\)"),
        (lambda: LPS(2).eval()(X, torch.rand(1, 4)), ValueError, r"weights must have shape \(2, 4\).*got \(1, 4\)"),
        (lambda: mass.mark_leaf(DDAC2d, 0), ValueError, "period must be an int of at least 1 or an attribute's"),
        (lambda: mass.mark_leaf(DDAC2d, (2, 2)), ValueError, r"an attribute's name, got \(2, 2\)"),
        (lambda: mass.mark_leaf(DDAC2d, True), ValueError, "an attribute's name, got True"),
        (lambda: mass.mark_leaf(DDAC2d, ""), ValueError, "an attribute's name, got ''"),
        (lambda: mass.convert(_with_stride(0), X), mass.NotEquivariantError, "the period 'stride', and that is 0"),
        (lambda: mass.convert(_with_stride((2, 2)), X), mass.NotEquivariantError, "make it an int of at least 1"),
        (lambda: mass.mark_leaf(DDAC2d, None), ValueError, "an attribute's name, got None"),
        (lambda: mass.mark_leaf(DDAC2d(8)), TypeError, "subclass of torch.nn.Module"),
    ],
)  # fmt: skip
def test_wrong_inputs(build, error, message):
    with pytest.raises(error, match=message):
        build()


class SamePadding(nn.Conv2d):
    """Borders by an operation of their own, as TensorFlow's networks have them."""

    def forward(self, x):
        return F.conv2d(F.pad(x, (0, 1, 0, 1)), self.weight, self.bias, self.stride)


@pytest.mark.parametrize("convert", [convert_to_aps, convert_to_lps])
def test_a_functional_convolution_runs_densely_on_a_map_of_its_input_s_size(convert):
    """One of a stride is sampled as a module with the same borders is."""
    functional = nn.Sequential(SamePadding(4, 6, 3, 2), nn.AdaptiveAvgPool2d(1)).eval()
    module = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(4, 6, 3, 2), nn.AdaptiveAvgPool2d(1)).eval()
    module[1].load_state_dict(functional[0].state_dict())
    outputs = []
    for model in (functional, module):
        torch.manual_seed(0)  # LPS draws its scores' first weights
        converted, x = convert(model, X).double().eval(), X.double()
        outputs.append(converted(x))
        assert torch.allclose(converted(x.roll((1, 3), (2, 3))), outputs[-1], rtol=0, atol=1e-12)
    assert torch.allclose(*outputs, rtol=0, atol=1e-12)


class Frozen(nn.Module):
    """A convolution that is not to learn."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(4, 4, 3, 2, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        with torch.no_grad():
            y = self.conv(x)
        return self.head(y)


@pytest.mark.parametrize("convert", [convert_to_aps, convert_to_lps])
@pytest.mark.parametrize(
    ("model", "x", "error", "message"),
    [
        (nn.Conv2d(4, 4, 3, 2, 1), X[..., 1:], mass.NotEquivariantError, "the map has width 7 there"),
        (nn.Conv2d(4, 4, 3, 2, 1), X[0], ValueError, "add the batch axis"),
        (Slicing(), X, mass.NotEquivariantError, "node 'getitem': (APS|LPS) has no dense form of this operation"),
        (nn.AdaptiveAvgPool2d(4), X, mass.NotEquivariantError, "(APS|LPS) has no dense form of this operation"),
        (nn.Sequential(nn.Conv2d(4, 4, 1), nn.Flatten()), X, mass.NotEquivariantError, "one strided operation, this is none"),
        (lambda x: x, X, TypeError, "expected a torch.nn.Module, got function"),
        (nn.DataParallel(nn.Conv2d(4, 4, 3, 2, 1)), X, TypeError, "this model is wrapped in DataParallel"),
        (Frozen().train(), X, mass.NotEquivariantError, "the gradient of 'conv.weight' is another"),
    ],
)  # fmt: skip
def test_refusals(convert, model, x, error, message):
    with pytest.raises(error, match=message):
        convert(model, x)


def test_lps_has_no_origin_to_go_back_up_by():
    down_and_up = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Upsample(scale_factor=2), nn.Conv2d(4, 2, 3, padding=1))
    with pytest.raises(mass.NotEquivariantError, match="back up by an origin, and LPS mixes the components of all"):
        convert_to_lps(down_and_up, torch.randn(1, 3, 8, 8))
