"""APS and LPS: each keeps, or mixes, the components that an obvious loop does; branches share the choice."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from loops import choosers, ddac_as_published, pad, phases, strided_conv, trained
from torch import nn

from mass.baselines.aps import APS, convert_to_aps
from mass.baselines.ddac import DDAC2d
from mass.baselines.lps import PolyphaseScores, convert_to_lps
from mass.nn.blurpool import BlurPool


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


@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_does_not_tie_norms(autocast):
    """Norms of bfloat16 maps are compared as float32 numbers: the phase is that of the same values in float64."""
    x = torch.randn(64, 16, 16, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        assert torch.equal(APS(2).index(x), APS(2).index(x.double()))
