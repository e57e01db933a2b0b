"""The rule 'seam': a moved photograph is put back where it was cut, so a network sees the frame it was trained on."""

import torch
from torch import nn

import mass
from companion.data.generated.hard_images import centred_photograph


def test_discontinuities_move_along():
    x = centred_photograph(32, 48)
    seam = mass.select_origin(x, (32, 48), "seam")
    for t in ((0, 0), (5, 7), (31, 1)):
        moved = mass.select_origin(x.roll((-t[0], -t[1]), (2, 3)), (32, 48), "seam")
        assert torch.equal((moved + torch.tensor(t)) % torch.tensor((32, 48)), seam)


def test_the_original_frame_is_found():
    """Two smooth ramps meet their own beginning only at the border."""
    ramp = torch.linspace(0, 1, 64).view(1, 1, 1, 64) + torch.linspace(0, 1, 32).view(1, 1, 32, 1)
    x = ramp.expand(2, 3, -1, -1)
    for period in ((32, 64), (2, 2), (4, 8)):
        origin = mass.select_origin(x.roll((11, 23), (2, 3)), period, "seam")
        assert origin.tolist() == [[11 % period[0], 23 % period[1]]] * 2


def test_a_network_computes_what_it_did_in_the_original_frame():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)
            self.positions, self.head = nn.Parameter(torch.randn(1, 4, 16, 32)), nn.Linear(4 * 8 * 16, 5)

        def forward(self, x):
            return self.head((self.b(self.a(x).relu() + self.positions)).flatten(1))

    model = Net().eval()
    x = (torch.linspace(0, 1, 64) + torch.linspace(0, 1, 32)[:, None]).expand(1, 3, -1, -1) + torch.rand(
        1, 3, 32, 64
    ) / 9
    found, frame = mass.convert(model, x, origin="seam"), mass.convert(model, x, origin="zero")
    for t in ((0, 0), (7, 9), (16, 33)):
        assert torch.equal(found(x.roll(t, (2, 3))), frame(x))


def test_a_strong_edge_inside_is_no_seam():
    """A horizon and a pole, ten times the step at the border, but soft: the frame is found where squares would not."""
    ramp = torch.linspace(0, 1, 64).view(1, 1, 1, 64) + torch.linspace(0, 1, 32).view(1, 1, 32, 1)
    x = ramp.repeat(1, 3, 1, 1)
    x[:, :, 13:] += 10
    x[..., 40:] += 10
    x[:, :, 12], x[..., 39] = (x[:, :, 11] + x[:, :, 13]) / 2, (x[..., 38] + x[..., 40]) / 2
    assert mass.select_origin(x.roll((5, 9), (2, 3)), (32, 64), "seam").tolist() == [[5, 9]]
