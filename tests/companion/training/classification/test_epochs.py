"""What a network sees in an epoch: order, mirrors, shifts, rate; and the data sets."""

import itertools

import pytest
import torch
from digit_runs import SMALL

from companion.core.errors import Refusal
from companion.data.labelled import Labelled, Split
from companion.training.recipe import Recipe
from companion.training.tasks.classification import epoch_batches
from companion.training.train import learning_rate, train


def pictures(count: int, size: int = 8) -> Split:
    """Random ones, each labelled by its number."""
    return Split(torch.randint(256, (count, 3, size, size), dtype=torch.uint8), torch.arange(count))


def an_epoch(split: Split, epoch: int = 0, **changes) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*epoch_batches(split, Recipe(**SMALL | changes), epoch), strict=True)
    assert {len(batch) for batch in labels} == {64}
    return torch.cat(images), torch.cat(labels)


def test_an_epoch_is_a_permutation_without_its_last_partial_batch():
    split = pictures(1000)
    _, labels = an_epoch(split)
    assert len(labels) == len(labels.unique()) == 960
    assert not torch.equal(labels, labels.sort().values)
    assert set(range(1000)) == set(torch.cat([an_epoch(split, epoch)[1] for epoch in range(4)]).tolist())


def test_an_epoch_is_a_function_of_seed_and_epoch():
    split = pictures(256)
    images, labels = an_epoch(split, 3)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again, labels_again = an_epoch(split, 3, lr=0.1, epochs=9)
    assert torch.equal(images, again) and torch.equal(labels, labels_again)
    assert torch.equal(torch.get_rng_state(), state)  # nor does it draw from what networks draw from
    assert torch.equal(an_epoch(split, 3, method="baseline-shifts")[1], labels)  # all methods see the same order
    for other in (an_epoch(split, 2), an_epoch(split, 3, seed=1)):
        assert not torch.equal(other[1], labels)


def test_half_of_the_pictures_are_mirrored_each_for_itself():
    split = pictures(1280)
    images, labels = an_epoch(split)
    same = (images == split.images[labels]).flatten(1).all(1)
    mirrored = (images == split.images[labels].flip(3)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 0.45 < mirrored.float().mean() < 0.55
    assert all(0 < batch.sum() < 64 for batch in mirrored.split(64))
    plain, labels = an_epoch(split, flip=False)
    assert torch.equal(plain, split.images[labels])


def test_shifts_in_training_are_circular_and_each_its_own():
    split = pictures(640, size=4)
    images, labels = an_epoch(split, method="baseline-shifts")
    sources = split.images[labels]
    ways = [source.roll((i, j), (2, 3)) for source in (sources, sources.flip(3)) for i in range(4) for j in range(4)]
    found = torch.stack([(images == way).flatten(1).all(1) for way in ways])  # (ways, pictures)
    assert (found.sum(0) == 1).all()
    assert found.any(1).all()  # every shift of either happens


def test_the_learning_rate_falls_at_every_step_from_the_recipes_to_zero():
    recipe = Recipe(lr=0.3)
    rates = [learning_rate(recipe, step, 40) for step in range(41)]
    assert rates[0] == 0.3 and rates[20] == pytest.approx(0.15) and rates[40] == 0
    assert all(later < earlier for earlier, later in itertools.pairwise(rates))


# Data


def test_pictures_are_normalised_in_their_own_memory_format(digits):
    normal = digits.normalize(digits.train.images)
    assert normal.dtype == torch.float32 and abs(normal.mean()) < 0.01 and abs(normal.std() - 1) < 0.01
    data = Labelled(digits.train, digits.test, (0.0, 0.2, 0.4), (1.0, 0.5, 0.1))
    images = torch.tensor([0, 51, 102], dtype=torch.uint8)[None, :, None, None].repeat(2, 1, 4, 4)
    assert data.normalize(images).abs().max() < 1e-6  # each channel's own mean
    assert torch.allclose(data.normalize(images + 51)[0, :, 0, 0], torch.tensor([0.2, 0.4, 2.0]))
    for memory in (torch.contiguous_format, torch.channels_last):
        assert data.normalize(images.contiguous(memory_format=memory)).is_contiguous(memory_format=memory)


def test_a_data_set_that_is_not_there_says_how_to_get_it(home):
    with pytest.raises(Refusal, match="CIFAR-10 is not in data/cifar10: run `make fetch DATA=cifar10`"):
        train(Recipe(), home, home)


def test_the_digits_are_all_there_and_in_no_order(digits):
    assert (len(digits.train), len(digits.test)) == (1297, 500)
    assert digits.train.images.shape == (1297, 1, 8, 8) and digits.train.images.max() == 255
    assert all(split.labels.bincount().min() > len(split) / 20 for split in (digits.train, digits.test))
    images, labels = zip(*digits.test.batches(300), strict=True)
    assert [len(part) for part in images] == [300, 200]
    assert torch.equal(torch.cat(labels), digits.test.labels)
