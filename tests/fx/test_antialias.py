"""Anti-aliasing: the same function without a filter, the same keys, a filter at every stride; and MASS over it is exact."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import mass
from companion.models.random_weights import FAMILIES, calibrated, vary_constants
from mass.baselines import convert_to_flc, convert_to_tips
from mass.nn.blurpool import BlurPool


def network(name):
    options = {"init_weights": True} if name == "googlenet" else {}
    torch.manual_seed(0)
    return vary_constants(torchvision.models.get_model(name, weights=None, **options)).eval()


def filters(model):
    return [module for name, module in model.named_children() if name.startswith("mass_sample_")]


def images(size=64, count=2):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "count"),
    [("alexnet", 3), ("vgg11_bn", 5), ("squeezenet1_1", 4), ("googlenet", 5), ("densenet121", 5), ("resnet18", 8),
     ("mobilenet_v2", 5), ("mobilenet_v3_small", 5), ("efficientnet_b0", 5), ("convnext_tiny", 4), ("shufflenet_v2_x0_5", 8),
     ("regnet_y_400mf", 9), ("swin_t", 1)],
)  # fmt: skip
def test_torchvision(name, count):
    """As many filters as strides, once each; none of the keys is new; with filters of size 1 it computes what it did."""
    model, x = network(name), images()
    smooth = mass.antialias(model, x)
    assert len(filters(smooth)) == count and all(isinstance(f, BlurPool) for f in filters(smooth))
    assert list(smooth.state_dict()) == list(model.state_dict())
    with torch.no_grad():
        plain = model(x)
        assert torch.allclose(mass.antialias(model, x, 1, verify=False)(x), plain, atol=1e-5 * plain.abs().max())
        assert not torch.allclose(smooth(x), plain, rtol=0, atol=1e-6 * plain.abs().max())


def test_the_model_is_not_changed():
    model, x = network("resnet18"), images()
    before, expected = copy.deepcopy(model.state_dict()), model(x)
    mass.antialias(model, x)
    assert torch.equal(model(x), expected) and all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


class Layers(nn.Module):
    """One operation between a convolution and a mean."""

    def __init__(self, *operations):
        super().__init__()
        self.first, self.operations = nn.Conv2d(3, 4, 3, padding=1), nn.Sequential(*operations)

    def forward(self, x):
        return self.operations(self.first(x).relu())


class Call(nn.Module):
    """A dropout that is called as a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x, 0.5, self.training)


def blur(x, size=3, stride=2):
    return BlurPool(x.shape[1], size, stride, "reflect")(x)


CONV, BN = nn.Conv2d(4, 5, 3, 2, 1), nn.BatchNorm2d(5)
POINT = nn.Conv2d(4, 5, 1, 2)


def dense(conv, x):
    return F.conv2d(x, conv.weight, conv.bias, 1, conv.padding, conv.dilation, conv.groups)


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([nn.MaxPool2d(3, 2, 1)], lambda x: blur(F.max_pool2d(x, 3, 1, 1))),
        ([nn.MaxPool2d(2)], lambda x: blur(F.max_pool2d(x, 2, 1))),
        ([CONV], lambda x: blur(dense(CONV, x))),
        ([CONV, nn.ReLU()], lambda x: blur(dense(CONV, x).relu())),
        ([CONV, BN, nn.ReLU6()], lambda x: blur(F.relu6(BN(dense(CONV, x))))),
        ([CONV, BN, nn.Identity(), nn.ReLU()], lambda x: blur(BN(dense(CONV, x)).relu())),  # timm's ResNets
        *(
            ([CONV, BN, drop, nn.Identity(), nn.ReLU()], lambda x: blur(BN(dense(CONV, x)).relu()))
            for drop in (nn.Dropout(), nn.Dropout2d(), nn.Dropout3d(), nn.AlphaDropout(),
                         nn.FeatureAlphaDropout(), Call(F.dropout), Call(F.dropout2d), Call(F.alpha_dropout))
        ),
        ([CONV, nn.Identity(), BN, nn.ReLU()], lambda x: blur(BN(dense(CONV, x)).relu())),
        ([CONV, nn.ReLU(inplace=True)], lambda x: blur(dense(CONV, x).relu())),
        ([CONV, nn.Conv2d(5, 5, 1, bias=False), nn.ReLU()], None),  # what follows is no activation
        ([POINT, nn.ReLU()], lambda x: dense(POINT, blur(x)).relu()),
        ([nn.AvgPool2d(2)], blur),
        ([nn.AvgPool2d(3, 2, 1)], blur),
        ([nn.AvgPool2d(4, 2, 1)], lambda x: blur(F.avg_pool2d(x, 4, 1, 1))),  # wider than the filter
        ([nn.AvgPool2d(2, (2, 1))], lambda x: BlurPool(4, (3, 1), (2, 1), "reflect")(F.avg_pool2d(x, 2, 1))),
        ([nn.MaxPool2d(2, (1, 2))], lambda x: BlurPool(4, (1, 3), (1, 2), "reflect")(F.max_pool2d(x, 2, 1))),
    ],
)  # fmt: skip
def test_dense_then_blur_then_sample(operations, expected):
    """The seed's three rules, against each written by hand."""
    model, x = Layers(*operations).eval(), images(16)
    smooth = mass.antialias(model, x)
    x = model.first(x).relu()
    if expected is None:
        expected = lambda x: operations[2](operations[1](blur(dense(CONV, x))))
    with torch.no_grad():
        assert torch.allclose(smooth(images(16)), expected(x), atol=1e-6)


