"""The small ResNets and the methods of Table 2: their sizes, first weights, keys, and what each method promises."""

import functools
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from companion.figures.style import COLOURS
from companion.measures.origins import output_and_origins
from companion.models import layer_by_layer
from companion.models.cifar_resnets import CIFAR_NETS as NETS
from companion.models.methods import METHODS
from companion.training.checkpoint import load_weights
from mass.baselines.ddac import DDAC2d
from mass.baselines.lps import PolyphaseScores
from mass.errors import as_pair
from mass.nn.blurpool import BlurPool

SIZES = {"digits": 8, "resnet20": 32}
every_net = pytest.mark.parametrize("net", SIZES)
every_method = pytest.mark.parametrize("name", METHODS)


def build(net, name, seed=0):
    return METHODS[name].build(net, seed)


@functools.cache
def first(net, name):
    """A method's network as it starts, not to be changed."""
    return build(net, name)


def plain(net, name):
    """The network that a method starts from."""
    return NETS[net](filtering=METHODS[name].filtering, place=METHODS[name].place)


def pictures(net, count=4):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, NETS[net]().conv1.in_channels, SIZES[net], SIZES[net], generator=generator)


def test_no_two_methods_share_a_name_or_a_colour():
    assert len({method.printed for method in METHODS.values()}) == len(METHODS)
    assert len({method.colour for method in METHODS.values()} | {layer_by_layer.COLOUR}) == len(METHODS) + 1
    assert set(COLOURS.values()) == {method.colour for method in METHODS.values()} | {layer_by_layer.COLOUR}


@pytest.mark.parametrize(("net", "count"), [("resnet20", 272_474), ("resnet20a", 269_722), ("resnet18", 11_173_962)])
def test_parameters(net, count):
    """As published, and BlurPool adds none."""
    assert sum(p.numel() for p in NETS[net]().parameters()) == count
    assert sum(p.numel() for p in NETS[net](filtering="lpf3").parameters()) == count


@every_method
@every_net
def test_every_parameter_learns(net, name):
    model = build(net, name).train()
    F.cross_entropy(model(pictures(net)), torch.arange(4)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert any(p.grad.abs().sum() > 0 for key, p in model.named_parameters() if key.startswith("conv1"))


def calibrated(net, name):
    """In eval mode, with the BatchNorm statistics of one batch."""
    model = build(net, name)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(pictures(net, 16))
    return model.eval()


@torch.no_grad()
@every_method
@every_net
def test_what_a_method_promises(net, name):
    """MASS: the same bits under any shift. APS, LPS: the same logits. The frame's grid: only under its total stride."""
    model, x = calibrated(net, name), pictures(net, 3)
    logits, sampling = model(x), METHODS[name].sampling
    generator = torch.Generator().manual_seed(2)
    shifts = [(1, 0), (0, 1), *torch.randint(SIZES[net], (4, 2), generator=generator).tolist()]
    for t in shifts:
        moved = model(x.roll(tuple(t), (2, 3)))
        if sampling == "mass":
            assert torch.equal(moved, logits)
        elif sampling in ("aps", "aps-before", "lps"):
            assert torch.allclose(moved, logits, atol=1e-4)
    if sampling in ("frame", "zero"):
        assert (model(x.roll((1, 0), (2, 3))) - logits).abs().amax() > 1e-3
    if sampling == "frame":
        assert torch.allclose(model(x.roll((4, -8), (2, 3))), logits, atol=1e-5)


@every_method
@every_net
def test_keys_are_the_plain_network_s(net, name):
    """Conversion keeps them, and only LPS adds its own; DDAC's come on top of the plain network's."""
    keys = list(first(net, name).state_dict())
    added = [key for key in keys if key.startswith("mass_origin_")]
    assert [key for key in keys if key not in added] == list(plain(net, name).state_dict())
    assert bool(added) == (METHODS[name].sampling == "lps")
    assert all(key.split(".")[1] in ("conv1", "conv2") for key in added)
    ddac = [key for key in keys if "before" in key or "after" in key]
    assert bool(ddac) == (METHODS[name].filtering or "").startswith("ddac")
    assert set(keys) - {*added, *ddac} == set(first(net, "baseline").state_dict())


@pytest.mark.parametrize("name", METHODS)
@every_net
def test_one_seed_gives_all_methods_the_same_first_weights(net, name):
    """DDAC's filters draw theirs in between: methods with them start alike among themselves."""
    reference = "baseline" if not (METHODS[name].filtering or "").startswith("ddac") else "ddac3"
    reference += "-before" if METHODS[name].place == "before" and reference == "ddac3" else ""
    reference = reference if reference in METHODS else "mass-" + reference
    state, same = first(net, name).state_dict(), first(net, reference).state_dict()
    assert all(torch.equal(state[key], weight) for key, weight in same.items())


def test_another_seed_gives_other_weights():
    assert not torch.equal(build("digits", "mass", seed=1).conv1.weight, first("digits", "mass").conv1.weight)


@every_net
def test_methods_with_one_filter_start_from_the_same_weights(net):
    """What Table 2 compares: the frame's grid, APS and MASS, with the same filter in the same place."""
    for (name, one), (other, two) in itertools.combinations(METHODS.items(), 2):
        if (one.filtering, one.place) == (two.filtering, two.place):
            states = first(net, name).state_dict(), first(net, other).state_dict()
            assert all(torch.equal(states[0][key], states[1][key]) for key in states[0].keys() & states[1].keys())


def branches(block, main, shortcut):
    """What the block computes when its two convolutional branches start from these maps."""
    return F.relu(block.bn2(block.conv2(main)) + shortcut)


@torch.no_grad()
@pytest.mark.parametrize(("filtering", "cls"), [("lpf1", BlurPool), ("lpf3", BlurPool), ("ddac3", DDAC2d)])
def test_a_filter_after_the_convolution(filtering, cls):
    """conv, BatchNorm, ReLU, filter and sample; on the shortcut filter and sample, 1 x 1 conv, BatchNorm."""
    net, x = NETS["resnet20"](filtering=filtering, place="after").eval(), torch.rand(2, 16, 8, 8)
    block = net.layer2[0]
    blur, (conv, bn) = block.shortcut_after, block.shortcut
    assert (
        isinstance(block.after, cls)
        and isinstance(blur, cls)
        and as_pair(block.after.stride) == as_pair(blur.stride) == (2, 2)
    )
    assert block.conv1.stride == conv.stride == (1, 1) and isinstance(block.before, nn.Identity)
    main = block.after(F.relu(block.bn1(F.conv2d(x, block.conv1.weight, padding=1))))
    expected = branches(block, main, bn(F.conv2d(blur(x), conv.weight)))
    assert torch.allclose(block(x), expected, atol=1e-6)
    assert sum(isinstance(m, cls) for m in net.modules()) == 4  # two in the first block of each later stage


@torch.no_grad()
@pytest.mark.parametrize(("filtering", "cls"), [("lpf3", BlurPool), ("ddac3", DDAC2d)])
def test_a_filter_before_the_convolution(filtering, cls):
    """One dense filter of the block's input, then both strided convolutions."""
    net, x = NETS["resnet20"](filtering=filtering, place="before").eval(), torch.rand(2, 16, 8, 8)
    block = net.layer2[0]
    conv, bn = block.shortcut
    assert isinstance(block.before, cls) and as_pair(block.before.stride) == (1, 1)
    assert isinstance(block.after, nn.Identity) and isinstance(block.shortcut_after, nn.Identity)
    filtered = block.before(x)
    main = F.relu(block.bn1(F.conv2d(filtered, block.conv1.weight, stride=2, padding=1)))
    expected = branches(block, main, bn(F.conv2d(filtered, conv.weight, stride=2)))
    assert torch.allclose(block(x), expected, atol=1e-6)
    assert sum(isinstance(m, cls) for m in net.modules()) == 2


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].sampling in ("aps", "lps")])
def test_polyphase_methods_choose_behind_the_relu(name):
    """Once a block, from the main branch, as in their authors' ResNets."""
    model = first("resnet20", name)
    read = [n.args[0].target for n in model.graph.nodes if str(n.target).startswith("mass_origin_")]
    assert read == ["layer2.0.after", "layer3.0.after"]


