"""`convert`: the copy behaves as the original in all but equivariance, and refuses what it cannot convert."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import mass
from companion.models.random_weights import calibrated
from mass.fx.network.converted import Converted
from mass.nn.conv import CircularConv2d
from mass.nn.exact import ExactMean
from mass.nn.pooling import CircularMaxPool2d

X = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def resnet():
    return calibrated("resnet18")


@pytest.fixture(scope="module")
def converted(resnet):
    return mass.convert(resnet, X)


def test_the_original_is_untouched(resnet, converted):
    assert type(resnet) is torchvision.models.ResNet and type(resnet.conv1) is nn.Conv2d
    before = resnet(X)
    converted.conv1.weight.data.add_(1)
    assert torch.equal(resnet(X), before)
    converted.conv1.weight.data.sub_(1)
    converted.load_state_dict(resnet.state_dict())


@pytest.mark.parametrize(
    "name", ["resnet50", "mobilenet_v3_small", "convnext_tiny", "densenet121", "shufflenet_v2_x0_5"]
)
def test_same_keys_in_the_same_order(name):
    model = torchvision.models.get_model(name, weights=None)
    assert list(mass.convert(model, X, verify=False).state_dict()) == list(model.state_dict())


def test_the_graph_shows_what_was_done(converted):
    assert isinstance(converted, torch.fx.GraphModule)
    targets = [str(n.target) for n in converted.graph.nodes]
    assert sum(t.startswith("mass_origin_") for t in targets) == 5
    reads = [n for n in converted.graph.nodes if str(n.target).split(".")[-1] in ("conv1", "maxpool", "0")]
    assert any("mass_origin" in str(n.kwargs.get("origin")) for n in reads) and converted.total_stride == (32, 32)


def test_zero_origin_is_the_circular_network(resnet):
    """With the frame's own origin: the plain model with circular borders and exact means, bit for bit."""
    reference = copy.deepcopy(resnet)
    for name, module in list(reference.named_modules()):
        if type(module) is nn.Conv2d:
            module.__class__ = CircularConv2d
        elif type(module) is nn.MaxPool2d:
            reference.set_submodule(name, CircularMaxPool2d(3, 2, 1))
        elif type(module) is nn.AdaptiveAvgPool2d:
            reference.set_submodule(name, ExactMean())
    assert torch.equal(mass.convert(resnet, X, origin="zero")(X), reference(X))


def test_aligned_input_needs_no_conversion(converted, resnet):
    """The operations are untouched: an image at its own origin gives what the circular network gives."""
    with mass.record_origins(converted) as passes:
        logits = converted(X)
    assert all(found.period == (2, 2) for found in passes[0])
    total = sum(found.origin * 2**k for k, found in enumerate(passes[0]))
    assert torch.equal(mass.convert(resnet, X, origin="zero")(mass.shift(X, total)), logits)


def test_equal_flops():
    model = calibrated(
        "resnet50"
    ).bfloat16()  # float64 products are padded to sixteen positions, oneDNN's float32 is not counted
    x = X.bfloat16()

    def flops(model):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(x)
        return counter.get_total_flops()

    assert flops(mass.convert(model, x)) == flops(model) > 1e9


@pytest.mark.parametrize("rule", mass.RULES)
def test_every_rule(resnet, rule):
    model = mass.convert(resnet, X, origin=rule)
    assert mass.certify(model, X, shifts=4).identical.all()


def test_copies_and_pickles(converted):
    expected = converted(X)
    assert torch.equal(copy.deepcopy(converted)(X), expected)
    restored = pickle.loads(pickle.dumps(converted))
    assert mass.certify(restored, X, shifts=3).identical.all()
    for again in (restored, copy.deepcopy(restored), pickle.loads(pickle.dumps(restored))):
        assert isinstance(again, Converted) and type(again).__name__ == type(converted).__name__ == "MassResNet"
        assert torch.equal(again(X), expected) and again.total_stride == (32, 32)
        assert list(again.state_dict()) == list(converted.state_dict())
        with pytest.raises(ValueError, match="was converted before"):
            mass.convert(again, X)


