"""shift(x, o)[n] = x[(n + o) mod H]; restore undoes it; both keep gradients, memory format and dtype."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mass

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@given(
    shape=st.tuples(*[st.integers(1, n) for n in (3, 4, 9, 9)]),
    dtype=st.sampled_from(DTYPES),
    channels_last=st.booleans(),
    seed=st.integers(0, 99),
)
def test_shift_is_a_roll_of_each_image(shape, dtype, channels_last, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator).to(dtype)
    origin = torch.randint(-20, 20, (shape[0], 2), generator=generator)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    y = mass.shift(x, origin)
    expected = torch.stack([row.roll((-o).tolist(), (1, 2)) for row, o in zip(x, origin, strict=True)])
    assert torch.equal(y, expected)
    assert y.dtype == dtype and y.stride() == x.stride()
    assert torch.equal(mass.restore(y, origin), x)


@pytest.mark.parametrize("shape", [(2, 3, 100, 120), (2, 40, 32, 32)])  # copied as slices, above the threshold
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_large_maps(shape, memory_format):
    x = torch.randn(shape).contiguous(memory_format=memory_format)
    for origin in (torch.tensor([[0, 0], [5, 7]]), torch.tensor([[-3, 0], [0, 200]])):
        expected = torch.stack([row.roll((-o).tolist(), (1, 2)) for row, o in zip(x, origin, strict=True)])
        y = mass.shift(x, origin)
        assert torch.equal(y, expected) and y.is_contiguous(memory_format=memory_format)


def test_a_sliced_map_and_a_single_origin():
    x = torch.randn(2, 3, 8, 16)[:, :, ::2, 1::3]
    assert torch.equal(mass.shift(x, torch.tensor([1, 2])), x.roll((-1, -2), (2, 3)))


def test_gradient_is_the_opposite_shift():
    origin = torch.tensor([[1, 2], [3, 0]])
    x = torch.randn(2, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: mass.shift(x, origin), x)
    assert torch.autograd.gradcheck(lambda x: mass.restore(x, origin), x)
    assert torch.autograd.gradgradcheck(lambda x: mass.shift(x, origin), x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_operators_pass_torch_library_checks(dtype):
    """Among them: no operator writes to its input, in any dtype."""
    x, origin = torch.randn(2, 3, 6, 6).to(dtype), torch.tensor([[1, 2], [0, 5]])
    cases = [
        (torch.ops.mass.shift.default, (x, origin)),
        (torch.ops.mass.exact_mean.default, (x, [2, 3])),
        (torch.ops.mass.symmetrise.default, (x, x)),
        *((torch.ops.mass.select_origin.default, (x, 2, 2, rule, x.sign(), origin)) for rule in mass.RULES),
    ]
    for operator, arguments in cases:
        before = [a.clone() for a in arguments if isinstance(a, torch.Tensor)]
        operator(*arguments)
        after = [a for a in arguments if isinstance(a, torch.Tensor)]
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True)), operator
    for operator, arguments in cases[:4]:
        torch.library.opcheck(operator, arguments)


def test_vmap():
    x, origin = torch.randn(4, 2, 3, 6, 6), torch.randint(0, 6, (4, 2, 2))
    expected = torch.stack([mass.shift(a, o) for a, o in zip(x, origin, strict=True)])
    assert torch.equal(torch.vmap(mass.shift)(x, origin), expected)
    selected = torch.stack([mass.select_origin(a, 2) for a in x])
    assert torch.equal(torch.vmap(lambda a: mass.select_origin(a, 2))(x), selected)


@pytest.mark.parametrize(
    ("x", "origin", "error", "message"),
    [
        (torch.randn(3, 8, 8), torch.zeros(1, 2).long(), ValueError, r"add the batch axis with x\[None\]"),
        (torch.ones(1, 3, 8, 8).long(), torch.zeros(1, 2).long(), TypeError, r"convert with x.float\(\)"),
        (torch.randn(0, 3, 8, 8), torch.zeros(0, 2).long(), ValueError, "the map is empty"),
        (torch.randn(1, 3, 8, 8), torch.zeros(1, 2), TypeError, "origin must be int64"),
        (torch.randn(2, 3, 8, 8), torch.zeros(3, 2).long(), ValueError, r"shape \(2, 2\)"),
        ("image", torch.zeros(1, 2).long(), TypeError, "expected a tensor"),
    ],
)
@pytest.mark.parametrize("function", [mass.shift, mass.restore])
def test_wrong_inputs(function, x, origin, error, message):
    with pytest.raises(error, match=message):
        function(x, origin)
