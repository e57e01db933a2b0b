"""Baselines: each does what an obvious loop does, and composed with MASS becomes exact."""

import copy
import itertools
import pickle
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

import mass
from mass.baselines.aps import APS, convert_to_aps
from mass.baselines.ddac import DDAC2d
from mass.baselines.flc import FLC, convert_to_flc
from mass.baselines.lps import LPS, PolyphaseScores, convert_to_lps
from mass.baselines.tips import TIPS, convert_to_tips
from mass.fx.antialias import sample_by
from mass.nn.blurpool import BlurPool

sizes = st.tuples(st.integers(1, 3), st.integers(1, 4))  # of a map, in strides


def trained(module, seed=0):
    """A module whose BatchNorm statistics are not those of a beginner; in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for bn in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
        for tensor in (bn.running_mean, bn.bias.data):
            tensor.normal_(generator=generator)
        for tensor in (bn.running_var, bn.weight.data):
            tensor.uniform_(0.5, 2, generator=generator)
    return module.eval()


def phases(x, stride):
    """The polyphase components, in a list."""
    return [x[:, :, i :: stride[0], j :: stride[1]] for i in range(stride[0]) for j in range(stride[1])]


def pad(x, left, right):
    return F.pad(x, (left, right, left, right), mode="circular")


def same_up_to_a_shift(y, z):
    return any(torch.equal(y.roll((i, j), (2, 3)), z) for i in range(y.shape[2]) for j in range(y.shape[3]))


# DDAC


def ddac_as_published(x, ddac):
    """The authors' algorithm, with circular borders: filters everywhere, unfolded windows, then every s-th position."""
    size, groups, channels = ddac.kernel_size, ddac.groups, x.shape[1]
    padded = pad(x, size // 2, size // 2)
    logits = ddac.bn(F.conv2d(padded, ddac.conv.weight)).unflatten(1, (groups, -1))  # (B, g, k * k, H, W)
    weights = logits.exp() / logits.exp().sum(2 if ddac.per_group else (1, 2), keepdim=True)
    windows = F.unfold(padded, size).view(x.shape[0], channels, size * size, *x.shape[2:])
    out = torch.empty_like(x)
    for channel in range(channels):
        out[:, channel] = (windows[:, channel] * weights[:, channel // (channels // groups)]).sum(1)
    return out[:, :, :: ddac.stride, :: ddac.stride]


@given(
    size=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 3),
    groups=st.sampled_from([1, 2, 4]),
    per_group=st.booleans(),
    blocks=st.tuples(st.integers(2, 4), st.integers(2, 4)),
    seed=st.integers(0, 99),
)
def test_ddac(size, stride, groups, per_group, blocks, seed):
    torch.manual_seed(seed)
    ddac = trained(DDAC2d(4, size, stride, groups, per_group), seed).double()
    x = torch.randn(2, 4, blocks[0] * stride, blocks[1] * stride, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(ddac(x), ddac_as_published(x, ddac), atol=1e-12, rtol=0)
        dense = DDAC2d(4, size, 1, groups, per_group).double().eval()
        dense.load_state_dict(ddac.state_dict())
        assert torch.allclose(ddac(x), dense(x)[:, :, ::stride, ::stride], atol=1e-12, rtol=0)


@pytest.mark.parametrize("per_group", [False, True])
def test_ddac_filters_sum_to_one(per_group):
    """Each on its own, or those of a position together."""
    filters = trained(DDAC2d(16, groups=8, per_group=per_group)).filters(torch.randn(2, 16, 6, 4))
    assert filters.shape == (2, 3, 2, 8, 9) and filters.min() > 0
    total = filters.sum(-1) if per_group else filters.sum((-2, -1))
    assert torch.allclose(total, torch.ones_like(total))
    assert per_group or filters.sum(-1).std() > 0.01


def test_ddac_in_training():
    """BatchNorm's statistics are those of the sampled positions, and gradients reach all parameters."""
    ddac = DDAC2d(8, 3, 2, groups=2)
    ddac.bn.momentum = 1.0
    x = torch.randn(3, 8, 6, 4)
    ddac(x).square().sum().backward()
    logits = F.conv2d(pad(x, 1, 1), ddac.conv.weight)
    assert torch.allclose(ddac.bn.running_mean, logits[..., ::2, ::2].mean((0, 2, 3)), atol=1e-6)
    assert not torch.allclose(ddac.bn.running_mean, logits.mean((0, 2, 3)), atol=1e-3)
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in ddac.parameters())


# APS and LPS


def strided_conv(stride):
    conv = nn.Conv2d(4, 6, 3, stride, 1)
    return conv, lambda x: F.conv2d(pad(x, 1, 1), conv.weight, conv.bias)


def blur():
    blur = BlurPool(4, 5)
    return blur, lambda x: F.conv2d(pad(x, 2, 2), blur.filter, groups=4)


def ddac():
    ddac = trained(DDAC2d(4, groups=2))
    dense = copy.copy(ddac)
    dense.stride = 1
    return ddac, lambda x: ddac_as_published(x, dense)


STRIDED = {  # an operation, and what it computes at stride 1
    "conv": partial(strided_conv, 2),
    "conv stride 2 x 3": partial(strided_conv, (2, 3)),
    "max pool": lambda: (nn.MaxPool2d(3, 2, 1), lambda x: F.max_pool2d(pad(x, 1, 1), 3, 1)),
    "average pool": lambda: (nn.AvgPool2d(2), lambda x: F.avg_pool2d(pad(x, 0, 1), 2, 1)),
    "subsampling": lambda: (BlurPool(4, 1), lambda x: x),
    "blur": blur,
    "ddac": ddac,
}


def stride_of(module):
    stride = module.stride
    return (stride, stride) if isinstance(stride, int) else stride


def keep_best(dense, scores, stride):
    """Of each image the component of largest score; scores (B, s * s)."""
    choices = [max(range(len(row)), key=row.__getitem__) for row in scores.tolist()]
    return torch.stack([phases(dense[b : b + 1], stride)[n][0] for b, n in enumerate(choices)]), choices


def norms(x, stride):
    return torch.stack([phase.square().sum((1, 2, 3)).sqrt() for phase in phases(x, stride)], 1)


def scores_by_loops(x, chooser):
    """LPS's scoring network over one component at a time."""
    columns = []
    for phase in phases(x, chooser.stride):
        hidden = F.relu(F.conv2d(pad(phase, 1, 1), chooser.conv1.weight, chooser.conv1.bias))
        columns.append(F.conv2d(pad(hidden, 1, 1), chooser.conv2.weight, chooser.conv2.bias).mean((1, 2, 3)))
    return torch.stack(columns, 1)


@pytest.mark.parametrize("name", STRIDED)
def test_aps(name):
    operation, dense = STRIDED[name]()
    stride = stride_of(operation)
    x = torch.randn(8, 4, 6, 12)
    model = convert_to_aps(nn.Sequential(operation).eval(), x)
    expected, choices = keep_best(dense(x), norms(dense(x), stride), stride)
    assert len(set(choices)) > 1 and torch.allclose(model(x), expected, atol=1e-5)


@pytest.mark.parametrize("name", STRIDED)
def test_lps_in_evaluation(name):
    operation, dense = STRIDED[name]()
    stride = stride_of(operation)
    x = torch.randn(8, 4, 6, 12)
    model = convert_to_lps(nn.Sequential(operation), x).eval()
    expected, choices = keep_best(dense(x), scores_by_loops(dense(x), model.mass_origin_1), stride)
    assert len(set(choices)) > 1 and torch.allclose(model(x), expected, atol=1e-5)


def recorded(module):
    """What a module returns from now on, in a list."""
    outputs = []
    module.register_forward_hook(lambda m, args, output: outputs.append(output))
    return outputs


def test_lps_in_training_mixes_the_components():
    """By weights that are random, soft and sum to 1; gradients reach the scoring network."""
    x, (conv, dense) = torch.randn(4, 4, 6, 8), strided_conv(2)
    model = convert_to_lps(nn.Sequential(conv), x).train()
    weights = recorded(model.mass_origin_1)
    first, second = model(x), model(x)
    components = phases(dense(x), (2, 2))
    for out, weight in zip((first, second), weights, strict=True):
        mean = sum(w[:, None, None, None] * phase for w, phase in zip(weight.unbind(1), components, strict=True))
        assert torch.allclose(out, mean, atol=1e-6)
        assert torch.allclose(weight.sum(1), torch.ones(4)) and weight.min() > 0 and weight.max() < 1
    assert not torch.allclose(*weights)
    first.square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in model.mass_origin_1.parameters())


def test_a_cold_gumbel_softmax_draws_one_component():
    """In proportion to the exponentials of the scores (Jang et al., 2017)."""
    scores = PolyphaseScores(2, temperature=1e-3)
    x = torch.randn(1, 2, 4, 4).expand(4000, -1, -1, -1)
    with torch.no_grad():
        drawn, probabilities = scores(x), scores.scores(x[:1]).softmax(1)[0]
    assert (drawn.amax(1) > 0.99).float().mean() > 0.98
    assert torch.allclose(drawn.mean(0), probabilities, atol=0.04)


class Branches(nn.Module):
    """Two strided branches that leave one map and meet: the first in the order of computation chooses for both."""

    def __init__(self):
        super().__init__()
        self.shortcut, self.main = nn.Conv2d(4, 6, 1, 2), nn.Conv2d(4, 6, 3, 2, 1)

    def forward(self, x):
        return self.main(x) + self.shortcut(x)

    def dense(self, x):
        main = F.conv2d(pad(x, 1, 1), self.main.weight, self.main.bias)
        return main, F.conv2d(x, self.shortcut.weight, self.shortcut.bias)


def choosers(model):
    return [name for name, _ in model.named_children() if name.startswith("mass_origin")]


def test_branches_share_the_choice():
    x, model = torch.randn(8, 4, 6, 8), Branches().eval()
    main, shortcut = model.dense(x)
    aps, lps = convert_to_aps(model, x), convert_to_lps(model, x).eval()
    assert choosers(aps) == choosers(lps) == ["mass_origin_1"]
    expected, _ = keep_best(main + shortcut, norms(main, (2, 2)), (2, 2))
    assert torch.allclose(aps(x), expected, atol=1e-5)
    expected, _ = keep_best(main + shortcut, scores_by_loops(main, lps.mass_origin_1), (2, 2))
    assert torch.allclose(lps(x), expected, atol=1e-5)
    weights = recorded(lps.train().mass_origin_1)
    out = lps(x)
    components = zip(weights[0].unbind(1), phases(main + shortcut, (2, 2)), strict=True)
    assert torch.allclose(out, sum(w[:, None, None, None] * phase for w, phase in components), atol=1e-5)


def test_a_module_called_twice_is_sampled_twice():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, 2, 1)

        def forward(self, x):
            return self.conv(self.conv(x))

    model, x = Net().eval(), torch.randn(2, 4, 8, 8)
    aps, expected = convert_to_aps(model, x), x
    for _ in range(2):
        dense = F.conv2d(pad(expected, 1, 1), model.conv.weight, model.conv.bias)
        expected, _ = keep_best(dense, norms(dense, (2, 2)), (2, 2))
    assert torch.allclose(aps(x), expected, atol=1e-5) and choosers(aps) == ["mass_origin_1", "mass_origin_2"]