def test_training(resnet):
    model = mass.convert(resnet, X).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    running = model.bn1.running_mean.clone()
    losses = []
    for _ in range(4):
        loss = F.cross_entropy(model(X), torch.tensor([1, 2]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] and not torch.equal(running, model.bn1.running_mean)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert mass.certify(model.eval(), X, shifts=4).identical.all()


class Drop(nn.Module):
    def forward(self, x):
        return x * torch.rand([x.shape[0], 1, 1, 1]) if self.training else x


def test_what_trains_otherwise_is_converted_for_evaluation():
    """Given in eval mode, a model that draws at random in training, in a way that cannot be traced."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), Drop(), nn.AdaptiveAvgPool2d(1)).eval()
    converted = mass.convert(model, X)
    copied, pickled = copy.deepcopy(converted), pickle.loads(pickle.dumps(converted))
    assert mass.certify(copied, X, shifts=3).identical.all()
    for again in (converted, copied, pickled, copy.deepcopy(pickled)):
        with pytest.raises(mass.NotEquivariantError, match="converted for evaluation alone"):
            again.train()
    with pytest.raises(mass.NotEquivariantError, match="could not be traced|in training the model"):
        mass.convert(model.train(), X)


def test_training_follows_the_flag_in_dropout():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.drop = nn.Conv2d(3, 64, 3, 2, 1), nn.Dropout2d(0.5)
            self.unused = nn.Linear(3, 3)

        def forward(self, x):
            return F.dropout(self.drop(self.conv(x)).mean((2, 3)), 0.5, self.training)

    model = mass.convert(Net().train(), X)
    assert model.training and (model(X) == 0).float().mean() > 0.5
    assert (model.eval()(X) == 0).float().mean() == 0
    assert "unused.weight" in model.state_dict()


def test_amp_and_channels_last(converted):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert converted(X).dtype == torch.bfloat16
        assert mass.certify(converted, X, shifts=4).identical.all()
    x = X.contiguous(memory_format=torch.channels_last)
    model = copy.deepcopy(converted).to(memory_format=torch.channels_last)
    assert mass.certify(model, x, shifts=4).identical.all()
    assert torch.allclose(model(x), converted(X), atol=1e-4)


def test_compiles_without_a_graph_break(converted):
    compiled = torch.compile(converted, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert torch.allclose(compiled(X), converted(X), atol=1e-5)
    assert compiled(X).grad_fn is not None


def test_forward_inspects_no_value(converted):
    """Under fake tensors there are no values: whoever asks for one fails."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert converted(mode.from_tensor(X)).shape == (2, 1000)


def test_distributed_data_parallel(converted, tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model = nn.parallel.DistributedDataParallel(copy.deepcopy(converted).train())
        model(X).sum().backward()
        assert model.module.conv1.weight.grad is not None
    finally:
        torch.distributed.destroy_process_group()


def test_other_sizes_and_batches(converted):
    for shape in [(1, 3, 32, 32), (5, 3, 96, 64)]:
        assert mass.certify(converted, torch.randn(shape), shifts=3).identical.all()
    with pytest.raises(
        ValueError, match="height 50 of the input is not a multiple of the total stride 32; 32 or 64 would do"
    ):
        converted(torch.randn(1, 3, 50, 64))


def test_modules_called_twice_and_parametrised():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 3, 2, 1))
            self.act, self.head = nn.SiLU(inplace=True), nn.Linear(3, 4)

        def forward(self, x):
            return self.head(self.act(self.conv(self.act(self.conv(x)))).mean((2, 3)))

    model = Net().eval()
    converted = mass.convert(model, X)
    assert list(converted.state_dict()) == list(model.state_dict())
    assert mass.certify(converted, X).identical.all()


def test_in_place_operations_keep_their_order():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(3, 4, 3, 2, 1)

        def forward(self, x):
            x = x + 0
            first = self.a(x)
            x = F.relu(x, inplace=True)
            x *= 2
            return (first + self.b(x)).mean((2, 3))

    model = Net().eval()
    zero = mass.convert(model, X, origin="zero")
    pad = nn.functional.pad
    a, b = (
        F.conv2d(pad(v, (1, 1, 1, 1), "circular")[..., :-1, :-1], m.weight, m.bias, 2)
        for v, m in ((X, model.a), (X.relu() * 2, model.b))
    )
    assert torch.allclose(zero(X), (a + b).mean((2, 3)), atol=1e-5)
    assert mass.certify(mass.convert(model, X), X, shifts=6).identical.all()


def test_flatten_has_the_whole_map_as_its_period():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 16 * 24, 5)
    ).eval()
    assert mass.certify(mass.convert(model, X), X).identical.all()


def test_two_images():
    """What ties in one image may be told apart by the other."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(3, 4, 3, 2, 1)

        def forward(self, x, y):
            return (self.a(x) * self.b(y)).mean((2, 3))

    constant = torch.ones_like(X)
    model = mass.convert(Net().eval(), (constant, X))
    for t in ((1, 0), (0, 1), (5, 7)):
        assert torch.equal(model(constant, X), model(constant, X.roll(t, (2, 3))))


@pytest.mark.parametrize(
    "write",
    [lambda x: F.silu(x, inplace=True), lambda x: x.relu_(), lambda x: x.mul_(2.0), lambda x: x.sub_(0.5).div_(0.2), lambda x: x.clamp_(0, 1)],
)  # fmt: skip
def test_a_model_may_write_to_its_input_and_the_example_stays(write):
    class Writes(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, 2, 1)

        def forward(self, x):
            return self.conv(write(x)).mean((2, 3))

    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    example, model = x.clone(), Writes().eval()
    network = mass.convert(model, example)
    assert torch.equal(example, x)
    plain = mass.convert(model, example, origin="zero")
    assert torch.equal(network(x.clone()), network(x.roll((3, 5), (2, 3)))) and plain(x.clone()).shape == (2, 4)


def test_parameters_of_many_networks_are_mapped_over():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 1, 1, groups=4), nn.AdaptiveAvgPool2d(1)).eval()
    x = torch.randn(2, 3, 16, 16)
    network = mass.convert(model, x)
    stacked = {name: torch.stack([p, 2 * p]) for name, p in network.named_parameters()}
    found = torch.func.vmap(lambda p: torch.func.functional_call(network, p, (x,)))(stacked)
    assert torch.allclose(found[0], network(x), atol=1e-6)
