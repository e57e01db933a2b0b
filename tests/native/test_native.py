"""Compiled kernels against the PyTorch code they stand for: the same bits, whatever the map."""

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import mass
from mass import native
from mass.functional.conv import circular_conv2d
from mass.functional.exact import exact_mean
from mass.functional.padding import circular_pad, window_pads
from mass.nn.pooling import CircularMaxPool2d

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
compiled = pytest.mark.skipif(native.kernels() is None, reason="no C++ compiler")
layouts = st.sampled_from([torch.contiguous_format, torch.channels_last])
windows = st.fixed_dictionaries(
    {
        "kernel": st.sampled_from([1, 2, 3, 5, 7]),
        "stride": st.integers(1, 4),
        "dilation": st.sampled_from([1, 2, 12]),
        "padding": st.integers(0, 12),
        "blocks": st.tuples(st.integers(1, 9), st.integers(1, 9)),
    }
)


def draw(kind, shape, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator)
    if kind == "few levels":
        x = x.sign() * 3
    elif kind == "zeros":
        x = torch.zeros_like(x)
    elif kind == "one image black":
        x[0] = 0.0
    elif kind == "outlier":
        x[..., 0, 0] = 6e4
    elif kind == "rising":  # the scale is known at the end alone
        x = x * torch.linspace(-8, 8, x[0].numel()).exp2().view(x[0].shape)
    elif kind == "huge":
        x = x * 1e38
    elif kind == "tiny":
        x = x * 1e-35
    elif kind == "not finite":
        x[0, 0, 0, 0], x[-1, -1, -1, -1] = torch.nan, -torch.inf
    return x


@compiled
@given(
    kind=st.sampled_from(
        ["noise", "few levels", "zeros", "one image black", "outlier", "rising", "huge", "tiny", "not finite"]
    ),
    period=st.sampled_from([(1, 1), (2, 2), (3, 3), (4, 4), (2, 3), (1, 4), (12, 24)]),
    shape=st.tuples(st.sampled_from([1, 2, 3, 8]), st.sampled_from([1, 3, 40]), st.just(12), st.just(24)),
    dtype=st.sampled_from(DTYPES),
    memory_format=layouts,
    seed=st.integers(0, 20),
)
def test_origins_are_the_reference_s(kind, period, shape, dtype, memory_format, seed):
    x = draw(kind, shape, seed).to(dtype).contiguous(memory_format=memory_format)
    with native.reference():
        expected = mass.select_origin(x, period)
    assert torch.equal(mass.select_origin(x, period), expected)


@compiled
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(8, 24, 56, 56), (1, 300, 40, 24), (3, 3, 224, 224), (5, 17, 30, 50)])
@pytest.mark.parametrize("kind", ["noise", "rising"])
def test_energies_of_large_maps_at_any_number_of_threads(kind, shape, memory_format):
    x = draw(kind, shape, 0).contiguous(memory_format=memory_format)
    scale = 2.0 ** (14 - x.abs().amax((1, 2, 3)).log2().floor())
    levels = (x.abs() * scale.view(-1, 1, 1, 1)).round().long().square()
    expected = levels.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).sum((1, 2, 4)).flatten(1)
    for threads in (1, 2, 3, 5):
        torch.set_num_threads(threads)
        _, undecided, energies = native.origins(x, (2, 2))
        assert torch.equal(energies, expected) and undecided is None


