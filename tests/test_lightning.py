"""The callback, in a real trainer: it logs what the measure says, of the images and the shifts that it names."""

import functools

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import mass

pl = pytest.importorskip("lightning.pytorch")

from mass.lightning import LogConsistency


class Classifier(pl.LightningModule):
    """The smallest module: a network, its loss, and nothing else."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, index):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, index):
        self.log("loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)  # so that the network asked after training is known


def network():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, 10, bias=False))


IMAGES = torch.rand(24, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def batches_of_images():
    return DataLoader(TensorDataset(IMAGES, torch.arange(24) % 10), batch_size=8)


def trainer_with(*callbacks):
    return pl.Trainer(
        max_epochs=1, limit_train_batches=2, limit_val_batches=3, callbacks=list(callbacks), accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip


def fitted(net, *callbacks):
    trainer = trainer_with(*callbacks)
    trainer.fit(Classifier(net), batches_of_images(), batches_of_images())
    return {name: value.item() for name, value in trainer.callback_metrics.items()}


def test_a_converted_network_is_logged_as_consistent():
    metrics = fitted(mass.convert(network(), IMAGES), LogConsistency(batches=3))
    assert metrics["circular_consistency"] == 100 and "loss" in metrics


def test_what_is_logged_is_what_is_measured():
    net = network()
    aps = LogConsistency(functools.partial(mass.consistency, protocol="aps"), name="aps", model="net")
    metrics = fitted(net, LogConsistency(batches=2, seed=5), aps)
    batches = IMAGES.split(8)
    expected = [mass.circular_consistency(net, x, seed=5 + k) for k, x in enumerate(batches[:2])]
    assert metrics["circular_consistency"] == pytest.approx(sum(expected) / 2)
    assert metrics["aps"] == pytest.approx(mass.consistency(net, batches[0], "aps"))
    assert metrics["circular_consistency"] < 100


def test_the_module_is_left_in_its_mode():
    net = network()
    fitted(net, LogConsistency())
    assert net.training


def test_no_batches_are_refused():
    with pytest.raises(ValueError, match="batches must be at least 1, got 0"):
        LogConsistency(batches=0)


@pytest.mark.parametrize("run", ["fit", "validate"])
def test_a_trainer_is_told_to_take_the_network_converted_inside(run):
    whole = mass.convert(Classifier(network()).eval(), IMAGES)
    assert mass.certify(whole, IMAGES[:2]).identical.all()  # without a Trainer it is a network as others are
    with pytest.raises(mass.NotEquivariantError, match=r"convert the network inside: module\.net = mass\.convert"):
        getattr(trainer_with(), run)(whole, batches_of_images())


def test_steps_are_refused_whatever_their_batch_is():
    """A batch of a class of its own shows no tensor; and as methods to be converted they would read the trainer."""
    module = Classifier(network()).eval()
    with pytest.raises(mass.NotEquivariantError, match=r"one by one \(training_step\); convert the network inside"):
        mass.convert(module, IMAGES).training_step(object(), 0)
    with pytest.raises(mass.NotEquivariantError, match=r"one by one \(training_step\); convert the network inside"):
        mass.convert(module, IMAGES, methods={"training_step": (IMAGES, torch.zeros(24))})
