"""State: what a network computes from buffers follows them; modes, hooks and methods follow their modules."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune
from torchvision.ops import FrozenBatchNorm2d

import mass

X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Standardised(nn.Module):
    """An image less its mean by its deviation, both buffers."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("std", torch.ones(3))
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, x):
        x = (x - self.mean.view(1, 3, 1, 1)) * (self.std.square() + 1e-5).rsqrt()[None, :, None, None]
        return self.conv(x).mean((2, 3))


class Frozen(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, 2, 1), FrozenBatchNorm2d(4)

    def forward(self, x):
        return self.norm(self.conv(x)).mean((2, 3))


def pickled(network):
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("kind", [Standardised, Frozen])
@pytest.mark.parametrize(
    "made",
    [lambda m: m, copy.deepcopy, pickled, lambda m: copy.deepcopy(m).double().float()],
    ids=["itself", "copy", "pickle", "cast"],
)
@pytest.mark.parametrize("assign", [False, True])
def test_loaded_buffers_are_used(kind, made, assign):
    model = kind().eval()
    network = made(mass.convert(model, X))
    for buffer in model.buffers():
        buffer.copy_(torch.rand(buffer.shape) + 0.5)
    network.load_state_dict(model.state_dict(), assign=assign)
    assert torch.equal(network(X), mass.convert(model, X)(X))


class Counting(nn.Module):
    """Its calls, in eval mode too."""

    def __init__(self):
        super().__init__()
        self.conv, self.calls = nn.Conv2d(3, 4, 3, 2, 1), nn.Buffer(torch.zeros(()))

    def forward(self, x):
        self.calls.add_(1)
        return self.conv(x).mean((2, 3)) * (1 + self.calls)


@pytest.mark.parametrize("mode", [False, True])
def test_a_counter_counts_calls_and_no_conversion(mode):
    model = Counting().train(mode)
    network = mass.convert(model, X)
    assert model.calls == network.calls == 0
    for k in range(1, 4):
        network(X)
        assert network.calls == k
    assert not mass.certify(network, X, shifts=2) and network.calls == 3  # not the same at every call


