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


def test_a_part_in_training_mode_is_refused(exported):
    images = exported[1]
    wrapper = nn.Sequential(mass.convert(Small().eval(), images, verify=False).train()).train(False)
    wrapper[0].train()
    with pytest.raises(ValueError, match="the module '0' of the model is in training mode"):
        mass.onnx.export(wrapper, images)


@pytest.mark.parametrize("axis", ["batch", torch.export.Dim.DYNAMIC])
def test_a_batch_of_any_size(exported, tmp_path, axis):
    converted, images, _ = exported
    program = mass.onnx.export(converted, images, tmp_path / "any.onnx", dynamic_shapes=({0: axis},))
    assert axis != "batch" or str(program.model.graph.inputs[0].shape[0]) == "batch"
    session = onnxruntime.InferenceSession(str(tmp_path / "any.onnx"), providers=["CPUExecutionProvider"])
    for count in {1, 2, len(images), 5}:
        x = torch.rand(count, 3, *SIZE, generator=torch.Generator().manual_seed(count))
        logits = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])
        assert torch.allclose(logits, converted(x), atol=1e-4)


@pytest.mark.parametrize(
    ("count", "options", "error", "message"),
    [
        (
            2,
            {"dynamic_shapes": ({2: "height"},)},
            ValueError,
            "the batch alone, axis 0 of each input, may be of any size",
        ),
        (2, {"dynamic_shapes": ({0: "batch"}, None)}, ValueError, "cannot be exported with dynamic_shapes"),
        (1, {"dynamic_shapes": ({0: "batch"},)}, ValueError, "the example must hold two images or more"),
        (2, {"dynamic_axes": {"x": {0: "batch"}}}, TypeError, "dynamic_axes is not read; give dynamic_shapes"),
    ],
)
def test_axes_that_cannot_be_of_any_size(exported, count, options, error, message):
    converted, images = exported[:2]
    with pytest.raises(error, match=message):
        mass.onnx.export(converted, images[:1].repeat(count, 1, 1, 1), **options)


def test_what_is_read_off_hashes_is_refused():
    dense = mass.convert(nn.Conv2d(3, 4, 3, 1, 1).eval(), torch.rand(1, 3, 8, 8), symmetrise=True)
    with pytest.raises(ValueError, match="averages over symmetries, are read off hashes"):
        mass.onnx.export(dense, torch.rand(1, 3, 8, 8))