def test_an_identity_is_looked_through_by_all_that_sample_by_a_filter():
    """FLC and TIPS too: the filter stands where it does without the identity."""
    plain, through = (Layers(CONV, BN, *between, nn.ReLU()).eval() for between in ([], [nn.Identity()]))
    through.first = plain.first
    for convert in (mass.antialias, convert_to_flc, convert_to_tips):
        torch.manual_seed(0)
        expected = convert(plain, images(16))(images(16))
        torch.manual_seed(0)
        assert torch.equal(convert(through, images(16))(images(16)), expected)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_filters_of_any_size(size):
    model, x = Layers(CONV, nn.ReLU()).eval(), images(16)
    with torch.no_grad():
        assert torch.allclose(
            mass.antialias(model, x, size)(x), blur(dense(CONV, model.first(x).relu()).relu(), size), atol=1e-6
        )


@pytest.mark.parametrize("side", [14, 15, 16, 17])
@pytest.mark.parametrize(
    "pool", [nn.MaxPool2d(3, 2, ceil_mode=True), nn.MaxPool2d(2, ceil_mode=True), nn.MaxPool2d(3, 2, 1, ceil_mode=True)]
)
def test_sizes_that_are_rounded_up_stay_so(pool, side):
    """Of another size than the example's too."""
    model = Layers(pool).eval()
    assert torch.equal(mass.antialias(model, images(16), 1)(images(side)), model(images(side)))
    assert mass.antialias(model, images(16))(images(side)).shape == model(images(side)).shape


class Functional(nn.Module):
    """Strides in calls of functions, and a module that is called twice."""

    def __init__(self):
        super().__init__()
        self.weight, self.pool = nn.Parameter(torch.randn(4, 3, 3, 3)), nn.MaxPool2d(2)

    def forward(self, x):
        x = F.relu(F.conv2d(x, self.weight, None, 2, 1))
        x = self.pool(F.max_pool2d(x, kernel_size=3, stride=2, padding=1))
        return F.avg_pool2d(self.pool(x), 2).flatten(1)


def test_functions_and_modules_that_are_called_twice():
    model, x = Functional().eval(), images(64)
    assert len(filters(mass.antialias(model, x))) == 5
    assert torch.allclose(mass.antialias(model, x, 1)(x), model(x), atol=1e-5)


def test_it_trains_as_the_original_and_is_copied_and_pickled():
    model, x = network("mobilenet_v2").train(), images()
    smooth = mass.antialias(model, x)
    assert smooth.training
    smooth(x).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in smooth.parameters())
    smooth.eval()
    for other in (copy.deepcopy(smooth), pickle.loads(pickle.dumps(smooth))):
        assert torch.equal(other(x), smooth(x))
    smooth.load_state_dict(model.state_dict())


@pytest.mark.parametrize("name", [*FAMILIES[:2], "mobilenet_v2", "densenet121", "convnext_tiny"])
@pytest.mark.parametrize("size", [3, 4])
def test_mass_over_antialiasing_is_exact(name, size):
    x = images(64)
    smooth = mass.antialias(calibrated(name, size=64), x, size)
    exact = mass.convert(smooth, x)
    assert list(exact.state_dict()) == list(smooth.state_dict())
    certificate = mass.certify(exact, x, 4)
    assert certificate.identical.all(), str(certificate)
    with pytest.raises(ValueError, match="converted before"):
        mass.antialias(exact, x)


