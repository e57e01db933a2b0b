"""A callback of Lightning: circular consistency beside the validation loss. Needs the extra `lightning`.

from mass.lightning import LogConsistency

trainer = lightning.Trainer(callbacks=[LogConsistency()])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
from torch import nn

from mass.evaluate.consistency import circular_consistency

Measure = Callable[..., float]


class LogConsistency(pl.Callback):
    """Logs how consistent the module's labels are under shifts (paper, eq. 4), in percent, after every validation epoch.

    It asks for the module's outputs on the first batches of each validation set, twice a batch, and logs the mean over their
    images; the same shifts in every epoch, so that epochs can be compared. A module whose network is converted logs 100.

    Args:
        measure: (model, images, seed=) -> percent: `mass.circular_consistency`, `mass.segmentation_consistency` for masks,
            or `functools.partial(mass.consistency, protocol="aps")`.
        batches: how many batches of each validation set are asked about.
        name: of the logged metric.
        model: the module's part that takes images (B, C, H, W) and returns logits (B, classes), by its name; '' is the
            module itself.
        seed: of the shifts.

    A batch is the images, or images and what belongs to them. As all measures do, it raises a ValueError for NaN or infinity.

    >>> callback = LogConsistency(batches=2, model="net")
    >>> callback.name
    'circular_consistency'
    """

    def __init__(
        self,
        measure: Measure = circular_consistency,
        batches: int = 1,
        name: str = "circular_consistency",
        model: str = "",
        seed: int = 0,
    ) -> None:
        if batches < 1:
            raise ValueError(f"batches must be at least 1, got {batches}.")
        self.measure, self.batches, self.name, self.model, self.seed = measure, batches, name, model, seed

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Measure a batch, if it is one of the first."""
        if batch_idx >= self.batches or trainer.sanity_checking:
            return
        model: nn.Module = pl_module.get_submodule(self.model)
        images = batch[0] if isinstance(batch, tuple | list) else batch
        percent = self.measure(model, images, seed=self.seed + batch_idx)
        pl_module.log(self.name, percent, on_step=False, on_epoch=True, batch_size=len(images), sync_dist=True)
