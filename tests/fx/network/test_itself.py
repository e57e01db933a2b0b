"""A converted model stays itself: its class and data, its structure, its hooks, its methods."""

import copy
import pickle

import pytest
import torch
import torchvision
from torch import nn

import mass

X = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
REFUSED = mass.NotEquivariantError


@pytest.fixture(scope="module")
def resnet():
    return torchvision.models.resnet18().eval()


@pytest.fixture
def converted(resnet):
    return mass.convert(resnet, X, verify=False)


def copies(model):
    pickled = pickle.loads(pickle.dumps(model))
    return [
        model,
        copy.deepcopy(model),
        copy.copy(model),
        pickled,
        copy.deepcopy(pickled),
        pickle.loads(pickle.dumps(pickled)),
    ]


def test_it_is_an_instance_of_the_original_s_class_with_its_data(resnet, converted, tmp_path):
    torch.save(converted, tmp_path / "model.pt")
    expected = converted(X)
    for again in (*copies(converted), torch.load(tmp_path / "model.pt", weights_only=False)):
        assert isinstance(again, torchvision.models.ResNet) and type(again).__name__ == "MassResNet"
        assert (again.inplanes, again.groups, again.base_width) == (512, 1, 64)
        assert torch.equal(again(X), expected) and again.total_stride == (32, 32)


def test_timm_s_data_survive():
    timm = pytest.importorskip("timm")
    model = timm.create_model("resnet10t", num_classes=7).eval()
    converted = mass.convert(model, X, verify=False)
    for again in copies(converted):
        assert again.default_cfg == model.default_cfg and again.num_classes == 7
        assert again.feature_info == model.feature_info and again.get_classifier() is again.fc
        with pytest.raises(
            REFUSED, match=r"forward_features of this network is not converted; convert it with mass.convert"
        ):
            again.forward_features(X)


def test_methods_given_tensors_refuse_others_pass(converted):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head, self.name = nn.Conv2d(3, 4, 3, 2, 1), nn.Linear(4, 2), "net"
            self.alias = self.describe

        def features(self, x):
            return self.conv(x)

        def classes(self):
            return self.head.out_features

        def describe(self):
            return f"{self.name} of {self.classes()} classes"

        @staticmethod
        def double(x):
            return 2 * x

        def forward(self, x):
            return self.head(self.features(x).mean((2, 3)))

    model = mass.convert(Net().eval(), X)
    for again in (model, copy.deepcopy(model)):
        assert (
            isinstance(again, Net) and again.classes() == 2 and again.describe() == again.alias() == "net of 2 classes"
        )
        assert torch.equal(again.double(X), 2 * X)
        for args, kwargs in (((X,), {}), ((), {"x": X}), (([{"x": X}],), {})):
            with pytest.raises(REFUSED, match="features of this network is not converted"):
                again.features(*args, **kwargs)
        again.name = "other"
        assert again.describe() == "other of 2 classes"


def test_heads_can_be_replaced():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU())
            self.classifier = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3))

        def forward(self, x):
            return self.classifier(self.features(x).mean((2, 3)))

    converted = mass.convert(Net().eval(), X)
    assert [str(n.target) for n in converted.graph.nodes][-2:] == ["classifier", "output"]
    heard = []
    with converted.classifier[0].register_forward_hook(lambda *call: heard.append(call[2].shape)):
        converted(X)
    assert heard == [(2, 8)]
    for again in copies(converted):
        again.classifier = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 5))
        assert again(X).shape == (2, 5) and "classifier.1.weight" in again.state_dict()
        assert torch.equal(again(X), again(X.roll((3, 5), (2, 3))))


def test_a_head_on_flattened_positions_is_replaced():
    x = torch.randn(1, 3, 192, 192)
    converted = mass.convert(torchvision.models.alexnet().eval(), x, verify=False)
    converted.classifier = nn.Sequential(nn.Linear(9216, 8), nn.Linear(8, 5))
    assert converted(x).shape == (1, 5) and torch.equal(converted(x), converted(x.roll((3, 5), (2, 3))))