def test_a_unet_is_antialiased_and_moves_along():
    smp = pytest.importorskip("segmentation_models_pytorch")
    torch.manual_seed(0)
    model, x = smp.Unet("resnet18", encoder_weights=None, classes=3).eval(), images(64)
    smooth = mass.antialias(model, x)
    assert len(filters(smooth)) == 8 and list(smooth.state_dict()) == list(model.state_dict())
    exact = mass.convert(smooth, x)
    with torch.no_grad():
        assert torch.equal(exact(x.roll((3, 5), (2, 3))), exact(x).roll((3, 5), (2, 3)))


class Opaque(nn.Module):
    """It looks at values, and samples."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, x):
        return self.conv(x) if x.sum() > 0 else self.conv(-x)


class Indexed(nn.Module):
    def forward(self, x):
        y, index = F.max_pool2d(x, 2, return_indices=True)
        return F.max_unpool2d(y, index, 2)


class Coarse(nn.Module):
    """Average pooling of a size that is rounded up, by windows that are wider than the filter."""

    def forward(self, x):
        return F.avg_pool2d(x, 4, 3, ceil_mode=True)


class Halving(nn.Module):
    """One pooling, called until one position is left."""

    def __init__(self):
        super().__init__()
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        for _ in range(4):
            x = self.pool(x)
        return x


X = images(16)


@pytest.mark.parametrize(
    ("model", "x", "kernel_size", "error", "message"),
    [
        (nn.Conv2d(3, 4, 3), X, 3, mass.NotEquivariantError, "nothing in this model samples by the stride of a convolution or pooling; take the model as it is"),
        (nn.AdaptiveAvgPool2d(1), X, 3, mass.NotEquivariantError, "nothing in this model samples"),
        (nn.AvgPool2d(16), X, 3, mass.NotEquivariantError, "nothing in this model samples"),
        (nn.Sequential(Opaque(), nn.ReLU()), X, 3, mass.NotEquivariantError, "node '0': Opaque could not be traced, and samples inside"),
        (Indexed(), X, 3, mass.NotEquivariantError, "node 'max_pool2d.*': max pooling that returns indices"),
        (Coarse(), images(15), 3, mass.NotEquivariantError, "an average pooling that rounds sizes up; build the model with ceil_mode=False"),
        (Halving(), X, 3, mass.NotEquivariantError, "MaxPool2d leaves one position here, and samples by its stride at another call; give each"),
        (nn.Conv2d(3, 4, 3, 2), X, 0, ValueError, "kernel_size must be at least 1, got 0"),
        (nn.Conv2d(3, 4, 3, 2), X, 2.0, TypeError, "kernel_size must be an int, got 2.0"),
        (nn.Conv2d(3, 4, 3, 2), X[0], 3, ValueError, "add the batch axis"),
        (nn.Conv2d(3, 4, 3, 2), X[:, :2], 3, mass.NotEquivariantError, "the model does not run on the example input of shape"),
        (nn.Conv2d(3, 4, 3, 2, 1), X[..., :2], 7, mass.NotEquivariantError, "a filter of 7 x 7 reflects 3 rows and 3 columns beyond the border"),
        (nn.Conv1d(3, 4, 3, 2), X[:, :, 0], 3, ValueError, "expected a map of shape"),
        (lambda x: x, X, 3, TypeError, "expected a torch.nn.Module, got function"),
    ],
)  # fmt: skip
def test_refusals(model, x, kernel_size, error, message):
    with pytest.raises(error, match=message):
        mass.antialias(model, x, kernel_size)


class Written(nn.Module):
    """A map that is written to between two samplings of it."""

    def __init__(self):
        super().__init__()
        self.stem, self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1, 2), nn.Conv2d(4, 4, 1, 2)

    def forward(self, x):
        x = self.stem(x)
        y = self.a(x)
        x.relu_()
        return y + self.b(x)


def test_a_filter_in_front_reads_the_map_as_it_is_then():
    torch.manual_seed(0)
    model = Written().eval()
    assert torch.allclose(mass.antialias(model, images(8), 1)(images(8)), model(images(8)), atol=1e-6)


def test_average_pooling_that_rounds_sizes_up():
    """Of two by two a filter gives as many positions, at every size; of three by three it would at some."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AvgPool2d(2, 2, ceil_mode=True)).eval()
    smooth = mass.antialias(model, images(9))
    assert all(smooth(images(side)).shape == model(images(side)).shape for side in (8, 9, 10, 11))
    for kernel_size in (1, 3):
        with pytest.raises(mass.NotEquivariantError, match="rounds sizes up"):
            mass.antialias(
                nn.Sequential(nn.Conv2d(3, 4, 1), nn.AvgPool2d(3, 2, ceil_mode=True)), images(9), kernel_size
            )