# Composition

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


# FLC and TIPS


@given(stride=st.tuples(st.integers(1, 3), st.integers(1, 3)), blocks=sizes)
def test_flc_is_a_projection_on_the_lowest_frequencies(stride, blocks):
    """Against a transform written as a sum over positions, frequency by frequency; a map of low ones alone is sampled."""
    height, width = blocks[0] * stride[0], blocks[1] * stride[1]
    x = torch.randn(1, 2, height, width, dtype=torch.float64)
    rows, columns = torch.arange(height, dtype=torch.float64), torch.arange(width, dtype=torch.float64)
    expected = torch.zeros(1, 2, *blocks, dtype=torch.complex128)
    for k, m in itertools.product(*(range(-(n // 2), n - n // 2) for n in blocks)):
        wave = torch.exp(-2j * torch.pi * (k * rows[:, None] / height + m * columns / width))
        amplitude = (x * wave).mean((2, 3), keepdim=True)
        expected += amplitude * wave.conj()[:: stride[0], :: stride[1]]
    assert torch.allclose(FLC(stride)(x), expected.real, atol=1e-10)


def test_flc_of_a_slow_map_is_equivariant_to_every_shift_and_a_network_of_it_is_not():
    """What an ideal filter promises of one layer, and what the next activation does to it."""
    slow = FLC(4)(torch.randn(2, 3, 64, 64, dtype=torch.float64))  # 16 x 16, and up again without new frequencies:
    spectrum = torch.fft.fft2(slow)
    fine = torch.zeros(2, 3, 32, 32, dtype=spectrum.dtype)
    inner = [*range(8), *range(9, 16)]  # without the highest, which has no sign
    fine[:, :, [k if k < 8 else k + 16 for k in inner]] = torch.zeros(()).to(fine.dtype)
    for k, m in itertools.product(inner, inner):
        fine[:, :, k if k < 8 else k + 16, m if m < 8 else m + 16] = spectrum[:, :, k, m]
    x = torch.fft.ifft2(fine).real
    half = (
        torch.fft.fft2(FLC(2)(x))
        * torch.exp(-1j * torch.pi * torch.fft.fftfreq(16, 1 / 16, dtype=torch.float64) / 16)[:, None]
    )
    assert torch.allclose(FLC(2)(x.roll(1, 2)), torch.fft.ifft2(half).real, atol=1e-10)  # moved by half a position
    model, images = (
        nn.Sequential(strided_conv(2)[0], nn.ReLU(), nn.Conv2d(6, 6, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
        torch.randn(2, 4, 32, 32),
    )
    network = convert_to_flc(model.eval(), images)
    with torch.no_grad():
        plain, moved = network(images), network(images.roll((1, 1), (2, 3)))
    assert 1e-5 < (plain - moved).norm() / plain.norm() < 0.1


def tips_by_loops(x, tips):
    """The authors' algorithm, with circular borders: means of the frame's blocks, components column by column."""
    s = tips.stride[0]
    hidden = F.relu(F.conv2d(pad(x, 1, 1), tips.conv1.weight, groups=x.shape[1]))
    weights = (F.adaptive_avg_pool2d(hidden, s) * tips.conv2.weight.view(-1, 1, 1)).flatten(2).softmax(2)
    components = [x[:, :, k % s :: s, k // s :: s] for k in range(s * s)]
    return sum(weights[:, :, k, None, None] * components[k] for k in range(s * s))


@given(stride=st.integers(1, 3), blocks=st.tuples(st.integers(2, 4), st.integers(2, 4)))
def test_tips(stride, blocks):
    x, tips = torch.randn(2, 3, blocks[0] * stride, blocks[1] * stride), TIPS(3, stride)
    assert torch.allclose(tips(x), tips_by_loops(x, tips), atol=1e-5)


def test_tips_commutes_with_no_circular_shift():
    """Not even by its stride, or half the frame: its weights are means over blocks of the frame. MASS over it is exact."""
    torch.manual_seed(0)
    tips, x = TIPS(4), torch.randn(2, 4, 16, 16)
    for parameter in tips.parameters():
        nn.init.normal_(parameter)
    with torch.no_grad():
        for by in (2, 4, 8):
            moved, expected = tips(x.roll((by, by), (2, 3))), tips(x).roll((by // 2, by // 2), (2, 3))
            assert (moved - expected).norm() / expected.norm() > 0.05
        network = mass.convert(nn.Sequential(tips, nn.ReLU(), nn.AdaptiveAvgPool2d(1)).eval(), x)
        assert torch.equal(network(x), network(x.roll((3, 5), (2, 3))))


@pytest.mark.parametrize(("convert", "keys"), [(convert_to_flc, 0), (convert_to_tips, 4)])
def test_flc_and_tips_in_any_network(convert, keys):
    model, x = (
        nn.Sequential(strided_conv(2)[0], nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(3, 2, 1)).eval(),
        torch.randn(2, 4, 16, 16),
    )
    network = convert(model, x)
    assert network(x).shape == model(x).shape
    assert [key for key in network.state_dict() if "mass_" not in key] == list(model.state_dict())
    assert len(network.state_dict()) == len(model.state_dict()) + keys


@pytest.mark.parametrize("convert", [convert_to_flc, convert_to_tips])
def test_windows_without_padding_go_on_at_the_opposite_border(convert):
    """2 x 2 windows, as VGG's and ConvNeXt's: a dense map would be a row smaller, and FLC and TIPS need one that the stride divides."""
    model = nn.Sequential(
        nn.Conv2d(4, 6, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(6, 6, 4, 2, 1), nn.Conv2d(6, 6, 2, 2)
    ).eval()
    x = torch.randn(2, 4, 16, 24)
    network = convert(model, x)
    assert network(x).shape == model(x).shape == (2, 6, 2, 3)


class _Samples(nn.Module):
    """Every s-th row and column of a map that the stride divides."""

    def __init__(self, stride):
        super().__init__()
        self.stride = stride

    def forward(self, x):
        assert x.shape[2] % self.stride[0] == 0 == x.shape[3] % self.stride[1]
        return x[:, :, :: self.stride[0], :: self.stride[1]]


@given(kernel=st.integers(1, 4), stride=st.integers(2, 3), pools=st.booleans())
def test_a_dense_window_that_wraps_samples_what_the_strided_one_saw(kernel, stride, pools):
    """In float64, and where the strided operation gives as many rows as the stride leaves; no row of it crossed the border."""
    window = nn.MaxPool2d(kernel, stride) if pools else nn.Conv2d(4, 4, kernel, stride)
    model, x = nn.Sequential(window).double().eval(), torch.randn(1, 4, 12, 18, dtype=torch.float64)
    shape = model(x).shape
    assume(shape[2:] == (12 // stride, 18 // stride))
    network = sample_by(model, x, lambda channels, stride: _Samples(stride), wraps=True)
    assert torch.allclose(network(x), model(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: FLC(0), ValueError, "stride must be at least 1"),
        (lambda: FLC(2)(X[..., 1:]), ValueError, "width 7 is not a multiple of the period 2"),
        (lambda: FLC(2)(X.int()), TypeError, "convert with x.float"),
        (lambda: TIPS(0), ValueError, "channels must be at least 1, got 0"),
        (lambda: TIPS(4, (2, 3)), ValueError, r"samples rows and columns alike, got a stride of \(2, 3\)"),
        (lambda: TIPS(4)(X[:, :, 1:]), ValueError, "height 7 is not a multiple of the period 2"),
        (lambda: convert_to_flc(nn.Conv2d(4, 4, 3), X), mass.NotEquivariantError, "nothing in this model samples"),
        (lambda: convert_to_tips(nn.Conv2d(4, 4, 3, 2, 1), X[0]), ValueError, "add the batch axis"),
    ],
)  # fmt: skip
def test_wrong_inputs_of_flc_and_tips(build, error, message):
    with pytest.raises(error, match=message):
        build()
