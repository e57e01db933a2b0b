"""Fifteen corruptions: bytes in, bytes out, alike for a seed, and each severity spoils more than the one before."""

import pytest
import torch

from companion.data.common_corruptions import COMMON, SEVERITIES, corrupt_commonly
from companion.data.images import photographs


@pytest.mark.parametrize("name", COMMON)
def test_each_severity_spoils_more(name):
    images = (photographs(96) * 255).byte()
    spoiled = [corrupt_commonly(images, name, severity) for severity in SEVERITIES]
    assert all(x.shape == images.shape and x.dtype == torch.uint8 for x in spoiled)
    assert torch.equal(spoiled[2], corrupt_commonly(images, name, 3))
    distance = [(x.float() - images.float()).square().mean().item() for x in spoiled]
    assert distance == sorted(distance) and distance[0] > 0


@pytest.mark.parametrize("name", COMMON)
def test_grey_images_too(name):
    assert corrupt_commonly(torch.randint(256, (3, 1, 8, 8), dtype=torch.uint8), name, 1).shape == (3, 1, 8, 8)


def test_there_are_fifteen_at_five_severities():
    assert len(COMMON) == 15 and all(len(strengths) == 5 for _, strengths in COMMON.values())


@pytest.mark.parametrize(
    ("name", "severity", "message"),
    [("rain", 1, "unknown corruption 'rain'; choose one of Gaussian noise"), ("fog", 6, "severity must be from 1 to 5, got 6"), ("fog", 0, "got 0")],
)  # fmt: skip
def test_wrong_inputs(name, severity, message):
    with pytest.raises(ValueError, match=message):
        corrupt_commonly(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), name, severity)