def test_a_head_in_a_container_is_replaced_too(converted):
    converted.fc = nn.Sequential(nn.Linear(512, 8), nn.Linear(8, 5))
    assert converted(X).shape == (2, 5)
    assert mass.certify(converted, X, 3).identical.all()


@pytest.mark.parametrize(
    ("replace", "at_once", "message"),
    [
        (lambda m: setattr(m, "layer4", nn.Identity()), True, "'layer4' cannot become Identity: the converted network holds the inside"),
        (lambda m: setattr(m, "conv1", nn.Conv2d(3, 64, 7, 2, 3)), True, "'conv1' cannot become Conv2d: maps pass there"),
        (lambda m: setattr(m.layer1[0], "conv1", nn.Conv2d(64, 64, 3)), False, "'layer1.0.conv1' cannot become Conv2d: maps"),
        (lambda m: m.layer1.__setitem__(0, nn.Identity()), False, "'layer1.0' cannot become Identity: the converted"),
        (lambda m: delattr(m.layer1[1], "bn2"), False, "'layer1.1.bn2' cannot become nothing"),
        (lambda m: m.layer4(X), True, "'layer4' is part of the converted network, and was not converted for itself"),
    ],
)  # fmt: skip
def test_what_the_graph_relies_on_cannot_be_replaced(converted, replace, at_once, message):
    for again in (converted, pickle.loads(pickle.dumps(converted))):
        with pytest.raises(REFUSED, match=message):
            replace(again)
            assert not at_once
            again(X)


def test_batch_norms_may_be_synchronised(converted):
    again = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(converted))
    assert torch.equal(again(X), converted(X))


def test_hooks_on_containers_are_called_at_their_places(resnet, converted):
    """As the original calls them: the same modules in the same order, with values of the same shapes."""

    def listen(model):
        heard = []
        for name, module in model.named_modules():
            if name and not name.startswith("mass_"):
                module.register_forward_pre_hook(
                    lambda m, args, name=name: heard.append(("before", name, args[0].shape))
                )
                module.register_forward_hook(lambda m, args, y, name=name: heard.append((name, args[0].shape, y.shape)))
        return heard

    expected = converted(X)
    for again in (copy.deepcopy(converted), pickle.loads(pickle.dumps(converted))):
        plain = copy.deepcopy(resnet)
        ours, theirs = listen(again), listen(plain)
        assert torch.equal(again(X), expected)
        plain(X)
        assert ours == theirs and len(ours) > 100


def test_hooks_read_and_replace_what_a_container_returns(converted):
    maps = []
    handle = converted.layer4.register_forward_hook(lambda m, args, y: maps.append(y))
    y = converted(X)
    handle.remove()
    assert torch.allclose(converted.fc(maps[0].mean((2, 3))), y, atol=1e-4)
    handle = converted.layer4.register_forward_hook(lambda m, args, y: y * 0)
    assert torch.equal(converted(X), converted.fc.bias.expand(2, -1))
    handle.remove()
    assert torch.equal(converted(X), y)
    with converted.layer3.register_forward_hook(lambda m, args, kwargs, y: maps.append(kwargs), with_kwargs=True):
        converted(X)
    assert maps[1] == {}


@pytest.mark.parametrize(
    ("register", "message"),
    [
        (lambda m: m.layer4.register_full_backward_hook(lambda *_: None), "backward hooks on 'layer4'"),
        (
            lambda m: m.layer4.register_forward_pre_hook(lambda m, args: (args[0] * 2,)),
            "a pre-hook on 'layer4' changes",
        ),
    ],
)
def test_hooks_that_cannot_be_called_are_refused(converted, register, message):
    register(converted)
    with pytest.raises(REFUSED, match=message):
        converted(X)


