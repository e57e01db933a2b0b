"""Detectors with ways of their own: what a converted one would not call is refused, what it calls changes what it finds."""

import copy
import types

import pytest
import torch

pytest.importorskip("torchvision")
from small_detectors import KINDS, build
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.fcos import FCOSClassificationHead
from torchvision.models.detection.retinanet import RetinaNet, RetinaNetClassificationHead, RetinaNetRegressionHead
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RPNHead
from torchvision.models.detection.ssd import SSDScoringHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform

import mass
from mass.detection import same_detections

X = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
TWO = ("faster", "mask", "keypoint")
PLAIN = {kind: build(kind) for kind in KINDS}


def plain(kind):
    return copy.deepcopy(PLAIN[kind])


def parts_of(kind):
    """Modules that torchvision calls, and a converted detector does not."""
    model = PLAIN[kind]
    if kind not in TWO:
        return ["transform", "anchor_generator", "head", "head.classification_head", "head.regression_head"]
    pools = [f"roi_heads.{name}" for name, _ in model.roi_heads.named_children() if name.endswith("_roi_pool")]
    return ["transform", "rpn", "rpn.head", "rpn.anchor_generator", "roi_heads", *pools]


HOOKS = {
    "forward": lambda module: module.register_forward_hook(lambda module, given, output: None),
    "forward, with kwargs": lambda module: module.register_forward_hook(lambda *given: None, with_kwargs=True),
    "forward, always": lambda module: module.register_forward_hook(lambda *given: None, always_call=True),
    "before": lambda module: module.register_forward_pre_hook(lambda module, given: None),
    "before, with kwargs": lambda module: module.register_forward_pre_hook(lambda *given: None, with_kwargs=True),
    "backward": lambda module: module.register_full_backward_hook(lambda module, gradients, output: None),
    "before backward": lambda module: module.register_full_backward_pre_hook(lambda module, gradients: None),
}


@pytest.fixture(scope="module")
def converted():
    made = {}

    def of(kind):
        if kind not in made:
            made[kind] = mass.convert(plain(kind), X, verify=False)
        return copy.deepcopy(made[kind])

    return of


@pytest.mark.parametrize("kind", KINDS)
def test_hooks_that_would_never_run(kind, converted):
    """Before conversion, and after it, when the detector runs next; removed, it runs."""
    before, after = plain(kind), converted(kind)
    for path in parts_of(kind):
        said = f"hooks on '{path}' would never run, for a converted detector does not call it; remove them"
        for register in HOOKS.values():
            hooks = [register(model.get_submodule(path)) for model in (before, after)]
            for refuses in (lambda: mass.convert(before, X), lambda: mass.explain(before, X), lambda: after(X)):
                with pytest.raises(mass.NotEquivariantError, match=said):
                    refuses()
            for hook in hooks:
                hook.remove()
    with torch.no_grad():
        assert len(after(X)) == 1


@pytest.mark.parametrize(
    "kind, path, method",
    [
        *((kind, "", "postprocess_detections") for kind in ("retinanet", "fcos", "ssd", "ssdlite")),
        *((kind, "", "eager_outputs") for kind in KINDS),
        *((kind, "", "compute_loss") for kind in ("retinanet", "fcos")),
        *((kind, path, "forward") for kind in KINDS for path in parts_of(kind)),
        *(
            (kind, "transform", method)
            for kind in ("ssd", "mask")
            for method in ("resize", "batch_images", "postprocess")
        ),
        ("retinanet", "anchor_generator", "grid_anchors"),
        ("fcos", "anchor_generator", "set_cell_anchors"),
        ("ssd", "anchor_generator", "_grid_default_boxes"),
        ("ssdlite", "head.regression_head", "_get_result_from_module_list"),
        *(("faster", "rpn", method) for method in ("filter_proposals", "assign_targets_to_anchors", "box_similarity")),
        *(("mask", "roi_heads", method) for method in ("postprocess_detections", "select_training_samples")),
    ],
)
def test_methods_patched_on_the_instance(kind, path, method, converted):
    before, after = plain(kind), converted(kind)
    for model in (before, after):
        part = model.get_submodule(path)
        setattr(part, method, types.MethodType(lambda self, *given: given, part))
    with pytest.raises(mass.NotEquivariantError, match=f"has a `{method}` of its own"):
        mass.convert(before, X)
    with pytest.raises(mass.NotEquivariantError, match=f"has a `{method}` of its own"):
        after(X)


@pytest.mark.parametrize("method", ["forward", "train", "detect", "_see"])
def test_methods_of_the_converted_one_are_not_hidden(method):
    """A detector's own attribute of that name would stand in the place of what conversion makes."""
    model = plain("retinanet")
    setattr(model, method, lambda *given: None)
    with pytest.raises(mass.NotEquivariantError, match=f"RetinaNet has a `{method}` of its own, .* a plain RetinaNet"):
        mass.convert(model, X)