def test_an_assigned_attribute_of_a_tensor_is_no_symbols():
    """`self.weight.data = …` in forward, EEGNet's constraint: the module stays whole."""

    class Constrained(nn.Conv2d):
        def forward(self, x):
            self.weight.data = torch.renorm(self.weight.data, p=2, dim=0, maxnorm=1.0)
            return super().forward(x)

    model = nn.Sequential(Constrained(3, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    model(X)
    network = mass.convert(model, X)
    with torch.no_grad():
        network[0].weight.mul_(10)
    network(X)
    assert network[0].weight.flatten(1).norm(dim=1).max() < 1.01 and mass.certify(network, X, shifts=4)


class Storing(nn.Module):
    """Keeps what it computes where others read it, in eval mode."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, 2, 1), nn.Sequential(Head(), nn.Linear(4, 2))
        self.map, self.maps = None, []

    def forward(self, x):
        self.map, self.sizes = self.conv(x), {"image": x.shape}
        self.maps.append(self.map)
        return self.fc(self.map.relu().mean((2, 3)))


class Head(nn.Module):
    def forward(self, x):
        self.pooled = x
        return x


@pytest.mark.parametrize("convert", [mass.convert, mass.antialias, mass.baselines.convert_to_aps])
def test_what_forward_stores_is_not_read_from_the_example(convert):
    """`self.map = y` would be what it was when the model was converted; a head that is called whole stores its own."""
    made = convert(nn.Sequential(Storing(), nn.ReLU()).eval(), X)
    for network in (made, copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        with torch.no_grad():
            network(X)
        for read in (
            lambda n: n.map.shape,
            lambda n: n.map[0],
            lambda n: torch.relu(n.map),
            lambda n: len(n.maps),
            lambda n: list(n.maps),
            lambda n: bool(n.map),
            lambda n: n.sizes["image"],
        ):
            with pytest.raises(mass.NotEquivariantError, match=r"'0\.(map|maps|sizes)' is assigned in forward, and a"):
                read(network.get_submodule("0"))
        if convert is mass.convert:
            assert network[0].fc[0].pooled.shape == (len(X), 4)


class Checkpointed(nn.Sequential):
    def set_grad_checkpointing(self, enable=True):
        self.checkpointed = enable


def test_checkpointing_cannot_be_turned_on_afterwards():
    network = mass.convert(Checkpointed(nn.Conv2d(3, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1)).eval(), X)
    with pytest.raises(mass.NotEquivariantError, match="checkpoint the converted network as a whole"):
        network.set_grad_checkpointing(True)


class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, x):
        return F.dropout(self.conv(x), 0.5, self.training)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.head = Dropping(), nn.Linear(4, 3)

    def features(self, x):
        return F.dropout(self.encoder(x), 0.5, self.training)

    def forward(self, x):
        return self.head(self.encoder(x).mean((2, 3)))


def is_random(function):
    return not torch.equal(function(X), function(X))


@pytest.mark.parametrize("root", [False, True])
@pytest.mark.parametrize("part", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_functional_dropout_follows_the_module_that_calls_it(root, part, before):
    model = Encoder()
    network = mass.convert(model, X)
    for each in (model, network):
        each.train(root)
        each.encoder.train(part)
    network = mass.convert(model, X) if before else network
    for each in (network, copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert is_random(each) == is_random(model) == part


@pytest.mark.parametrize("converted", [False, True])
@pytest.mark.parametrize("now", [False, True])
def test_methods_have_the_networks_mode_and_hooks(converted, now):
    network = mass.convert(Encoder().train(converted), X, methods=("features",)).train(now)
    assert is_random(network.features) == is_random(network) == now
    network.eval()
    features = network.features(X)
    handle = network.encoder.conv.register_forward_hook(lambda module, given, output: 2 * output)
    assert torch.equal(network.features(X), 2 * features)
    handle.remove()
    prune.l1_unstructured(network.encoder.conv, "weight", 0.5)
    assert torch.allclose(network.head(network.features(X).mean((2, 3))), network(X), atol=1e-5)


def test_methods_refuse_what_they_cannot_follow():
    network = mass.convert(Encoder().eval(), X, methods=("features",))
    parametrizations.weight_norm(network.encoder.conv)
    with pytest.raises(mass.NotEquivariantError, match="'encoder.conv' was parametrized, which a method"):
        network.features(X)

    class Sampling(Encoder):
        def features(self, x):
            y = self.encoder(x)
            return y + torch.randn_like(y) if self.training else y

    network = mass.convert(Sampling().eval(), X, methods=("features",))
    network.features(X)
    with pytest.raises(mass.NotEquivariantError, match="converted for evaluation alone"):
        network.train().features(X)


class Held(nn.Module):
    """`train` leaves its normalisation in eval mode."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        return self.norm(self.conv(x)).mean((2, 3))

    def train(self, mode=True):
        super().train(mode)
        self.norm.eval()
        return self


@pytest.mark.parametrize("mode", [False, True])
def test_a_train_of_its_own_is_the_networks(mode):
    network = mass.convert(Held().train(mode), X).train()
    assert network.training and network.conv.training and not network.norm.training


def rename(module, state, prefix, *_):
    for name in [name for name in state if name.startswith(f"{prefix}old_")]:
        state[prefix + name.removeprefix(f"{prefix}old_")] = state.pop(name)


@pytest.mark.parametrize("place", ["", "conv", "norm"])
def test_hooks_on_state_dicts_go_along(place):
    model = Held().eval()
    model.get_submodule(place).register_load_state_dict_pre_hook(rename)
    network = mass.convert(model, X)
    prefix = f"{place}." if place else ""
    state = {
        f"{prefix}old_{n.removeprefix(prefix)}" if n.startswith(prefix) else n: v for n, v in model.state_dict().items()
    }
    for each in (network, copy.deepcopy(network)):
        each.load_state_dict(state)


class Collecting(Dropping):
    """Keeps its maps."""

    def __init__(self):
        super().__init__()
        self.found, self.named = ["first"], {}

    def forward(self, x):
        y = self.conv(x)
        self.found.append(y)
        self.named["y"] = y
        return y.mean((2, 3))


def test_what_a_model_collects_in_lists_holds_no_symbols():
    model = Collecting().eval()
    network = mass.convert(model, X)
    assert model.found == ["first"] and model.named == {}
    assert repr([network.found, network.named]) == "[NotStored('found'), NotStored('named')]"
    for copied in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(copied(X), network(X))


def test_replicas_of_data_parallel():
    """As torch.nn.parallel.replicate makes them, which needs GPUs."""
    network = mass.convert(nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1)), nn.AdaptiveAvgPool2d(1)).eval(), X)
    modules = list(network.modules())
    replicas = [module._replicate_for_data_parallel() for module in modules]
    for module, replica in zip(modules, replicas, strict=True):
        for name, child in module._modules.items():
            setattr(replica, name, replicas[modules.index(child)])
        for name, parameter in module._parameters.items():
            setattr(replica, name, parameter if parameter is None else parameter.detach().clone())
    assert torch.equal(replicas[0](X), network(X))


@pytest.mark.parametrize("activation", [nn.ELU, nn.SELU, nn.CELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.LeakyReLU])
def test_activations_in_place_train_and_call_their_hooks_once(activation):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), activation(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network, apart = mass.convert(model, X), mass.convert(copy.deepcopy(model), X)
    apart[1].inplace = False
    for each in (network, apart):
        each(X).square().sum().backward()
    assert torch.equal(network[0].weight.grad, apart[0].weight.grad)
    before = network(X)
    network[1].register_forward_hook(lambda module, given, output: 2 * output)
    assert torch.allclose(network(X), 2 * before)


def test_what_happens_to_have_the_images_sizes_is_no_map():
    class Spoken(nn.Module):
        """Audio beside an embedding of its speaker, as long as the example."""

        def __init__(self):
            super().__init__()
            self.conv, self.linear = nn.Conv1d(1, 4, 3, 2, 1), nn.Linear(64, 4)

        def forward(self, x, speaker):
            return self.conv(x).relu().mean(2) * self.linear(speaker)

    audio, speaker = torch.randn(2, 1, 64), torch.randn(2, 64)
    with pytest.raises(mass.NotEquivariantError, match=r"'speaker': it has the images' sizes, \(2, 64\)"):
        mass.convert(Spoken().eval(), (audio, speaker))
    longer = torch.randn(2, 1, 128), speaker
    assert mass.certify(mass.convert(Spoken().eval(), longer), longer, shifts=8)
