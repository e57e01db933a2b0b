"""MNIST and what is made of it: its files, its format, the rotated protocol, and MNIST-scale to the bit."""

from pathlib import Path

import pytest
import torch

from companion.core.errors import Refusal
from companion.data.datasets import DATASETS
from companion.data.published.digits import rotated_digits
from companion.data.published.mnist import mnist, shuffled
from companion.data.published.mnist_scale import PIXELS, mnist_scale
from companion.data.transformed import half

ROOT = Path(__file__).parents[3]
here = pytest.mark.skipif(not (ROOT / "data/mnist").exists(), reason="MNIST was not fetched")


def write(folder: Path, count: int) -> None:
    """MNIST's four files with few images."""
    at = folder / "data/mnist/package/data"
    at.mkdir(parents=True)
    for name in ("train", "t10k"):
        head = [number.to_bytes(4, "big") for number in (2051, count, 28, 28)]
        (at / f"{name}-images-idx3-ubyte").write_bytes(b"".join(head) + bytes(784 * count))
        (at / f"{name}-labels-idx1-ubyte").write_bytes(
            (2049).to_bytes(4, "big") + count.to_bytes(4, "big") + bytes([7] * count)
        )


def test_the_format_is_read(tmp_path):
    write(tmp_path, 3)
    train, test = mnist(tmp_path)
    assert train.images.shape == (3, 1, 28, 28) and test.labels.tolist() == [7, 7, 7]


def test_missing_and_wrong_files_are_refused(tmp_path):
    with pytest.raises(Refusal, match="make fetch DATA=mnist"):
        mnist(tmp_path)
    write(tmp_path, 3)
    (tmp_path / "data/mnist/package/data/t10k-labels-idx1-ubyte").write_bytes(b"something else")
    with pytest.raises(Refusal, match="t10k-labels-idx1-ubyte is no file of MNIST"):
        mnist(tmp_path)


def test_halving_keeps_the_mean_of_two_by_two():
    image = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    image[..., 0:2, 0:2] = 100
    small = half(image)
    assert small.shape == (1, 1, 16, 16) and small[0, 0, 1, 1] == 100 and small.sum() == 100


def test_turned_digits_are_a_data_set():
    data = rotated_digits(Path())
    assert len(data.train) == 1297 and len(data.test) == 500 and data.train.images.dtype == torch.uint8
    assert torch.equal(data.at(0, 500).images, data.upright.images)
    assert torch.equal(data.at(90, 500).images, data.upright.images.rot90(1, (2, 3)))
    assert abs(float(data.normalize(data.train.images).std()) - 1) < 1e-3


@here
def test_the_rotated_protocol_has_12000_and_50000_digits_that_do_not_meet():
    train, test = shuffled(ROOT, 12_000, 50_000)
    assert (len(train), len(test)) == (12_000, 50_000)
    seen = {image.tobytes() for image in train.images.numpy()}
    assert sum(image.tobytes() in seen for image in test.images.numpy()) < 10  # MNIST repeats few


@here
def test_mnist_scale_is_the_published_one():
    made = mnist_scale(ROOT)  # refuses other pixels
    assert [len(made[name]) for name in ("train", "test", "val", "upright")] == [10_000, 50_000, 2_000, 50_000]
    assert len(set(PIXELS)) == 6
    assert torch.equal(made["test"].labels, made["upright"].labels)
    assert made["test"].images.float().mean() < 0.6 * made["upright"].images.float().mean()


def test_all_are_named():
    assert {"rotated-mnist", "rotated-mnist-16", "reflected-mnist-16", "scaled-mnist", "scaled-mnist-16"} <= set(
        DATASETS
    )
