"""What a user calls, with the network and the images on a GPU from the start; where there is none, on a device that pretends to be one."""

import copy
from contextlib import nullcontext

import pytest
import torch
import torchvision
from pretended_device import pretended
from random_programs import program
from torch import nn

import mass
from companion.data.generated.hard_images import awkward_images
from companion.models.random_weights import calibrated, segmenter

DEVICE = torch.device("cuda", 0)
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="a machine with a GPU")
SIZE = (64, 96)
SHIFTS = [(0, 1), (1, 0), (7, 13), (32, 48)]
IMAGES = awkward_images(*SIZE)


@pytest.fixture(autouse=True)
def _device(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # what is compared with the CPU is float32
    with nullcontext() if torch.cuda.is_available() else pretended():
        yield


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1, groups=8),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    ).eval()  # fmt: skip


def photographs(dtype: torch.dtype = torch.float32, last: bool = True) -> torch.Tensor:
    x = torch.cat([IMAGES["photograph"], IMAGES["another photograph"]]).to(DEVICE, dtype)
    return x.contiguous(memory_format=torch.channels_last) if last else x


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "convnext_tiny"])
def test_convert_and_certify(name):
    model, x = calibrated(name).to(DEVICE), photographs()
    converted = mass.convert(model, x)
    assert all(p.device.type == DEVICE.type for p in converted.parameters())
    assert mass.certify(converted, x, SHIFTS).identical.all()
    assert not mass.certify(model, x, SHIFTS).identical.all()
    ties = torch.cat([IMAGES[n] for n in ("constant", "zeros", "two equal objects", "lattice with equal defects")])
    assert mass.certify(converted, ties.to(DEVICE), SHIFTS).identical.all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("last", [False, True])
def test_half_precision(dtype, last):
    x = photographs(dtype, last)
    model = calibrated("resnet18").to(
        DEVICE, dtype, memory_format=torch.channels_last if last else torch.contiguous_format
    )
    assert mass.certify(mass.convert(model, x), x, SHIFTS).identical.all()


def test_a_certificate_of_all_shifts():
    x = photographs()[..., :32, :48].contiguous()
    certificate = mass.certify(mass.convert(small().to(DEVICE), x), x)
    assert certificate.identical.all() and "CERTIFIED" in str(certificate)


@pytest.mark.parametrize(
    "options", [{"origin": "seam"}, {"origin": "peak"}, {"origin": "linf"}, {"blend": 0.01}], ids=str
)
def test_other_ways_to_choose(options):
    x = photographs()
    assert mass.certify(mass.convert(small().to(DEVICE), x, **options), x, SHIFTS)


def test_dense_outputs():
    x, model = photographs(), segmenter("Unet", "resnet18", SIZE).to(DEVICE)
    assert mass.certify(mass.convert(model, x), x, SHIFTS).identical.all()
    assert mass.certify(mass.convert(model, x, symmetrise=True), x, SHIFTS)


def test_baselines_and_filters():
    x, model = photographs(), small().to(DEVICE)
    assert mass.certify(mass.convert(mass.antialias(model, x), x), x, SHIFTS).identical.all()
    assert mass.baselines.convert_to_aps(model, x)(x).shape == mass.baselines.convert_to_lps(model, x)(x).shape


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lps_chooses_where_the_images_are(dtype):
    lps = mass.baselines.convert_to_lps(small().to(DEVICE, dtype), photographs(dtype))
    assert {p.device.type for p in lps.parameters()} == {"cuda"} and {p.dtype for p in lps.parameters()} == {dtype}
    assert lps(photographs(dtype)).shape == (2, 5)


def test_what_is_asked_of_a_network():
    x, model = photographs(), calibrated("resnet18").to(DEVICE)
    converted = mass.convert(model, x)
    assert mass.consistency(converted, [x], "mass") == 100
    assert "operations with a period" in str(mass.explain(model, x))
    with mass.record_origins(converted) as origins:
        converted(x)
    assert origins and mass.margin(x, 2).shape == (2,)
    small_image = x[..., :64, :64]
    assert mass.canvas(small_image, (96, 96)).shape[-2:] == (96, 96)


def test_one_step_of_training_is_the_cpus():
    x, losses, gradients = photographs(), [], []
    for device in ("cpu", DEVICE):
        converted = mass.convert(small(), x.cpu()).to(device).train()
        loss = nn.functional.cross_entropy(converted(x.to(device)), torch.tensor([1, 3], device=device))
        loss.backward()
        losses.append(loss.detach().cpu())
        gradients.append([p.grad.cpu() for p in converted.parameters()])
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_the_answer_is_the_cpus(name):
    x, converted = photographs(), mass.convert(calibrated(name), photographs().cpu())
    with torch.no_grad():
        expected = converted(x.cpu())
        found = copy.deepcopy(converted).to(DEVICE)(x).cpu()
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)


@on_a_gpu
def test_compiled():
    x, converted = photographs(), mass.convert(small().to(DEVICE), photographs())
    compiled = mass.compile(converted, fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), converted(x), rtol=1e-4, atol=1e-4)
        assert torch.equal(compiled(mass.shift(x, torch.tensor((5, 9)))), compiled(x))


def test_a_shift_given_on_the_cpu():
    x = photographs()
    assert torch.equal(mass.shift(x, torch.tensor((3, 5))), x.roll((-3, -5), (2, 3)))
    assert torch.equal(mass.restore(mass.shift(x, torch.tensor((3, 5))), torch.tensor((3, 5))), x)


def test_a_detector():
    torch.manual_seed(0)
    model = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, min_size=64, max_size=128, box_score_thresh=0.0
    )
    model, x = model.eval().to(DEVICE), awkward_images(64, 128)["photograph"].to(DEVICE)
    assert mass.certify(mass.convert(model, x), x, SHIFTS[:2])


@pytest.mark.parametrize("seed", range(6))
def test_random_networks_are_judged_as_on_the_cpu(seed):
    """Those of tests/random_programs.py: refused there and here, or converted and bit-identical."""
    outcomes = []
    for device in (torch.device("cpu"), DEVICE):
        model, x = program(seed)
        model, x = model.to(device), x.to(device)
        try:
            converted = mass.convert(model, x)
            outcomes.append(bool(mass.certify(converted, x, SHIFTS[:2])))
        except mass.NotEquivariantError:
            outcomes.append(None)
    assert outcomes[0] == outcomes[1] and outcomes[0] is not False
