"""What other tools make of a converted network, and what is said of models that were in their hands before."""

import copy
import threading

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

import mass

X = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def resnet():
    return torchvision.models.resnet18().eval()


@pytest.fixture(scope="module")
def converted(resnet):
    return mass.convert(resnet, X)


def test_feature_extractors(converted):
    maps = []
    with converted.layer2.register_forward_hook(lambda m, args, y: maps.append(y)):
        logits = converted(X)
    features = create_feature_extractor(converted, ["layer2", "fc"])(X)
    assert torch.equal(features["layer2"], maps[0]) and torch.equal(features["fc"], logits)


def fused(model):
    from torch.fx.experimental.optimization import fuse

    return fuse(model)


def functional(model):
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    return lambda x: torch.func.functional_call(model, tensors, (x,))


def exported(model):
    batch = torch.export.Dim("batch", min=1, max=16)
    program = torch.export.export(model, (X,), dynamic_shapes=({0: batch},)).module()
    again = program(X.repeat(2, 1, 1, 1))  # kernels are chosen by the size of a batch, and may round otherwise
    assert torch.allclose(again[2:], program(X), rtol=1e-5, atol=1e-5) and torch.equal(again[2:], again[:2])
    return program


TOOLS = {
    "torch.fx": torch.fx.symbolic_trace,
    "conv-bn fusion": fused,
    "torch.export": exported,
    "torch.jit": lambda model: torch.jit.trace(model, X, check_trace=False),
    "torch.func": functional,
    "vmap": lambda model: lambda x: torch.func.vmap(lambda image: model(image[None])[0])(x),
    "torch.compile": lambda model: torch.compile(model, backend="aot_eager", fullgraph=True),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TOOLS)
def test_the_same_network_after_other_tools(converted, name):
    with torch.no_grad():
        expected, tool = converted(X), TOOLS[name](copy.deepcopy(converted))
        assert torch.allclose(tool(X), expected, rtol=1e-5, atol=1e-5)
        assert torch.allclose(tool(X.roll((5, 9), (2, 3))), expected, rtol=1e-5, atol=1e-5)


def test_retraced_networks_refuse_other_sizes_too():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, 2, 1)

        def forward(self, x):
            return self.conv(x if x.shape[2] < 100 else 2 * x).mean((2, 3))

    retraced = torch.fx.symbolic_trace(mass.convert(Net().eval(), X))
    retraced.graph.eliminate_dead_code()
    retraced.recompile()
    with pytest.raises(ValueError, match="would decide otherwise"):
        retraced(torch.randn(1, 3, 128, 128))


def test_no_values_are_needed(resnet, converted):
    assert copy.deepcopy(converted).to("meta")(X.to("meta")).shape == (2, 1000)
    bare = copy.deepcopy(resnet).to("meta")
    assert mass.convert(bare, X.to("meta"), verify=False).total_stride == (32, 32)
    with pytest.raises(ValueError, match="the meta device have no values to verify with; give verify=False"):
        mass.convert(bare, X.to("meta"))


def test_threads_convert_at_once(resnet, converted):
    found, asked = {}, torch.is_autocast_enabled

    def work(k):
        found[k] = mass.convert(resnet, X, verify=k % 2 == 0)(X)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(found) == 4 and all(torch.equal(y, converted(X)) for y in found.values())
    assert torch.is_autocast_enabled is asked  # what is patched while a model is traced is as it was


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (nn.DataParallel, "wrapped in DataParallel; convert model.module"),
        (torch.compile, "was compiled; convert model._orig_mod"),
        (lambda m: torch.jit.trace(m, X), "is TorchScript"),
    ],
)
def test_wrapped_models_say_what_to_convert(resnet, wrap, message):
    with pytest.raises(TypeError, match=message):
        mass.convert(wrap(resnet), X)


def test_scripted_parts_are_named():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), torch.jit.script(nn.Conv2d(4, 4, 3, 1, 1)))
    with pytest.raises(TypeError, match="submodule '1' is TorchScript, which cannot be traced; put the module there"):
        mass.convert(model, X)


class OwnDetector(nn.Module):
    """None of torchvision's (mass.detection): it decides by values what it computes."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, x):
        features = self.backbone(x)
        return features if features.max() > 0 else features[:0]


def test_other_detectors_name_their_backbone(resnet):
    detector = OwnDetector(nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu)).eval()
    with pytest.raises(mass.NotEquivariantError, match="convert its backbone alone: model.backbone = mass.convert"):
        mass.convert(detector, X)
    detector.backbone = mass.convert(detector.backbone, X, verify=False)
    assert isinstance(detector.backbone, nn.Module) and detector(X).shape[1] == 64