def test_hooks_that_the_model_has_are_called_and_not_traced():
    heard = []
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU()), nn.AdaptiveAvgPool2d(1)).eval()
    for module in (model, model[0], model[0][0]):
        module.register_forward_hook(lambda m, args, y: heard.append(type(y)))
    converted = mass.convert(model, X)
    heard.clear()
    converted(X)
    assert heard == [torch.Tensor] * 3


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 4, 3, 2, 1), nn.ConvTranspose2d(4, 3, 4, 2, 1)
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("mean", torch.tensor(0.5))
        self.norm, self.head = nn.BatchNorm2d(4), nn.Linear(4, 2)

    def encode(self, x):
        return self.norm(self.down((x - self.mean) * self.scale))

    def classify(self, x, bias=0.0):
        return self.head(self.encode(x).mean((2, 3))) + bias

    def forward(self, x):
        return self.up(self.encode(x))


def test_methods_are_converted_over_the_same_parameters():
    model = Autoencoder().eval()
    converted = mass.convert(model, X, methods=("encode", "classify"))
    assert list(converted.state_dict()) == list(model.state_dict())
    for again in (copy.deepcopy(converted), pickle.loads(pickle.dumps(converted)), converted):
        with torch.no_grad():
            assert torch.equal(again.classify(X), again.classify(X.roll((3, 5), (2, 3))))
            assert mass.certify(again.mass_networks["encode"], X, 4).identical.all()
            circular = mass.convert(model, X, origin="zero", methods=("encode",))
            assert torch.allclose(circular.encode(X)[..., 1:-1, 1:-1], model.encode(X)[..., 1:-1, 1:-1], atol=1e-5)
            before = again.classify(X)
            state = {name: value + 1 for name, value in again.state_dict().items()}
            again.load_state_dict(state)
            assert not torch.equal(again.classify(X), before)
            again.double()
            assert again.classify(X.double()).dtype == torch.float64
        again.head = nn.Linear(4, 7).double()
        assert again.classify(X.double()).shape == (2, 7)
        again.train()
        again.classify(X.double()).sum().backward()
        assert again.down.weight.grad is not None and again.norm.num_batches_tracked == 2
        with pytest.raises(TypeError, match="bias is 0.0 in this converted network"):
            again.classify(X, bias=1.0)


def test_methods_with_inputs_of_their_own():
    class Coder(Autoencoder):
        def decode(self, z):
            return self.up(z)

    z = torch.randn(2, 4, 32, 48)
    converted = mass.convert(Coder().eval(), X, methods={"decode": z})
    assert mass.certify(converted.mass_networks["decode"], z, 4).identical.all()
    assert torch.equal(converted.decode(z.roll((3, 5), (2, 3))), converted.decode(z).roll((6, 10), (2, 3)))
    with pytest.raises(REFUSED, match="encode of this network is not converted"):
        converted.encode(X)
    with pytest.raises(AttributeError, match="Coder has no method 'code'"):
        mass.convert(Coder().eval(), X, methods=("code",))


class Named(nn.Module):
    """A layer of any name."""

    def __init__(self, name):
        super().__init__()
        self.first, self.name = nn.Conv2d(3, 4, 3, 2, 1), name
        setattr(self, name, nn.Conv2d(4, 4, 3, 2, 1))

    def forward(self, x):
        return getattr(self, self.name)(self.first(x)).mean((2, 3))


@pytest.mark.parametrize("name", ["become", "adopt", "run_method", "outputs", "calls", "source", "places"])
def test_layers_may_have_any_name(name):
    model = Named(name).eval()
    converted = mass.convert(model, X)
    assert list(converted.state_dict()) == list(model.state_dict())
    for again in (converted, copy.deepcopy(converted), pickle.loads(pickle.dumps(converted))):
        assert torch.equal(again(X), again(X.roll((3, 5), (2, 3))))
        assert torch.equal(again(X), converted(X)) and isinstance(getattr(again, name), nn.Conv2d)


@pytest.mark.parametrize("name", ["graph", "code", "meta", "recompile", "total_stride", "mass_origin_1"])
def test_but_for_those_of_a_graph_module(name):
    with pytest.raises(ValueError, match=rf"something called '{name}', a name that every .*rename it\.$"):
        mass.convert(Named(name).eval(), X)
