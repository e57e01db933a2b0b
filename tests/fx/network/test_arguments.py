"""Arguments: a converted network is called as the model is, by position and by name, with the model's defaults."""

import copy
import pickle

import pytest
import torch
from torch import nn

import mass
from mass.baselines.aps import convert_to_aps
from mass.baselines.lps import convert_to_lps

X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, x, scale=1.0):
        return self.conv(x) * scale


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.scaled = Scaled()

    def forward(self, x, scale=1.0, flag=False, mask=None, **others):
        y = self.scaled(x, scale=2.0) * scale
        if "extra" in others:
            y = y + others["extra"].mean()
        y = y + 1 if flag else y
        return {"logits": y.mean((2, 3)), "maps": (y,)}


class Several(nn.Module):
    def __init__(self):
        super().__init__()
        self.scaled = Scaled()

    def forward(self, *args):
        return self.scaled(*args).mean((2, 3))


def test_defaults_may_be_given_and_nothing_else():
    converted = mass.convert(Net().eval(), X)
    expected = converted(X)["logits"]
    for again in (converted, copy.deepcopy(converted), pickle.loads(pickle.dumps(converted))):
        for args, kwargs in [((X,), {}), ((X, 1.0), {}), ((X, 1.0, False, None), {}), ((), {"x": X, "scale": 1.0})]:
            assert torch.equal(again(*args, **kwargs)["logits"], expected)
        for args, kwargs in [((X, 3.0), {}), ((X,), {"scale": 3.0}), ((X, 1.0, True), {}), ((X,), {"mask": X})]:
            with pytest.raises(TypeError, match="in this converted network, got .*; convert the model with an example"):
                again(*args, **kwargs)
        with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
            again(X, other=1)


def test_what_the_example_gives_is_an_input():
    model = Net().eval()
    converted = mass.convert(model, {"x": X, "scale": 2.0})
    twice = converted(X, scale=2.0)["logits"]
    assert torch.equal(converted(X, 2.0)["logits"], twice) and torch.equal(converted(scale=2.0, x=X)["logits"], twice)
    assert torch.allclose(converted(X)["logits"] * 2, twice)  # the default is the model's
    flagged = mass.convert(model, {"x": X, "flag": True})
    assert torch.allclose(flagged(X, flag=True)["logits"], converted(X)["logits"] + 1, atol=1e-6)
    with pytest.raises(ValueError, match="would decide otherwise"):
        flagged(X, flag=False)
    extra = mass.convert(model, {"x": X, "extra": X})
    assert torch.allclose(extra(X, extra=X + 1)["logits"], converted(X)["logits"] + (X + 1).mean(), atol=1e-6)


def test_arguments_without_names():
    converted = mass.convert(Several().eval(), (X, 3.0))
    assert torch.allclose(converted(X, 6.0), 2 * converted(X, 3.0))


def test_arguments_that_the_model_does_not_have():
    with pytest.raises(mass.NotEquivariantError, match="got an unexpected keyword argument 'other'"):
        mass.convert(Scaled().eval(), {"x": X, "other": 1})


@pytest.mark.parametrize(("example", "name"), [((X, 1.0, False, None), "4"), ({"x": X, "mask": None}, "'mask'")])
def test_nothing_is_no_input(example, name):
    with pytest.raises(ValueError, match=rf"value {name} of the example is None, which is no input; leave it out"):
        mass.convert(Net().eval(), example)


def idioms(x):
    """Ways in which models ask for sizes and kinds."""
    import numpy

    rank, shape = len(x.shape), numpy.array(x.shape)
    assert rank == 4 and isinstance(x, torch.Tensor) and torch.is_tensor(x) and x.dtype != torch.int64
    half, quarter = int(x.shape[2] * 0.5), int(shape[2]) // 4
    parts = [x[:, channel : channel + 1] * (channel + 1) for channel in range(x.shape[1])]
    sums = [part for part in x.unbind(1)]
    y = torch.cat(parts, 1) + torch.stack(sums, 1).to(x.device)
    return nn.functional.interpolate(y, (half * 2, quarter * 4))


def test_size_idioms():
    class Asking(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, 2, 1)

        def forward(self, x):
            return self.conv(idioms(x)).mean((2, 3))

    assert mass.certify(mass.convert(Asking().eval(), X), X, 4).identical.all()


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.MaxPool2d(2))
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x, a=1.0, b=2.0):
        return self.pool(self.block(x) * a + b).flatten(1)


@pytest.mark.parametrize("way", ["hook on a container", "blended"])
def test_interpreted_networks_take_the_same_arguments(way):
    """A default in the middle may be left out; what the model does not have is refused."""
    example = {"x": X, "a": 1.0, "b": 2.0}
    network = mass.convert(Two().eval(), example, blend=0.01 if way == "blended" else 0.0)
    if way != "blended":
        network.block.register_forward_hook(lambda *_: None)
    assert torch.equal(network(X, b=5.0), network(X, 1.0, 5.0))
    assert torch.equal(network(X), network(X, 1.0, 2.0))
    for args, kwargs in (((X,), {"c": 3.0}), ((X, 1.0, 2.0, 3.0), {}), ((X, 1.0), {"a": 2.0})):
        with pytest.raises(TypeError):
            network(*args, **kwargs)


def test_an_image_by_position_alone():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, 2, 1)

        def forward(self, x, /, scale=1.0):
            return self.conv(x) * scale

    network = mass.convert(Net().eval(), X)
    assert torch.equal(network(X), network(X, 1.0))
    with pytest.raises(TypeError, match="scale is 1.0 in this converted network, got 2.0"):
        network(X, scale=2.0)


@pytest.mark.parametrize("convert", [mass.convert, convert_to_aps, mass.antialias])
def test_an_example_in_another_order_changes_no_call(convert):
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(3, 4, 3, 2, 1)

        def forward(self, image, other):
            return self.one(image).relu().mean((2, 3)) - self.two(other).abs().mean((2, 3))

    model = Pair().eval()
    network, expected = convert(model, {"other": X.flip(0), "image": X}), convert(model, (X, X.flip(0)))(X, X.flip(0))
    copied = pickle.loads(pickle.dumps(copy.deepcopy(network))) if convert is mass.convert else network
    for call in (network, copied):
        assert torch.equal(call(X, X.flip(0)), expected) and torch.equal(call(X, other=X.flip(0)), expected)
        assert torch.equal(call(other=X.flip(0), image=X), expected)


@pytest.mark.parametrize("convert", [mass.convert, convert_to_aps, convert_to_lps, mass.antialias])
def test_what_is_converted_in_eval_mode_is_in_eval_mode_whole(convert):
    assert [type(m).__name__ for m in convert(Two().eval(), X).modules() if m.training] == []


@pytest.mark.parametrize("convert", [convert_to_aps, convert_to_lps])
def test_peers_are_called_as_the_model_is(convert):
    network = convert(Two().eval(), {"x": X, "b": 5.0})
    assert isinstance(network, Two) and network(X, b=5.0).shape == (2, 4)


def test_methods_are_names():
    with pytest.raises(TypeError, match=r"methods must be several names or a dict, got 'forward'; give \('forward',\)"):
        mass.convert(Two().eval(), X, methods="forward")