@compiled
@given(
    kind=st.sampled_from(["noise", "zeros", "one image black", "outlier", "huge", "tiny", "not finite"]),
    shape=st.tuples(*[st.integers(1, n) for n in (3, 130, 9, 9)]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    memory_format=layouts,
    seed=st.integers(0, 20),
)
def test_means_are_the_reference_s(kind, shape, dtype, memory_format, seed):
    x = draw(kind, shape, seed).to(dtype).contiguous(memory_format=memory_format)
    with native.reference():
        expected = exact_mean(x)
    assert torch.equal(exact_mean(x).nan_to_num(7.0), expected.nan_to_num(7.0))


@compiled
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    pad=st.tuples(*[st.integers(-1, 12)] * 4),
    dtype=st.sampled_from(DTYPES),
    memory_format=layouts,
    seed=st.integers(0, 99),
)
def test_wrap_moves_and_pads_in_one_copy(size, pad, dtype, memory_format, seed):
    left, right, top, bottom = pad
    if min(size[0] + top + bottom, size[1] + left + right) < 1:
        return
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 2, *size, generator=generator).to(dtype).contiguous(memory_format=memory_format)
    origin = torch.randint(-20, 20, (3, 2), generator=generator)
    rows = torch.arange(-top, size[0] + bottom) % size[0]
    columns = torch.arange(-left, size[1] + right) % size[1]
    wrapped = circular_pad(x, pad, origin)
    assert torch.equal(wrapped, mass.shift(x, origin)[:, :, rows][..., columns]) and wrapped.dtype == dtype
    with native.reference():
        assert torch.equal(wrapped, circular_pad(x, pad, origin))


def windowed_map(w, channels, memory_format, seed):
    generator = torch.Generator().manual_seed(seed)
    size = [n * w["stride"] for n in w["blocks"]]
    x = torch.randn(2, channels, *size, generator=generator).contiguous(memory_format=memory_format)
    origin = torch.randint(0, 9, (2, 2), generator=generator)
    pads = window_pads(w["kernel"], w["stride"], w["padding"], w["dilation"])
    return x, origin, pads, generator


@compiled
@given(w=windows, channels=st.sampled_from([1, 5, 16, 40]), memory_format=layouts, seed=st.integers(0, 9))
def test_max_pooling(w, channels, memory_format, seed):
    x, origin, pads, _ = windowed_map(w, channels, memory_format, seed)
    x[0, 0, 0, 0] = torch.nan
    window = [(w[name], w[name]) for name in ("kernel", "stride", "dilation")]
    pooled = native.max_pool(x, *window, pads, origin)
    with native.reference():
        expected = F.max_pool2d(circular_pad(x, pads, origin), *window[:2], 0, window[2])
    assert torch.equal(pooled.nan_to_num(7.0), expected.nan_to_num(7.0))
    assert pooled.stride() == torch.empty_like(pooled, memory_format=memory_format).stride() or min(pooled.shape) == 1


