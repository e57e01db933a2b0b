"""DDAC: one filter for each position and group, as published."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from loops import ddac_as_published, pad, trained

from mass.baselines.ddac import DDAC2d


@given(
    size=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 3),
    groups=st.sampled_from([1, 2, 4]),
    per_group=st.booleans(),
    blocks=st.tuples(st.integers(2, 4), st.integers(2, 4)),
    seed=st.integers(0, 99),
)
def test_ddac(size, stride, groups, per_group, blocks, seed):
    torch.manual_seed(seed)
    ddac = trained(DDAC2d(4, size, stride, groups, per_group), seed).double()
    x = torch.randn(2, 4, blocks[0] * stride, blocks[1] * stride, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(ddac(x), ddac_as_published(x, ddac), atol=1e-12, rtol=0)
        dense = DDAC2d(4, size, 1, groups, per_group).double().eval()
        dense.load_state_dict(ddac.state_dict())
        assert torch.allclose(ddac(x), dense(x)[:, :, ::stride, ::stride], atol=1e-12, rtol=0)


@pytest.mark.parametrize("per_group", [False, True])
def test_ddac_filters_sum_to_one(per_group):
    """Each on its own, or those of a position together."""
    filters = trained(DDAC2d(16, groups=8, per_group=per_group)).filters(torch.randn(2, 16, 6, 4))
    assert filters.shape == (2, 3, 2, 8, 9) and filters.min() > 0
    total = filters.sum(-1) if per_group else filters.sum((-2, -1))
    assert torch.allclose(total, torch.ones_like(total))
    assert per_group or filters.sum(-1).std() > 0.01


def test_ddac_in_training():
    """BatchNorm's statistics are those of the sampled positions, and gradients reach all parameters."""
    ddac = DDAC2d(8, 3, 2, groups=2)
    ddac.bn.momentum = 1.0
    x = torch.randn(3, 8, 6, 4)
    ddac(x).square().sum().backward()
    logits = F.conv2d(pad(x, 1, 1), ddac.conv.weight)
    assert torch.allclose(ddac.bn.running_mean, logits[..., ::2, ::2].mean((0, 2, 3)), atol=1e-6)
    assert not torch.allclose(ddac.bn.running_mean, logits.mean((0, 2, 3)), atol=1e-3)
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in ddac.parameters())
