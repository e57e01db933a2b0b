"""FastestDet: its size, its parts' names, and the same detections wherever the image lies."""

import torch

import mass
from companion.models.detectors.detections import found_in, read_fastestdet
from companion.models.detectors.fastestdet import FastestDet
from mass.detection import same_detections


def network():
    torch.manual_seed(0)
    model = FastestDet()
    with torch.no_grad():
        for _ in range(3):
            model(torch.rand(4, 3, 64, 64))  # statistics of which something comes
    return model.eval()


def test_it_has_the_published_size_and_names():
    state = FastestDet().state_dict()
    assert sum(p.numel() for p in FastestDet().parameters()) == 244_490
    for name, shape in {
        "backbone.first_conv.0.weight": (24, 3, 3, 3),
        "backbone.stage2.0.branch_proj.2.weight": (24, 24, 1, 1),
        "backbone.stage4.3.branch_main.5.weight": (96, 96, 1, 1),
        "SPP.Conv1x1.conv1x1.0.weight": (96, 336, 1, 1),
        "SPP.S3.6.weight": (96, 1, 5, 5),
        "detect_head.cls_layers.conv5x5.3.weight": (80, 96, 1, 1),
    }.items():
        assert state[name].shape == shape


def test_detections_move_along():
    model, x = network(), torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    converted = mass.convert(model, x)
    for by in [(1, 0), (5, 9), (33, 70)]:
        with torch.no_grad():
            still, moved = (found_in(converted, y, read_fastestdet, 0.1) for y in (x, mass.shift(x, torch.tensor(by))))
        for one, other in zip(still, moved, strict=True):
            assert len(one["scores"]) > 0
            assert same_detections(one, other, by, (64, 96))


def test_boxes_are_read_as_published():
    """A centre half a position to the right and down, an eighth of the image wide and a quarter high."""
    maps = torch.zeros(1, 85, 4, 4)
    maps[0, 0, 1, 2], maps[0, 5 + 7, 1, 2] = 0.5, 1.0
    wanted = (
        torch.atanh(torch.tensor(0.5)),
        torch.atanh(torch.tensor(0.5)),
        torch.logit(torch.tensor(0.125)),
        torch.logit(torch.tensor(0.25)),
    )
    maps[0, 1:5, 1, 2] = torch.stack(wanted)
    (found,) = read_fastestdet(maps, torch.zeros(1, 2, dtype=torch.int64), 0.1)
    assert found["labels"].tolist() == [7]
    assert torch.allclose(found["scores"], torch.tensor([0.5**0.6]))
    assert torch.allclose(found["boxes"], torch.tensor([[40.0 - 4, 24 - 8, 40 + 4, 24 + 8]]), atol=1e-3)