@compiled
@given(w=windows, channels=st.sampled_from([1, 5, 16, 40]), memory_format=layouts, seed=st.integers(0, 9))
def test_depthwise_convolution(w, channels, memory_format, seed):
    """The sums are the convolution's, and the same bits wherever a map lies."""
    x, origin, pads, generator = windowed_map(w, channels, memory_format, seed)
    weight = torch.randn(channels, 1, w["kernel"], w["kernel"], generator=generator)
    bias = torch.randn(channels, generator=generator) if seed % 2 else None
    stride, dilation = ((w[name], w[name]) for name in ("stride", "dilation"))
    found = native.depthwise(x, weight, bias, stride, dilation, pads, origin)
    with native.reference():
        expected = circular_conv2d(
            x.double(),
            weight.double(),
            None if bias is None else bias.double(),
            stride,
            dilation,
            channels,
            pads,
            origin,
        )
    assert torch.allclose(found.double(), expected, rtol=1e-5, atol=1e-4)
    step = w["stride"]
    for t in ((step, 0), (0, step), (2 * step, -3 * step)):
        moved = native.depthwise(x.roll(t, (2, 3)).contiguous(memory_format=memory_format), weight, bias, stride,
                                 dilation, pads, origin)  # fmt: skip
        assert torch.equal(moved, found.roll((t[0] // step, t[1] // step), (2, 3)))


@compiled
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("width", range(1, 18))
def test_outputs_that_are_summed_together_are_those_summed_alone(width, stride, kernel):
    """Channels last, some neighbours of a row are computed at once, fewer near its end: every shift puts that end elsewhere."""
    generator = torch.Generator().manual_seed(width)
    x = torch.randn(1, 40, 2 * stride, width * stride, generator=generator)
    weight = torch.randn(40, 1, kernel, kernel, generator=generator)
    pads = window_pads(kernel, stride, kernel // 2)

    def found(by: int) -> torch.Tensor:
        moved = x.roll(by * stride, 3).contiguous(memory_format=torch.channels_last)
        return native.depthwise(moved, weight, None, (stride, stride), (1, 1), pads, None)

    assert all(torch.equal(found(by), found(0).roll(by, 3)) for by in range(width))


@compiled
@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_kernels_are_the_same_at_any_number_of_threads(threads, memory_format):
    x = torch.randn(3, 24, 60, 44).contiguous(memory_format=memory_format)
    weight, origin = torch.randn(24, 1, 3, 3), torch.tensor([[1, 0], [0, 1], [1, 1]])
    arguments = x, weight, None, (2, 2), (1, 1), (1, 0, 1, 0), origin
    torch.set_num_threads(1)
    alone = native.depthwise(*arguments), native.max_pool(x, (3, 3), (2, 2), (1, 1), (1, 0, 1, 0), origin)
    torch.set_num_threads(threads)
    together = native.depthwise(*arguments), native.max_pool(x, (3, 3), (2, 2), (1, 1), (1, 0, 1, 0), origin)
    assert torch.equal(alone[0], together[0]) and torch.equal(alone[1], together[1])


def test_nothing_is_read_behind_the_back_of_a_recorder():
    """Gradients, transforms and fake tensors go by the operators that they know."""
    pool, x = CircularMaxPool2d(3, 2, 1), torch.randn(2, 3, 8, 8)
    assert pool(x.requires_grad_()).requires_grad
    x = x.detach()
    assert torch.equal(torch.vmap(pool)(x[None])[0], pool(x))
    with torch._subclasses.FakeTensorMode() as mode:
        assert pool(mode.from_tensor(x)).shape == (2, 3, 4, 4)


def run(program, **environment):
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ | environment
    )
    return done.stdout.split(), done.stderr


PROGRAM = """
import torch, mass
from mass import native
assert native._load.cache_info().currsize == 0  # importing builds nothing
x = torch.arange(64.).view(1, 1, 8, 8)
print(mass.select_origin(x, 2).tolist() == [[1, 1]], native.kernels() is None)
"""


@pytest.mark.parametrize(
    "environment", [{"MASS_NATIVE": "0"}, {"CXX": "no-such-compiler", "MASS_CACHE": "{}"}, {"MASS_CACHE": "/dev/null"}]
)
def test_without_kernels_pytorch_does_the_work_and_nobody_is_told(environment, tmp_path):
    printed, errors = run(PROGRAM, **{name: value.format(tmp_path) for name, value in environment.items()})
    assert printed == ["True", "True"] and not errors


@compiled
def test_processes_that_build_at_once_share_one_file(tmp_path):
    command = [sys.executable, "-c", PROGRAM]
    environment = os.environ | {"MASS_CACHE": str(tmp_path / "cache")}
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(3)]
    assert [process.communicate()[0].split() for process in started] == [["True", "False"]] * 3
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.fixture(scope="module")
def a_library(tmp_path_factory):
    """A library that was built, its file; as others would be, once for this module."""
    folder = tmp_path_factory.mktemp("cache")
    printed, errors = run(PROGRAM, MASS_CACHE=str(folder))
    assert printed == ["True", "False"] and errors == "mass: building kernels for this machine, once (some seconds)\n"
    (library,) = folder.iterdir()
    return library


@compiled
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:40_000],  # loaded, it kills the process by SIGBUS
        lambda content: content[:100],
        lambda content: b"",
        lambda content: content[:-32],  # by a linker, but not by us
        lambda content: content[:20_000] + bytes(64) + content[20_064:],
    ],
    ids=["cut short", "very short", "empty", "without its hash", "zeros in it"],
)
def test_a_damaged_library_is_built_anew(damage, a_library, tmp_path):
    library = tmp_path / a_library.name
    library.write_bytes(damage(a_library.read_bytes()))
    library.chmod(0o755)
    printed, errors = run(PROGRAM, MASS_CACHE=str(tmp_path))
    assert printed == ["True", "False"] and "building" in errors
    assert library.read_bytes() == a_library.read_bytes()
    assert run(PROGRAM, MASS_CACHE=str(tmp_path)) == (["True", "False"], "")


