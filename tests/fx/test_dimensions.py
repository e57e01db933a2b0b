"""Networks of signals (B, C, L) and of videos (B, C, T, H, W): f(shift(x)) == shift(f(x)), bit for bit.

What is known of maps holds for them because they are maps: a network of signals is one of maps of one row, a network of
single frames is one of images.
"""

import copy

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import mass
from companion.data.generated.hard_images import film
from companion.models.random_weights import M5, calibrate
from mass.functional.conv import circular_conv
from mass.nn.conv_transpose import CircularConvTranspose3d

SIGNAL, VIDEO = (2, 4, 48), (2, 4, 3, 8, 12)
DTYPES = (torch.float32, torch.float64, torch.bfloat16)
C = 4
NAMES = {1: ("Conv1d", "MaxPool1d", "AvgPool1d", "BatchNorm1d", "InstanceNorm1d", "ConvTranspose1d", "linear"),
         3: ("Conv3d", "MaxPool3d", "AvgPool3d", "BatchNorm3d", "InstanceNorm3d", "ConvTranspose3d", "trilinear")}  # fmt: skip


def noise(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def roll(x, t):
    """Moved along its positions: by t[1] if it is a signal."""
    return x.roll(t[1], 2) if x.ndim == 3 else x.roll(t, (-2, -1))


def holds(model, x, t):
    """Logits stay, dense outputs move along: to the bit, of videos in float64 to its rounding."""
    with torch.no_grad():
        y, z = model(x), model(roll(x, t))
    y = roll(y, t) if y.ndim == x.ndim else y
    if x.ndim == 5 and x.dtype == torch.float64:  # its convolution is a matrix product (mass.functional.kernels)
        return torch.allclose(z, y, rtol=1e-12, atol=1e-12 * float(y.abs().max()))
    return torch.equal(z, y)


class Block(nn.Module):
    """A way down by 2 or by 1, and up again to what came in, if `up` says how."""

    def __init__(self, axes, down, norm, activation, up):
        super().__init__()
        conv, largest, average, batch, instance, transposed, self.mode = NAMES[axes]
        strides = 2 if axes == 1 or "time" in down else (1, 2, 2)
        kinds = {
            "conv": lambda s: getattr(nn, conv)(C, C, 3, s, 1),
            "wide": lambda s: getattr(nn, conv)(C, C, 5, s, "same" if s == 1 else 2),
            "dilated": lambda s: getattr(nn, conv)(C, C, 3, s, 2, 2, groups=C),
            "max": lambda s: getattr(nn, largest)(3, s, 1),
            "avg": lambda s: getattr(nn, average)(2, s, 1 if axes == 3 else 0),
        }
        norms = {"batch": getattr(nn, batch)(C), "group": nn.GroupNorm(2, C), "instance": getattr(nn, instance)(C)}
        self.down, self.norm, self.activation = kinds[down.split()[0]](strides), norms[norm], activation()
        self.again = getattr(nn, conv)(C, C, 1)
        self.up, self.back = up, getattr(nn, transposed)(C, C, 4 if axes == 1 else (1, 4, 4), 2 if axes == 1 else (1, 2, 2),
                                                         1 if axes == 1 else (0, 1, 1))  # fmt: skip

    def forward(self, x):
        y = self.again(self.activation(self.norm(self.down(x))))
        if self.up == "transposed":
            y = self.back(y)
        elif self.up:
            y = F.interpolate(y, size=x.shape[2:], mode=self.mode if self.up == "linear" else "nearest")
            return x + y
        return y if y.shape != x.shape else x * y.tanh()


def blocks(axes, ups):
    downs = ["conv", "wide", "dilated", "max", "avg"] + ["conv in time", "max in time"] * (axes == 3)
    return st.builds(
        lambda *given: lambda: Block(axes, *given), st.sampled_from(downs), st.sampled_from(["batch", "group", "instance"]),
        st.sampled_from([nn.ReLU, nn.SiLU, nn.GELU]), st.sampled_from(ups),
    )  # fmt: skip


@st.composite
def networks(draw, axes):
    """Two strides with logits behind them, or one, moved back."""
    ups = ["transposed", "linear", "nearest"] if draw(st.booleans()) else [None]
    made = [draw(blocks(axes, ups)) for _ in range(2)]
    torch.manual_seed(draw(st.integers(0, 99)))
    head = [] if ups != [None] else [getattr(nn, f"AdaptiveAvgPool{axes}d")(1), nn.Flatten(), nn.Linear(C, 5)]
    return nn.Sequential(*(build() for build in made), *head).eval()


@settings(max_examples=20)
@given(model=networks(1), t=st.integers(0, 47), dtype=st.sampled_from(DTYPES))
def test_random_networks_of_signals(model, t, dtype):
    x = noise(*SIGNAL, dtype=dtype)
    assert holds(mass.convert(model, x.float()).to(dtype), x, (0, t))


@settings(max_examples=20)
@given(model=networks(3), t=st.tuples(st.integers(0, 7), st.integers(0, 11)), dtype=st.sampled_from(DTYPES))
def test_random_networks_of_videos(model, t, dtype):
    x = noise(*VIDEO, dtype=dtype)
    assume(dtype != torch.bfloat16 or not any(isinstance(m, nn.AvgPool3d) for m in model.modules()))  # torch has none
    assert holds(mass.convert(model, x.float()).to(dtype), x, t)


def as_images(model):
    """The same network of maps of one row, or of single frames."""
    model = copy.deepcopy(model)
    for name, m in list(model.named_modules()):
        kind = type(m).__name__
        if kind == "Conv1d":
            new = nn.Conv2d(
                m.in_channels,
                m.out_channels,
                (1, *m.kernel_size),
                (1, *m.stride),
                (0, *m.padding),
                (1, *m.dilation),
                m.groups,
            )
            new.load_state_dict({"weight": m.weight.unsqueeze(2), "bias": m.bias})
        elif kind == "Conv3d":
            new = nn.Conv2d(
                m.in_channels, m.out_channels, m.kernel_size[1:], m.stride[1:], m.padding[1:], m.dilation[1:], m.groups
            )
            new.load_state_dict({"weight": m.weight.squeeze(2), "bias": m.bias})
        elif kind == "MaxPool1d":
            new = nn.MaxPool2d((1, m.kernel_size), (1, m.stride), (0, m.padding))
        elif kind == "MaxPool3d":
            new = nn.MaxPool2d(m.kernel_size[1:], m.stride[1:], m.padding[1:])
        elif kind.startswith("AdaptiveAvgPool"):
            new = nn.AdaptiveAvgPool2d(1)
        else:
            continue
        model.set_submodule(name, new)
    return model


def test_a_signal_is_a_map_of_one_row():
    model = nn.Sequential(nn.Conv1d(4, 8, 7, 2, 3), nn.SiLU(), nn.MaxPool1d(3, 2, 1), nn.Conv1d(8, 8, 3, 2, 1, groups=8),
                          nn.AdaptiveAvgPool1d(1), nn.Flatten()).eval()  # fmt: skip
    x = noise(*SIGNAL)
    there, here = mass.convert(as_images(model), x[:, :, None]), mass.convert(model, x)
    assert there.total_stride == here.total_stride == (1, 8)
    assert torch.equal(there(x[:, :, None]), here(x))


def test_a_video_of_one_frame_is_an_image():
    model = nn.Sequential(nn.Conv3d(4, 8, (1, 7, 7), (1, 2, 2), (0, 3, 3)), nn.SiLU(), nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
                          nn.Conv3d(8, 8, (1, 3, 3), 1, (0, 1, 1)), nn.AdaptiveAvgPool3d(1), nn.Flatten()).eval()  # fmt: skip
    x = noise(2, 4, 1, 16, 24)
    there, here = mass.convert(as_images(model), x[:, :, 0]), mass.convert(model, x)
    assert torch.allclose(there(x[:, :, 0]), here(x), atol=1e-6)
    assert there.total_stride == here.total_stride == (4, 4)


@pytest.mark.parametrize("mode", ["zeros", "replicate", "circular"])
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"),
                         [((3, 3, 3), (2, 2, 2), (1, 1, 1), (1, 1, 1)), ((4, 1, 3), (1, 1, 2), "valid", (1, 1, 1)),
                          ((2, 3, 5), (1, 1, 1), "same", (2, 1, 1)), ((3, 1, 1), (1, 1, 1), (1, 0, 0), (1, 1, 1))])  # fmt: skip
