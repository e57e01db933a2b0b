"""Exported to ONNX, a network gives the same labels on shifted images in onnxruntime."""

import pytest
import torch
from torch import nn

import mass
from companion.data.generated.hard_images import awkward_images

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

SIZE = (32, 48)
SHIFTS = [(1, 0), (0, 1), (7, 5), (16, 24), (31, 47)]


class Small(nn.Module):
    """Every way in which conversion shows: a shared origin, a pool, a mean, a map that goes up again."""

    def __init__(self):
        super().__init__()
        self.stem, self.pool = nn.Conv2d(3, 8, 3, 2, 1), nn.MaxPool2d(3, 2, 1)
        self.main, self.shortcut = nn.Conv2d(8, 16, 3, 2, 1, groups=8), nn.Conv2d(8, 16, 1, 2)
        self.norm, self.up, self.head = nn.BatchNorm2d(16), nn.Upsample(scale_factor=2), nn.Linear(16, 10)

    def forward(self, x):
        x = self.pool(self.stem(x).relu())
        x = self.up(self.norm(self.main(x) + self.shortcut(x)).relu())
        return self.head(x.mean((2, 3)))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(0)
    images = torch.cat([x for name, x in awkward_images(*SIZE).items() if "photo" in name])
    converted = mass.convert(Small().eval(), images)
    path = tmp_path_factory.mktemp("onnx") / "small.onnx"
    mass.onnx.export(converted, images, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (name,) = (i.name for i in session.get_inputs())
    return converted, images, lambda x: torch.from_numpy(session.run(None, {name: x.contiguous().numpy()})[0])


def test_same_logits_as_in_pytorch(exported):
    converted, images, run = exported
    assert torch.allclose(run(images), converted(images), atol=1e-4)


def test_same_labels_on_shifted_images(exported):
    _, images, run = exported
    expected = run(images)
    for t in SHIFTS:
        logits = run(images.roll(t, (2, 3)))
        assert torch.equal(logits.argmax(1), expected.argmax(1)), t
        assert torch.allclose(logits, expected, rtol=1e-4, atol=1e-5), t  # another grid would move them by far more


def test_of_tied_phases_the_first_wins():
    """As documented: no layout is compared."""
    from mass.onnx import _select_origin

    x = torch.zeros(1, 1, 8, 8)
    x[..., 1, 1] = x[..., 4, 7] = 1.0
    assert _select_origin(x, 2, 2, "l2", None, None).tolist() == [[0, 1]]
    x[..., 4, 7] = 1.0 - 2.0**-20  # the first 15 bits are equal, the next are not
    assert _select_origin(x, 2, 2, "l2", None, None).tolist() == mass.select_origin(x, 2).tolist()


@pytest.mark.parametrize(("spoil", "message"), [("train", "training mode"), ("rule", "only the rule 'l2'")])
def test_what_is_refused(exported, spoil, message):
    _, images, _ = exported
    model = mass.convert(Small().eval(), images, origin="l1" if spoil == "rule" else "l2", verify=False)
    with pytest.raises(ValueError, match=message):
        mass.onnx.export(model.train(spoil == "train"), images)


def test_what_is_read_off_hashes_is_refused():
    dense = mass.convert(nn.Conv2d(3, 4, 3, 1, 1).eval(), torch.rand(1, 3, 8, 8), symmetrise=True)
    with pytest.raises(ValueError, match="averages over symmetries, are read off hashes"):
        mass.onnx.export(dense, torch.rand(1, 3, 8, 8))