@compiled
@pytest.mark.parametrize("mode, user", [(0o777, None), (0o775, None), (0o755, 12345)])
def test_what_others_may_have_written_is_not_loaded(mode, user, a_library, tmp_path):
    library = shutil.copy(a_library, tmp_path)
    os.chmod(library, mode)
    if user is not None:
        if os.getuid():
            pytest.skip("only root gives files away")
        os.chown(library, user, -1)
    printed, errors = run(PROGRAM, MASS_CACHE=str(tmp_path))
    assert printed == ["True", "True"]
    assert errors.count("\n") == 1 and "may be another user's work" in errors


@compiled
def test_what_killed_builds_left_is_removed_in_time(a_library, tmp_path):
    """But neither a build that may go on, nor what is not ours: the cache may be any folder."""
    for name, age in {"mass-kernels-old": 7200, "mass-kernels-new": 60, "tmpothers": 7200}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "windows.o").touch()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    run(PROGRAM, MASS_CACHE=str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"mass-kernels-new", "tmpothers", a_library.name}


@given(
    groups=st.sampled_from([2, 3, 8]),
    widths=st.sampled_from([(1, 2), (2, 2), (3, 3), (4, 4), (4, 2), (8, 8), (20, 10), (24, 24), (32, 32)]),
    kernel=st.sampled_from([1, 3, 5]),
    size=st.tuples(st.integers(1, 9), st.integers(1, 12)),
    memory_format=layouts,
    seed=st.integers(0, 99),
)
def test_grouped_convolutions_round_all_positions_alike(groups, widths, kernel, size, memory_format, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, groups * widths[0], *size, generator=generator).contiguous(memory_format=memory_format)
    weight = torch.randn(groups * widths[1], widths[0], kernel, kernel, generator=generator)
    t = [int(torch.randint(n, (), generator=generator)) for n in size]
    pads = window_pads(kernel, 1, kernel // 2)
    y, moved = (circular_conv2d(m, weight, None, (1, 1), (1, 1), groups, pads) for m in (x, x.roll(t, (2, 3))))
    assert torch.equal(y.roll(t, (2, 3)), moved)
    assert y.is_contiguous(memory_format=memory_format) or min(y.shape) == 1


@compiled
@pytest.mark.parametrize("name", native.NAMES)
def test_one_kernel_can_be_withheld(name, monkeypatch):
    """PyTorch then does its work, to the same result; the others go on."""
    called = []
    for other in native.NAMES:
        kernel = getattr(native, other)
        monkeypatch.setattr(
            native, other, lambda *a, o=other, k=kernel, **b: (r := k(*a, **b), r is not None and called.append(o))[0]
        )
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1),
        torch.nn.MaxPool2d(3, 2, 1),
        torch.nn.Conv2d(8, 8, 3, 2, 1, groups=8),
        torch.nn.AdaptiveAvgPool2d(1),
    ).eval()
    x = torch.randn(2, 3, 16, 16)
    converted = mass.convert(model, x)
    called.clear()
    with torch.no_grad():
        expected = converted(x)
        assert set(called) == set(native.NAMES)
        called.clear()
        with native.reference(name):
            found = converted(x)
    assert name not in called and set(called) >= set(native.NAMES) - {name, "wrap"}
    assert torch.allclose(found, expected, atol=1e-6)


def test_a_reference_is_one_of_its_thread():
    """What converts in one thread changes no bit of what runs in another."""
    with native.reference(), ThreadPoolExecutor(1) as pool:
        assert native.kernels() is None and pool.submit(native.kernels).result() is not None
        with native.reference("origins"):
            assert native.kernels() is None
        assert native.kernels() is None
    assert native.kernels() is not None and not native._references
