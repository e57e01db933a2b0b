"""Notebook 11: the worst case is over all residues, heat maps say where, equal objects get equal answers."""

import torch
from torch import nn

from companion.data.labelled import Labelled, Split
from companion.models.methods import METHODS
from companion.studies.periodic import equal_objects, whole
from companion.studies.periodic.worst_case import attack


class LooksAt(nn.Module):
    """Label 1 where pixel (row, column) is set."""

    def __init__(self, row, column):
        super().__init__()
        self.place = row, column

    def forward(self, x):
        seen = x[:, 0, self.place[0], self.place[1]]
        return torch.stack((0.5 - seen, seen - 0.5), 1)


def as_it_is(images):
    return images.float()


def test_the_worst_case_is_over_all_residues():
    images = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    images[1, 0, 2, 5], images[2] = 1, 1
    found = attack(LooksAt(2, 5), Split(images, torch.tensor([0, 1, 1])), as_it_is, stride=8)
    row = found.row()
    assert found.right("worst residue").tolist() == [True, False, True]
    assert (row["n"], row["residues"], row["top1"]) == (3, 64, 100)
    assert abs(row["shifted_top1"] - 100 * (64 + 1 + 64) / 192) < 1e-9
    assert abs(row["worst_top1"] - 200 / 3) < 1e-9 and abs(row["identical"] - 200 / 3) < 1e-9
    assert abs(row["consistency"] - 100 * (2 + (1 / 64) ** 2 + (63 / 64) ** 2) / 3) < 1e-9


def test_heat_maps_move_along_by_origins_and_not_on_the_frame_s_grid():
    data = Labelled(*[Split(torch.zeros(1, 1, 64, 64), torch.zeros(1))] * 2, (0.4,), (0.1,))
    network = METHODS["mass"].build("periodic", 0).eval()
    photo = whole.whole_image(160, 2, seed=0)
    x = data.normalize(photo.images)
    by_origin, by_frame = (whole.heat_map(network, x, name) for name in ("MASS", "Baseline"))
    assert whole.exactness(by_origin, photo.images, data, 80, (3, 5))["moved"] == 100
    exact = whole.exactness(by_frame, photo.images, data, 80, (3, 5))
    assert exact["positions"] == 400 and exact["moved"] == 0
    assert torch.equal(whole.in_pixels(by_frame, x)[::8, ::8], by_frame(x).detach()[0, 0])


def test_no_training_tile_without_a_defect_gives_an_alarm():
    images = torch.randint(256, (6, 1, 64, 64), generator=torch.Generator().manual_seed(0)).byte()
    data = Labelled(*[Split(images, torch.tensor([0, 1, 0, 1, 0, 0]))] * 2, (0.4,), (0.1,))
    network = METHODS["mass"].build("periodic", 0).eval()
    x = data.normalize(images[:1])
    heater = whole.heat_map(network, x, "MASS")
    level = whole.alarm(heater, data)
    for image, label in zip(images, data.train.labels, strict=True):
        ((name, found),) = whole.alarms({"MASS": network}, data, image[None])
        assert name == "MASS" and (label == 1 or not found.any())
    with torch.no_grad():
        assert level == max(heater(data.normalize(image[None])).max().item() for image in images[[0, 2, 4, 5]])


def test_the_heat_is_the_classifier_s():
    network = METHODS["baseline-zero"].build("periodic", 0).eval()
    x = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        logits, heat = network(x), whole.HeatMap(network)(x)
    assert torch.allclose(heat.mean((1, 2, 3)), logits[:, 1] - logits[:, 0], atol=1e-5)


def test_detections_count_what_is_near():
    defects, alarms = torch.zeros(64, 64, dtype=torch.uint8), torch.zeros(64, 64, dtype=torch.bool)
    defects[0:2, 0:2], defects[30, 30] = 1, 2
    alarms[62, 62] = alarms[40, 0] = True  # around the corner; far from both
    assert whole.detections(alarms, defects, reach=4) == {"defects": 2, "found": 50.0, "strays": 1}


def test_equal_objects_get_as_many_answers_as_the_grid_has_phases():
    answers = {(row["method"], row["objects"]): row["answers"] for row in equal_objects.told_apart((8,))}
    assert answers["circular padding", 64] == 64  # 2^(2 * 3)
    assert answers["MASS, symmetrised", 64] == 1
