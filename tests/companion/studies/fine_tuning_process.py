"""One process of a test: a small network, fine-tuned by as many processes as torchrun starts; the first saves its weights."""

import sys

import torch
import torch.distributed as dist
from torch import nn

import mass
from companion.training.tune import Tuning, fine_tune, in_memory

TUNING = Tuning(epochs=2, batch=6, lr=0.05)


def tuned() -> nn.Module:
    """Converted, with batch statistics that are not those of its images."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.AdaptiveAvgPool2d(1),
                          nn.Flatten(), nn.Linear(8, 4))  # fmt: skip
    model = mass.convert(plain.eval(), torch.randn(1, 3, 16, 16))
    images = torch.randint(256, (20, 3, 16, 16), dtype=torch.uint8)  # the last batch is of 2
    fine_tune(model, in_memory(images, torch.arange(20) % 4, TUNING), TUNING)
    return model


if __name__ == "__main__":
    dist.init_process_group("gloo")
    model = tuned()
    if dist.get_rank() == 0:
        torch.save(model.state_dict(), sys.argv[1])
    dist.destroy_process_group()