def test_aps_as_in_its_authors_cifar_code_chooses_before_the_filter():
    """Another phase for most maps; the shortcut takes the same one; and what is sampled is filtered all the same."""
    model, x = first("resnet20", "aps-lpf3-cifar"), pictures("resnet20", 64)
    read = [n.args[0].target for n in model.graph.nodes if str(n.target).startswith("mass_origin_")]
    assert all(isinstance(node, str) and "after" not in node for node in map(str, read)) and len(read) == 2
    behind = calibrated("resnet20", "aps-lpf3")
    before = METHODS["aps-lpf3-cifar"].build("resnet20", 0).eval()
    before.load_state_dict(behind.state_dict())
    chosen = [output_and_origins(network, x)[1][0] for network in (behind, before)]
    assert (chosen[0] != chosen[1]).any(1).sum() > 16


def test_lps_annealed_cools_and_spares_its_scores():
    method, model = METHODS["lps-annealed"], build("digits", "lps-annealed")
    scores = [module for module in model.modules() if isinstance(module, PolyphaseScores)]
    seen = []
    for epoch in range(3):
        method.prepare_epoch(model, epoch, 3)
        seen.append({module.temperature for module in scores})
    assert [pytest.approx(value) for (value,) in seen] == [1.0, 0.505, 0.01]
    spared = {name for name, _ in model.named_parameters() if method.spared(name)}
    assert spared == {name for name, _ in model.named_parameters() if "mass_origin_" in name} != set()
    assert not any(METHODS["lps"].spared(name) for name in spared)


def test_a_shortcut_without_parameters():
    """Option A: every second position, and channels of zeros on both sides (He et al., 2016)."""
    block, x = NETS["resnet20a"]().layer3[0], torch.randn(2, 32, 8, 8)
    assert torch.equal(block.shortcut(x), F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 16, 16)))
    assert not block.shortcut.state_dict()


@torch.no_grad()
def test_published_weights_load(root):
    """ResNet-20 with option A's shortcuts, and MASS made of it."""
    path = root / "data/resnet20/resnet20-12fca82f.th"
    if not path.exists():
        pytest.skip(f"{path.name} has not been fetched")
    state, x = load_weights(path), pictures("resnet20")
    nets = [METHODS[name].build("resnet20a", 0).eval() for name in ("baseline-zero", "mass")]
    for net in nets:
        net.load_state_dict(state)
    assert nets[0](x).amax(1).min() > 1  # weights that were trained
    assert torch.equal(nets[1](x), nets[1](x.roll((5, 2), (2, 3))))
