"""The bar: bit-identical logits under circular shifts, for torchvision's families, on every awkward input.

At 64 x 96 (small maps are the hard case for kernels), batch 1 and 3, 1 to 5 threads, 16 shifts, float32 and bfloat16. The
same at 224 x 224 and 192 x 320 under all residues is `make residues`.
"""

import os
import subprocess
import sys

import pytest
import torch

import mass
from companion.data.generated.hard_images import awkward_images
from companion.models.random_weights import FAMILIES, calibrated

SIZE = (64, 96)


@pytest.fixture(scope="module", params=FAMILIES)
def converted(request):
    images = torch.cat(list(awkward_images(*SIZE).values()))
    return mass.convert(calibrated(request.param), images[:1]), images


def shifts(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return [tuple(int(torch.randint(n, (), generator=generator)) for n in SIZE) for _ in range(count)]


def names(certificate, first):
    return [list(awkward_images(*SIZE))[first + i] for i, same in enumerate(certificate.identical) if not same]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_batches_of_three(converted, dtype):
    model, images = converted
    model = model.to(dtype)
    try:
        for threads in (1, 2, 3, 4, 5):
            torch.set_num_threads(threads)
            for first in range(0, len(images), 3):
                batch = images[first : first + 3].to(dtype)
                # 16 shifts in all: a few at each number of threads
                certificate = mass.certify(model, batch, shifts(4 if threads == 1 else 3, seed=threads))
                assert certificate.identical.all(), (threads, names(certificate, first), certificate)
    finally:
        model.float()


def test_single_images(converted):
    model, images = converted
    for i in range(len(images)):
        torch.set_num_threads(1 + i % 5)
        certificate = mass.certify(model, images[i : i + 1], shifts(16, seed=i))
        assert certificate.identical.all(), (1 + i % 5, names(certificate, i), certificate)


def test_without_any_setting_of_the_environment():
    """Who only writes `import mass` gets the same: no MKL_CBWR, and the kernel that needs it is not called."""
    program = """
import torch, mass
from companion.models.random_weights import calibrated
torch.set_num_threads(2)
model, x = calibrated("resnet18"), torch.randn(1, 3, 64, 96)
shifts = [(i * 7 % 64, i * 13 % 96) for i in range(1, 10)]
print(mass.certify(mass.convert(model, x), x, shifts).identical.all().item())
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MKL_")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "True"