@pytest.mark.parametrize(
    "kind, path, base, method",
    [
        *((kind, "transform", GeneralizedRCNNTransform, "forward") for kind in KINDS),
        ("retinanet", "transform", GeneralizedRCNNTransform, "__call__"),
        ("retinanet", "transform", GeneralizedRCNNTransform, "postprocess"),
        ("retinanet", "anchor_generator", AnchorGenerator, "grid_anchors"),
        ("faster", "rpn.anchor_generator", AnchorGenerator, "grid_anchors"),
        ("ssd", "anchor_generator", DefaultBoxGenerator, "forward"),
        ("retinanet", "head.classification_head", RetinaNetClassificationHead, "forward"),
        ("retinanet", "head.regression_head", RetinaNetRegressionHead, "forward"),
        ("fcos", "head.classification_head", FCOSClassificationHead, "forward"),
        ("ssd", "head.classification_head", SSDScoringHead, "_get_result_from_module_list"),
        ("faster", "rpn.head", RPNHead, "forward"),
        ("mask", "roi_heads", RoIHeads, "postprocess_detections"),
        ("retinanet", "", RetinaNet, "postprocess_detections"),
        ("retinanet", "", RetinaNet, "eager_outputs"),
        ("retinanet", "", RetinaNet, "train"),
    ],
)
def test_subclasses_with_methods_of_their_own(kind, path, base, method):
    model = plain(kind)
    part = model.get_submodule(path)
    own = lambda self, *given: getattr(super(type(self), self), method)(*given)
    part.__class__ = type("Mine", (type(part),), {method: own})
    said = (
        f"'{path}' has a `{method}` of its own, .* take torchvision's" if path else f"Mine has a `{method}` of its own"
    )
    with pytest.raises(mass.NotEquivariantError, match=f"{said}.*{base.__name__}"):
        mass.convert(model, X)


@pytest.mark.parametrize("path", ["rpn.box_coder", "roi_heads.box_coder"])
def test_a_coder_decodes_one_image_at_a_time(path):
    class Mine(BoxCoder):
        def decode(self, rel_codes, boxes):
            return super().decode(rel_codes, boxes)

    model = plain("faster")
    model.get_submodule(path.split(".")[0]).box_coder = Mine((10.0, 10.0, 5.0, 5.0))
    with pytest.raises(
        mass.NotEquivariantError, match=f"'{path}' has a `decode` of its own, .* `decode_single` can be"
    ):
        mass.convert(model, X)


class Halving(BoxCoder):
    """Boxes half as far from their anchors."""

    def decode_single(self, rel_codes, boxes):
        return super().decode_single(rel_codes / 2, boxes)


class Darker(GeneralizedRCNNTransform):
    def normalize(self, image):
        return super().normalize(image / 2)


class Wider(AnchorGenerator):
    def generate_anchors(self, *given, **others):
        return super().generate_anchors(*given, **others) * 2


def _half(module, given, output):
    return output * 0.5


CHANGES = {
    "a coder": lambda model: setattr(getattr(model, "roi_heads", model), "box_coder", Halving((5.0, 5.0, 5.0, 5.0))),
    "how images are normalised": lambda model: setattr(model.transform, "__class__", Darker),
    "a hook on a layer": lambda model: _last(model).register_forward_hook(_half),
    "a hook on a block": lambda model: model.get_submodule("backbone.body.0").register_forward_hook(_half),
    "a hook on the detector": lambda model: model.register_forward_hook(lambda module, given, found: found[:0]),
    "a threshold": lambda model: setattr(getattr(model, "roi_heads", model), "score_thresh", 1.0),
}


def _last(model):
    return model.head.classification_head.cls_logits if hasattr(model, "head") else model.rpn.head.bbox_pred


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["retinanet", "faster"])
def test_what_is_called_changes_what_is_found(kind, change, converted):
    """In the original and in what is converted from it."""
    model = plain(kind)
    CHANGES[change](model)
    with torch.no_grad():
        pairs = [(PLAIN[kind](list(X)), model(list(X))), (converted(kind)(X), mass.convert(model, X, verify=False)(X))]
    for was, now in pairs:
        assert len(was[0]["boxes"])
        assert not now or not same_detections(was[0], now[0], (0, 0), (64, 64))


def test_anchors_of_ones_own_are_read(converted):
    model = plain("retinanet")
    sizes, ratios = model.anchor_generator.sizes, model.anchor_generator.aspect_ratios
    model.anchor_generator = Wider(sizes, ratios)
    with torch.no_grad():
        found, other = mass.convert(model, X, verify=False)(X)[0], converted("retinanet")(X)[0]
    assert not same_detections(found, other, (0, 0), (64, 64))


def test_losses_and_matchers_of_ones_own_are_called():
    """They are called with what is matched on the torus."""

    class Mine(RetinaNetClassificationHead):
        def compute_loss(self, *given):
            return super().compute_loss(*given) * 3

    class Nothing(Matcher):
        def __call__(self, overlaps):
            return super().__call__(overlaps * 0)

    targets = [{"boxes": torch.tensor([[4.0, 4, 30, 30]]), "labels": torch.ones(1, dtype=torch.int64)}]
    losses = {}
    for name in ("plain", "loss", "matcher"):
        model = plain("retinanet")
        if name == "loss":
            model.head.classification_head.__class__ = Mine
        if name == "matcher":
            model.proposal_matcher = Nothing(0.5, 0.4)
        losses[name] = mass.convert(model, X, verify=False).train()(X, targets)
    assert torch.allclose(losses["loss"]["classification"], losses["plain"]["classification"] * 3)
    assert losses["plain"]["bbox_regression"] > 0 and losses["matcher"]["bbox_regression"] == 0


@pytest.mark.parametrize("options", [{"blend": 8}, {"paths": 0}, {"symmetrise": 8}, {"dims": 8}, {"methods": ("f",)}])
def test_options_of_networks_are_compared_by_name(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"{name}: of networks whose outputs are tensors alone"):
        mass.convert(plain("retinanet"), X, **options)