def test_time_stays_what_it_is(kernel, stride, padding, dilation, mode):
    """On a video that has been wrapped by hand, the plain convolution, padded in time alone, computes the same."""
    if padding == "same" and mode == "replicate":
        return  # the plain one pads all axes in this mode, in one call
    plain = nn.Conv3d(4, 6, kernel, stride, padding, dilation, padding_mode=mode).double()
    x = noise(2, 4, 5, 8, 12, dtype=torch.float64)
    found = circular_conv(x, plain.weight, plain.bias, stride, padding, dilation, mode=mode)
    if padding == "valid":
        wide = F.pad(x, (0, kernel[2] - 1, 0, kernel[1] - 1, 0, 0), mode="circular")
        y = plain(wide)[..., : 8 // stride[1], : 12 // stride[2]]
    else:  # away from the borders
        y = plain(x)
    assert found.shape[3:] == (8 // stride[1], 12 // stride[2]) and found.shape[:3] == y.shape[:3]
    inner = (..., slice(2, -2), slice(2, -3))
    assert torch.allclose(found[inner], y[inner])


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "extra"), [(2, 2, 0, 0), (3, 2, 1, 1), (4, 3, 1, 2), (1, 2, 0, 1), (3, 1, 1, 0)]
)
def test_transposed_convolution_in_time(kernel, stride, padding, extra):
    plain = nn.ConvTranspose3d(4, 6, (kernel, 2, 4), (stride, 2, 2), (padding, 0, 1), (extra, 0, 0), groups=2).double()
    layer = copy.deepcopy(plain)
    layer.__class__ = CircularConvTranspose3d
    x = noise(2, 4, 3, 4, 6, dtype=torch.float64)
    y = plain(x)
    assert layer(x).shape == y.shape and torch.allclose(layer(x)[..., 1:-1], y[..., 1:-1])
    assert torch.allclose(layer(x.roll((1, 2), (3, 4))), layer(x).roll((2, 4), (3, 4)))


