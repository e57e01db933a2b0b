"""Examples: which axes are taken for rows and columns, and numbers out of which something finite comes."""

import pytest
import torch
from torch import nn

import mass

X = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class ChannelsLast(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, x):
        return self.conv(x.permute(0, 3, 1, 2)).relu().mean((2, 3))


class Grey(nn.Module):
    def __init__(self, kernel):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, kernel, 2)

    def forward(self, x):
        return self.conv(x.unsqueeze(1)).relu().mean((2, 3))


def test_channels_last_and_grey_images_are_told():
    with pytest.warns(
        UserWarning, match=r"taken for images .* 16 x 3 pixels; if its channels are last, give x.permute"
    ):
        mass.convert(ChannelsLast().eval(), X.permute(0, 2, 3, 1).contiguous())
    with pytest.warns(UserWarning, match=r"taken for signals \(B, C, L\).*if it holds grey images"):
        mass.convert(Grey((3, 3)).eval(), X[:, 0])


@pytest.mark.filterwarnings("ignore::mass.CoordinatesWarning")
@pytest.mark.filterwarnings("error:the example")
def test_electrodes_and_photographs_are_not():
    """EEGNet's kernels see samples of one electrode."""
    mass.convert(Grey((1, 4)).eval(), X[:, 0])
    mass.convert(nn.Conv2d(3, 4, 3, 2, 1).eval(), X)


class Beside(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, prior, image):
        return self.conv(image).relu().mean((2, 3)) + prior.mean((1, 2))[:, None]


def test_a_signal_named_before_the_images_is_not_shifted_in_their_place():
    named = {"prior": torch.rand(2, 5, 16), "image": X}
    for ask in (mass.convert, mass.certify):
        with pytest.raises(
            ValueError, match=r"'prior' \(2, 5, 16\) comes first and would be shifted as a signal, and 'image'"
        ):
            ask(Beside().eval(), named)
    named = {"image": X, "prior": named["prior"]}
    network = mass.convert(Beside().eval(), named)
    assert mass.certify(network, named)
    assert torch.equal(network(named["prior"], X), network(named["prior"], X.roll((3, 5), (2, 3))))


class Logarithm(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, x):
        return self.conv(torch.log(x + 1e-3)).mean((2, 3))


@pytest.mark.parametrize(
    "example", [X, torch.zeros_like(X), torch.ones_like(X), X - 0.5], ids=["rand", "0", "1", "negative"]
)
def test_what_breaks_is_seen_where_noise_gives_nan(example):
    """A hook that multiplies columns, behind a logarithm."""
    model = Logarithm().eval()
    assert mass.certify(mass.convert(model, example), X)
    model.conv.register_forward_hook(lambda module, given, y: y * torch.linspace(0, 1, y.shape[3], dtype=y.dtype))
    with pytest.raises(mass.NotEquivariantError, match="after a circular shift"):
        mass.convert(model, example)


class Nothing(nn.Module):
    def forward(self, x):
        return (x - x.abs() - 1).sqrt()


def test_nothing_finite_is_refused():
    with pytest.raises(mass.NotEquivariantError, match="NaN or infinity alone comes out"):
        mass.convert(Nothing(), X)
    mass.convert(Nothing(), X, verify=False)


def test_images_in_a_dict_or_a_list_have_a_way_out():
    class OfBatches(nn.Module):
        def forward(self, batch):
            return batch["image"].mean((2, 3))

    x = torch.rand(2, 3, 8, 8)
    for example in (({"image": x},), [[x[0], x[1]]]):
        with pytest.raises(
            TypeError, match="images lie in a (dict|list), .* convert a module whose forward takes a tensor"
        ):
            mass.convert(OfBatches(), example)
    with pytest.raises(mass.NotEquivariantError, match="images in a dict or list, convert a module whose forward"):
        mass.convert(OfBatches(), {"image": x})
