"""What baselines are compared with: obvious loops, and modules with weights that a training might leave."""

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import nn

sizes = st.tuples(st.integers(1, 3), st.integers(1, 4))  # of a map, in strides


def trained(module, seed=0):
    """A module whose BatchNorm statistics are not those of a beginner; in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for bn in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
        for tensor in (bn.running_mean, bn.bias.data):
            tensor.normal_(generator=generator)
        for tensor in (bn.running_var, bn.weight.data):
            tensor.uniform_(0.5, 2, generator=generator)
    return module.eval()


def phases(x, stride):
    """The polyphase components, in a list."""
    return [x[:, :, i :: stride[0], j :: stride[1]] for i in range(stride[0]) for j in range(stride[1])]


def pad(x, left, right):
    return F.pad(x, (left, right, left, right), mode="circular")


def same_up_to_a_shift(y, z):
    return any(torch.equal(y.roll((i, j), (2, 3)), z) for i in range(y.shape[2]) for j in range(y.shape[3]))


def ddac_as_published(x, ddac):
    """The authors' algorithm, with circular borders: filters everywhere, unfolded windows, then every s-th position."""
    size, groups, channels = ddac.kernel_size, ddac.groups, x.shape[1]
    padded = pad(x, size // 2, size // 2)
    logits = ddac.bn(F.conv2d(padded, ddac.conv.weight)).unflatten(1, (groups, -1))  # (B, g, k * k, H, W)
    weights = logits.exp() / logits.exp().sum(2 if ddac.per_group else (1, 2), keepdim=True)
    windows = F.unfold(padded, size).view(x.shape[0], channels, size * size, *x.shape[2:])
    out = torch.empty_like(x)
    for channel in range(channels):
        out[:, channel] = (windows[:, channel] * weights[:, channel // (channels // groups)]).sum(1)
    return out[:, :, :: ddac.stride, :: ddac.stride]


def strided_conv(stride):
    conv = nn.Conv2d(4, 6, 3, stride, 1)
    return conv, lambda x: F.conv2d(pad(x, 1, 1), conv.weight, conv.bias)


def choosers(model):
    return [name for name, _ in model.named_children() if name.startswith("mass_origin")]
