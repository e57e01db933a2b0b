"""Detectors in what else PyTorch does with networks: copies on devices, processes, the compiler, float64."""

import copy
import os

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

pytest.importorskip("torchvision")
from small_detectors import KINDS, build
from test_surroundings import Narrow
from torchvision.models.detection import RetinaNet, anchor_utils

import mass
from mass.detection import same_detections

BOX = torch.tensor([[4.0, 4, 20, 20]])
TARGETS = [{"boxes": BOX, "labels": torch.ones(1, dtype=torch.int64), "masks": torch.ones(1, 64, 64).byte()}] * 2


@pytest.fixture(scope="module", params=["retinanet", "mask"])
def detector(request):
    return mass.convert(build(request.param), torch.rand(1, 3, 64, 64), verify=False)


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    """A process group of one."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    store = dist.FileStore(str(tmp_path_factory.mktemp("gloo") / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def images():
    return list(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3)))


def same(found, other):
    return all(same_detections(a, b, (0, 0), (64, 64)) for a, b in zip(found, other, strict=True))


def test_data_parallel(detector):
    """Without a GPU it is the detector itself."""
    with torch.no_grad():
        assert same(DataParallel(detector)(images()), detector(images()))


def test_distributed_finds_and_learns_the_same(detector, group):
    with torch.no_grad():
        assert same(DistributedDataParallel(detector)(images()), detector(images()))
    alone, together = copy.deepcopy(detector).train(), copy.deepcopy(detector).train()
    for model in (alone, DistributedDataParallel(together)):
        torch.manual_seed(0)
        sum(model(images(), TARGETS).values()).backward()
    gradients = dict(together.named_parameters())
    for name, parameter in alone.named_parameters():
        assert torch.equal(parameter.grad, gradients[name].grad), name


def test_a_compiled_detector_gives_one_set_wherever_the_image_lies():
    anchors = anchor_utils.AnchorGenerator(((4,),), ((1.0,),))
    model = RetinaNet(Narrow(), 2, anchor_generator=anchors, score_thresh=0.0).eval()
    nn.init.normal_(model.head.classification_head.cls_logits.weight, std=1.0)
    compiled = mass.compile(mass.convert(model, torch.rand(1, 3, 8, 8)))
    assert compiled.mass_dense._compiled_call_impl is not None
    certificate = mass.certify(compiled, torch.rand(1, 3, 8, 8), shifts=6)
    assert certificate.identical.all(), certificate


@pytest.mark.parametrize("kind", KINDS)
def test_detectors_in_float64(kind):
    x = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    certificate = mass.certify(mass.convert(build(kind).double(), x, verify=False), x, shifts=2)
    assert certificate.identical.all() and sum(certificate.outputs[0].shape), certificate
