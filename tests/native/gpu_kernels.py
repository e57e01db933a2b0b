"""The Triton kernels against the PyTorch code they stand for; run by test_gpu_kernels.py, in a process of its own."""

import pytest
import torch

import mass
from mass import native
from mass.functional.origin import select as origin
from mass.functional.origin.position_hash import layout_hash
from mass.functional.padding import circular_pad
from mass.native import gpu

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
FORMATS = (torch.contiguous_format, torch.channels_last)


@pytest.fixture(autouse=True)
def _reference(monkeypatch):
    monkeypatch.setattr(
        origin, "read_layout", layout_hash
    )  # ranks are for the CPU (mass.functional.origin.position_rank)
    with native.reference():
        yield


def awkward(shape):
    """Noise; black; tiny; not finite; an outlier; few levels; two equal objects; one grey; a pattern of its own periods."""
    x = torch.randn(9, *shape, device=DEVICE)
    x[1], x[2] = 0.0, x[2] * 1e-38
    x[3, 0, 0, 0], x[3, -1, 2, 3], x[4, -1, 1, 1] = torch.nan, torch.inf, 6e4
    x[5], x[6], x[7] = x[5].sign(), 0.0, 0.5
    x[6, :, 1, 1] = x[6, :, 4, 6] = 1.0
    x[8] = x[8, :, :4, :4].repeat(1, shape[1] // 4, shape[2] // 4)
    return x


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(("channels", "period"), [(7, (1, 1)), (7, (2, 2)), (1, (3, 2)), (16, (4, 4)), (3, (12, 24))])
def test_origins(dtype, memory_format, channels, period):
    x = awkward((channels, 12, 24)).to(dtype).contiguous(memory_format=memory_format)
    assert torch.equal(gpu.select_origin(x, period), mass.select_origin(x, period))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("placed", [False, True])
def test_ties_are_settled_by_the_source(dtype, placed):
    """A map that ties everywhere, of sources that are symmetric or not, of sizes that are no powers of two."""
    source = awkward((3, 20, 24)).to(dtype)
    source[4] = -0.0
    x = torch.ones(9, 2, 10, 8, dtype=torch.bfloat16, device=DEVICE)
    x[0, :, ::2] = 0.5
    place = torch.randint(-50, 50, (9, 2), device=DEVICE) if placed else None
    for period in ((2, 2), (1, 4), (10, 8)):
        expected = mass.select_origin(x, period, source=source, source_origin=place)
        assert torch.equal(gpu.select_origin(x, period, source, place), expected)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float64])
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("channels", [1, 5, 8])
@pytest.mark.parametrize(
    "pads", [(0, 0, 0, 0), (1, 1, 1, 1), (3, 2, 0, 5), (13, 9, 7, 11), (40, 0, 0, 40), (-1, 2, 1, -1)]
)
def test_wrap(dtype, memory_format, channels, pads):
    x = torch.randn(3, channels, 6, 7, device=DEVICE).to(dtype).contiguous(memory_format=memory_format)
    places = torch.tensor([[0, 0], [5, -9], [-13, 20]], device=DEVICE)
    for part, moved in ((x, None), (x, places), (x[1:], places[1:])):  # the last starts somewhere in its storage
        wrapped = gpu.wrap(part, pads, moved)
        assert torch.equal(wrapped, circular_pad(part, pads, moved))
        assert wrapped.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("step", [(2, 2), (1, 3), (3, 1), (6, 9)])
def test_wrap_by_steps(memory_format, step):
    x = torch.randn(3, 5, 6, 9, device=DEVICE).contiguous(memory_format=memory_format)
    places = torch.tensor([[0, 0], [5, -9], [-13, 20]], device=DEVICE)
    sampled = gpu.wrap(x, (0, 0, 0, 0), places, step)
    assert torch.equal(sampled, mass.shift(x, places)[:, :, :: step[0], :: step[1]])
    assert sampled.is_contiguous(memory_format=memory_format)


def test_what_is_not_served_is_left_to_pytorch():
    x = torch.randn(2, 3, 8, 8, device=DEVICE)
    assert gpu.select_origin(x.double(), (2, 2)) is None and gpu.select_origin(x, (2, 2), x.double()) is None
    assert gpu.select_origin(x[..., ::2], (2, 2)) is None and gpu.wrap(x[..., ::2], (1, 1, 1, 1)) is None
    large = torch.zeros(1, 1, 65, 65, device=DEVICE)
    assert gpu.select_origin(large, (65, 65)) is None


def test_origins_chosen_by_the_device(monkeypatch):
    """The door itself: with a map taken for one on the device, origins and shifts are those of the CPU."""
    x = awkward((3, 8, 12))
    expected = mass.select_origin(x, 2)
    monkeypatch.setattr(native, "_on_device", lambda x: gpu)
    assert torch.equal(mass.select_origin(x, 2), expected)
    assert torch.equal(mass.shift(x, expected).nan_to_num(7.0), torch.stack([a.roll((-o).tolist(), (1, 2)) for a, o in zip(x, expected, strict=True)]).nan_to_num(7.0))  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("channels", [1, 5, 16])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "pads"),
    [((3, 3), (1, 1), (1, 1), (1, 1, 1, 1)), ((3, 3), (2, 2), (1, 1), (1, 0, 1, 0)), ((5, 3), (2, 3), (1, 2), (1, 1, 2, 1)),
     ((7, 7), (1, 1), (1, 1), (3, 3, 3, 3)), ((2, 2), (1, 1), (3, 2), (0, 2, 9, -6))],
)  # fmt: skip
def test_depthwise(dtype, memory_format, channels, kernel, stride, dilation, pads):
    x = torch.randn(3, channels, 6, 12, device=DEVICE).to(dtype).contiguous(memory_format=memory_format)
    weight, bias = (
        torch.randn(channels, 1, *kernel, device=DEVICE).to(dtype),
        torch.randn(channels, device=DEVICE).to(dtype),
    )
    places = torch.tensor([[0, 0], [5, -9], [-13, 20]], device=DEVICE)
    for moved, added in ((None, bias), (places, None)):
        found = gpu.depthwise(x, weight, added, stride, dilation, pads, moved)
        padded, exact = circular_pad(x, pads, moved), (weight.double(), None if added is None else added.double())
        expected = torch.nn.functional.conv2d(padded.double(), *exact, stride, 0, dilation, channels)
        assert found.is_contiguous(memory_format=memory_format) and found.dtype == dtype
        torch.testing.assert_close(found, expected.to(dtype))


def test_depthwise_sums_in_one_order():
    """Bit-identical wherever an image lies, also where it is moved to an origin."""
    x, weight = torch.randn(2, 16, 12, 20, device=DEVICE), torch.randn(16, 1, 3, 3, device=DEVICE)
    expected = gpu.depthwise(x, weight, None, (2, 2), (1, 1), (1, 0, 1, 0), None)
    for t in ((1, 1), (5, 14)):
        by = torch.tensor([t, t], device=DEVICE)
        moved = mass.shift(x, by)
        assert torch.equal(gpu.depthwise(moved, weight, None, (2, 2), (1, 1), (1, 0, 1, 0), -by), expected)
