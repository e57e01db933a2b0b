"""Max pooling as compilers are given it, reads and their largest, beside a padded copy and PyTorch's pooling."""

import pytest
import torch
import torch.nn.functional as F

from mass.functional.padding import circular_pad, window_pads
from mass.functional.pooling import circular_max_pool, max_of_reads

WINDOWS = [((3, 3), (2, 2), (1, 1), (1, 1)), ((2, 2), (2, 2), (0, 0), (1, 1)), ((3, 2), (1, 3), (1, 0), (1, 2)), ((1, 1), (2, 1), (0, 0), (1, 1))]  # fmt: skip


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), WINDOWS)
@pytest.mark.parametrize("origins", [None, [[0, 0], [5, -9]]])
def test_the_largest_of_reads(memory_format, kernel, stride, padding, dilation, origins):
    x = torch.randn(2, 5, 6, 12).contiguous(memory_format=memory_format)
    x[0, 0, 2, 3], x[1, 1, 0, 0] = torch.nan, -torch.inf
    origin = None if origins is None else torch.tensor(origins)
    pads = window_pads(kernel, stride, padding, dilation)
    expected = F.max_pool2d(circular_pad(x, pads, origin), kernel, stride, 0, dilation)
    for found in (
        max_of_reads(x, kernel, stride, dilation, pads, origin),
        circular_max_pool(x, kernel, stride, dilation, pads, origin),
    ):
        assert torch.equal(found.nan_to_num(7.0), expected.nan_to_num(7.0))
    assert max_of_reads(x, kernel, stride, dilation, pads, origin).is_contiguous(memory_format=memory_format)


def test_a_compiler_makes_one_kernel_of_them():
    """No tensor but the result is written: neither a padded map nor places of reads."""
    from torch._inductor.utils import run_and_get_code

    pads = window_pads((3, 3), (2, 2), (1, 1))

    def pooled(x, origin):
        return max_of_reads(x.relu(), (3, 3), (2, 2), (1, 1), pads, origin)

    x, origin = torch.randn(2, 4, 8, 8).contiguous(memory_format=torch.channels_last), torch.tensor([[0, 1], [1, 1]])
    found, (code,) = run_and_get_code(torch.compile(pooled, fullgraph=True), x, origin)
    assert torch.equal(found, pooled(x, origin))
    assert code.count("= empty_strided_cpu(") == 1