class Wave(nn.Module):
    """What audio networks are made of: causal padding, normalised weights, gates, attention, gaps to the next sample."""

    def __init__(self):
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 8, 5, 2))
        self.gated, self.mix = nn.Conv1d(8, 16, 3, dilation=2, padding="same"), nn.Linear(8, 8)
        self.attention, self.down = nn.MultiheadAttention(8, 2, batch_first=True), nn.Conv1d(8, 8, 4, 2, 1)
        self.up, self.out = nn.ConvTranspose1d(8, 8, 4, 2, 1), nn.Conv1d(8, 4, 3, padding=1, padding_mode="reflect")

    def forward(self, x):
        y = F.glu(self.gated(self.first(F.pad(x, (4, 0)))), 1)
        z = self.down(y)
        z = z + self.mix(z.transpose(1, 2)).transpose(1, 2)
        tokens = z.transpose(1, 2)
        z = z + self.attention(tokens, tokens, tokens)[0].transpose(1, 2)
        y = y + self.up(z) + z.mean(2, keepdim=True)
        return self.out(F.interpolate(y, scale_factor=2, mode="linear"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_audio_networks_are_made_of(dtype):
    torch.manual_seed(0)
    x = noise(*SIGNAL, dtype=dtype)
    model = mass.convert(Wave().eval(), x.float()).to(dtype)
    assert all(holds(model, x, (0, t)) for t in range(0, 48, 5))
    assert mass.certify(model, x).identical.all()
    averaged = mass.convert(Wave().eval(), x.float(), symmetrise=True).to(dtype)
    assert mass.certify(averaged, x[..., :6].repeat(1, 1, 8), 5).identical.all()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("batch", [1, 2])
def test_an_audio_network_by_all_residues_of_its_first_stride(batch, threads):
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    x = noise(batch, 1, 8192) * torch.linspace(0, 6, 8192).sin()
    model = calibrate(M5(), examples=noise(8, 1, 8192, seed=1))
    assert not mass.certify(model, x, 3).identical.any()
    converted = mass.convert(model, x)
    assert converted.total_stride == (1, 4096) and list(converted.state_dict()) == list(model.state_dict())
    shifts = [(0, t + 16 * (37 * t % 64)) for t in range(16)] + [(0, 4095), (0, 64), (0, 1024)]
    assert mass.certify(converted, x, shifts).identical.all()


def films(batch, size=(32, 48), frames=4):
    return torch.cat([film(*size, frames, which % 2) * 0.7**which for which in range(batch)])


@pytest.mark.parametrize("name", ["r3d_18", "mc3_18", "r2plus1d_18"])
def test_video_resnets(name):
    torch.manual_seed(0)
    model = calibrate(torchvision.models.get_model(name, weights=None), examples=films(4))
    x = films(2)
    assert not mass.certify(model, x, 2).identical.any()
    converted = mass.convert(model, x)
    assert converted.total_stride == (16, 16) and list(converted.state_dict()) == list(model.state_dict())
    assert mass.certify(converted, x, 6).identical.all()
    torch.set_num_threads(3)
    assert mass.certify(converted, x[:1], 4).identical.all()
    assert mass.certify(converted, films(1, (48, 32), 5), 2).identical.all()  # another size, another length
    assert mass.certify(converted.bfloat16(), x.bfloat16(), 3).identical.all()


def test_video_resnet_by_all_residues():
    torch.manual_seed(0)
    net = torchvision.models.video.resnet
    model = net.VideoResNet(net.BasicBlock, [net.Conv3DSimple] * 4, [1, 1, 1, 1], net.BasicStem, num_classes=5)
    model, x = calibrate(model, examples=films(2)), films(1, (16, 32), 2)
    assert mass.certify(mass.convert(model, x), x).identical.all()  # 256 shifts


def test_video_transformers():
    """Attention over space and time has the whole map as its period, windows of Swin lie as the frame's origin says."""
    torch.manual_seed(0)
    swin = torchvision.models.video.SwinTransformer3d(
        [2, 4, 4], 8, [1, 1], [2, 2], [2, 2, 2], num_classes=5, stochastic_depth_prob=0.0
    )
    nn.init.normal_(swin.head.weight)
    x = films(2)
    assert mass.certify(mass.convert(swin.eval(), x), x, 4).identical.all()
    from torchvision.models.video.mvit import MSBlockConfig, MViT

    blocks = [
        MSBlockConfig(1, 8, 8, [], [3, 3, 3], [], [1, 2, 2]),
        MSBlockConfig(2, 8, 16, [3, 3, 3], [3, 3, 3], [1, 2, 2], [1, 1, 1]),
    ]
    mvit = MViT((32, 48), 4, blocks, False, False, False, 0.0, num_classes=5).eval()
    assert mass.certify(mass.convert(mvit, x), x, 4).identical.all()


class Segmenter(nn.Module):
    """A U-Net of volumes: padded in space and time at once, a skip connection, enlarged in space and time."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv3d(3, 4, 3), nn.Conv3d(4, 8, 3, 2, 1)
        self.up, self.out, self.line = nn.ConvTranspose3d(8, 4, 2, 2), nn.Conv3d(8, 2, 1), nn.Linear(8, 8)

    def forward(self, x):
        y = F.relu(self.a(F.pad(x, (1, 1, 1, 1, 1, 1))))
        z = F.gelu(self.b(y))
        z = z + self.line(z.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)
        z = self.up(z) + F.interpolate(z, scale_factor=2, mode="trilinear", align_corners=False)[:, :4]
        return self.out(torch.cat((y, z[:, :, : y.shape[2]]), 1))


def test_dense_outputs_of_videos_move_along():
    torch.manual_seed(0)
    x = films(2, (16, 24))
    model = Segmenter().eval()
    converted = mass.convert(model, x)
    assert converted(x).shape == (2, 2, 4, 16, 24)
    assert all(holds(converted, x, t) for t in ((1, 0), (7, 5)))
    assert mass.certify(converted, x).identical.all()
    with torch.no_grad():  # away from the borders, at the frame's own origin, it computes what it did: in all frames
        zero = mass.convert(model, x, origin="zero")(x)
    assert torch.allclose(zero[..., 5:-5, 5:-5], model(x)[..., 5:-5, 5:-5], atol=1e-5)


def test_equivariance_is_in_space_alone():
    """A video moved in time is another video."""
    x = noise(*VIDEO)
    model = mass.convert(nn.Sequential(nn.Conv3d(4, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool3d(1)).eval(), x)
    assert not torch.equal(model(x.roll(1, 2)), model(x))
    assert all(holds(model, x, (i, j)) for i in range(2) for j in range(2))


def test_videos_and_signals_train_pickle_and_compile():
    for model, x in ((nn.Conv1d(4, 4, 3, 2, 1), noise(*SIGNAL)), (nn.Conv3d(4, 4, 3, 2, 1), noise(*VIDEO))):
        name = type(model).__name__[-2:]
        model = nn.Sequential(model, getattr(nn, f"BatchNorm{name}")(4), nn.ReLU(), getattr(nn, f"MaxPool{name}")(2, 2))
        x = x if x.ndim == 3 else noise(2, 4, 4, 8, 12)
        converted = mass.convert(model.train(), x)
        converted(x).square().sum().backward()
        assert converted.get_parameter("0.weight").grad.isfinite().all()
        converted.eval()
        assert torch.equal(copy.deepcopy(converted)(x), converted(x))
        compiled = torch.compile(converted, fullgraph=True, backend="aot_eager")
        with torch.no_grad():
            assert torch.allclose(compiled(x), converted(x), atol=1e-5)


def test_helpers():
    x = films(2)
    o = torch.tensor([[3, 5], [0, 7]])
    assert torch.equal(mass.shift(x, o)[0], x[0].roll((-3, -5), (2, 3)))
    assert torch.equal(mass.restore(mass.shift(x, o), o), x)
    rows = mass.explain(nn.Sequential(nn.Conv1d(4, 4, 3, 16, 1)), noise(*SIGNAL)).rows
    assert rows[0]["kind"] == "Conv1d" and rows[0]["period"] == "16"
    assert mass.explain(nn.Sequential(nn.Conv3d(4, 4, 3, (1, 2, 4), 1)), noise(*VIDEO)).rows[0]["period"] == "2 x 4"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mass.convert(nn.Conv1d(4, 4, 3, 5), noise(*SIGNAL)), mass.NotEquivariantError, "length 48 there, .* 45 or 50 would do"),
        (lambda: mass.convert(nn.Conv3d(4, 4, 3, 5), noise(*VIDEO)), mass.NotEquivariantError, "height 8 there"),
        (lambda: mass.convert(nn.Conv2d(4, 4, 3), noise(4, 32, 48)), mass.NotEquivariantError, "takes the 4 rows .*add the batch axis"),
        (lambda: mass.convert(nn.Conv3d(4, 4, 3), noise(4, 8, 32, 48)), mass.NotEquivariantError, "add the batch axis"),
        (lambda: mass.convert(nn.Conv1d(4, 4, 3), noise(4, 48)), ValueError, r"give waveforms an axis of channels, \(B, 1, L\)"),
        (lambda: mass.convert(nn.Conv1d(4, 4, 3), noise(1, 1, 1, 1, 1, 1)), ValueError, "got 6 axes"),
        (lambda: mass.convert(nn.Conv1d(4, 4, 3), noise(2, 3, 48)), mass.NotEquivariantError, "does not run on the example"),
        (lambda: mass.convert(nn.AdaptiveAvgPool1d(5), noise(*SIGNAL)), mass.NotEquivariantError, "unequal size; an input of 50 would do"),
        (lambda: mass.convert(nn.MaxPool1d(2, return_indices=True), noise(*SIGNAL)), mass.NotEquivariantError, "returns indices"),
        (lambda: mass.shift(noise(*SIGNAL), torch.zeros(2, 2).long()), ValueError, r"signal .* map of one row, x\[:, :, None\]"),
        (lambda: mass.select_origin(noise(*VIDEO), 2), ValueError, r"that holds all frames, x.flatten\(1, 2\)"),
        (lambda: mass.consistency(nn.Identity(), noise(*VIDEO)), ValueError, "holds all frames"),
        (lambda: mass.certify(nn.Conv2d(4, 5, 3), noise(4, 8, 9)), ValueError, "add the batch axis"),
        (lambda: mass.certify(nn.Conv2d(3, 3, (3, 1)), [noise(3, 8, 9)]), ValueError, "is one image to the model's convolutions"),
        (lambda: mass.certify(nn.Conv3d(3, 3, 3, 1, 1), [(noise(3, 4, 8, 9), 0)]), ValueError, "is one image to the model's conv"),
    ],
)  # fmt: skip
def test_wrong_inputs(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 3, 5])
def test_convolutions_of_signals_treat_positions_alike(threads, dtype):
    """Grouped ones of few positions, and all in float64, are matrix products that do not by themselves."""
    torch.set_num_threads(threads)
    for groups, inputs, outputs, kernel, stride, length in ((4, 3, 16, 9, 1, 5), (4, 45, 32, 1, 2, 10), (2, 45, 16, 2, 1, 10), (4, 1, 2, 4, 1, 20),
                                                            (1, 32, 32, 3, 1, 33), (1, 2, 8, 15, 1, 64), (2, 16, 10, 5, 2, 6)):  # fmt: skip
        x = noise(2, groups * inputs, length, dtype=dtype)
        weight, bias = (
            noise(groups * outputs, inputs, kernel, dtype=dtype),
            noise(groups * outputs, dtype=dtype, seed=1),
        )
        y = circular_conv(x, weight, bias, stride, kernel // 2, 1, groups)
        for t in range(0, length, stride):
            moved = circular_conv(x.roll(-t, 2), weight, bias, stride, kernel // 2, 1, groups)
            assert torch.equal(moved, y.roll(-t // stride, 2))
