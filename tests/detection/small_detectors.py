"""torchvision's detectors, small: few channels, images of 64 pixels, and weights of which something comes."""

import copy

import torch
from torch import nn
from torchvision.models import mobilenet_v2, vgg16
from torchvision.models.detection import (
    FCOS,
    FasterRCNN,
    KeypointRCNN,
    MaskRCNN,
    RetinaNet,
    anchor_utils,
    backbone_utils,
    ssd,
    ssdlite,
)
from torchvision.ops import MultiScaleRoIAlign

KINDS = ("retinanet", "fcos", "ssd", "ssdlite", "faster", "mask", "keypoint")
CLASSES = 4


class Pyramid(nn.Module):
    """A backbone of three levels, strides 8, 16 and 32, with 32 channels each."""

    out_channels = 32

    def __init__(self):
        super().__init__()
        stem = mobilenet_v2(weights=None, width_mult=0.25).features
        self.body = backbone_utils.IntermediateLayerGetter(stem, {"6": "0", "13": "1", "17": "2"})
        self.fpn = backbone_utils.FeaturePyramidNetwork([8, 24, 80], 32)

    def forward(self, x):
        return self.fpn(self.body(x))


def _anchors(ratios=(0.5, 1.0, 2.0)):
    return anchor_utils.AnchorGenerator(((12,), (24,), (40,)), (ratios,) * 3)


def _pool(size):
    return MultiScaleRoIAlign(["0", "1", "2"], size, 2, canonical_scale=32)


def build(kind, seed=0):
    """One of KINDS in eval mode, its batch normalisations calibrated on noise, its heads' weights scaled."""
    torch.manual_seed(seed)
    few = {"detections_per_img": 40}
    if kind == "retinanet":
        model = RetinaNet(Pyramid(), CLASSES, anchor_generator=_anchors(), **few)
    elif kind == "fcos":
        model = FCOS(Pyramid(), CLASSES, anchor_generator=_anchors((1.0,)), **few)
    elif kind == "ssd":
        vgg, channels = vgg16(weights=None).features, 3
        for k, layer in enumerate(vgg):
            if isinstance(layer, nn.Conv2d):  # an eighth of the channels, but where 512 are counted on
                width = layer.out_channels // 8 if k < 17 else 512
                vgg[k] = nn.Conv2d(channels, width, 3, padding=1)
                channels = width
        backbone = ssd.SSDFeatureExtractorVGG(vgg, False)
        generator = anchor_utils.DefaultBoxGenerator(
            [[2], [2, 3], [2, 3], [2, 3], [2], [2]],
            scales=[0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],
            steps=[8, 16, 32, 64, 100, 300],
        )
        channels = [512, 1024, 512, 256, 256, 256]
        head = ssd.SSDHead(channels, generator.num_anchors_per_location(), CLASSES)
        model = ssd.SSD(backbone, generator, (64, 64), CLASSES, head=head, **few)
    elif kind == "ssdlite":
        norm = nn.BatchNorm2d
        body = mobilenet_v2(weights=None, width_mult=0.25)
        for block in body.features[1:-1]:
            block._is_cn = block.stride > 1
        stem = list(body.features[:13])
        levels = nn.ModuleList([nn.Sequential(*stem[:7]), nn.Sequential(*stem[7:])])
        extra = nn.ModuleList([ssdlite._extra_block(24, 32, norm), ssdlite._extra_block(32, 32, norm)])
        backbone = LiteLevels(levels, extra)
        generator = anchor_utils.DefaultBoxGenerator([[2, 3] for _ in range(4)], min_ratio=0.2, max_ratio=0.95)
        head = ssdlite.SSDLiteHead([8, 24, 32, 32], generator.num_anchors_per_location(), CLASSES, norm)
        model = ssd.SSD(backbone, generator, (64, 64), CLASSES, head=head, **few)
    else:
        options = {
            "num_classes": CLASSES,
            "rpn_anchor_generator": _anchors(),
            "box_roi_pool": _pool(3),
            "rpn_post_nms_top_n_test": 60,
            "rpn_pre_nms_top_n_test": 60,
            "rpn_post_nms_top_n_train": 60,
            "box_detections_per_img": 12,
            "box_batch_size_per_image": 32,
        }
        if kind == "faster":
            model = FasterRCNN(Pyramid(), **options)
        elif kind == "mask":
            model = MaskRCNN(Pyramid(), **options, mask_roi_pool=_pool(6))
        else:
            options["num_classes"] = 2
            model = KeypointRCNN(Pyramid(), **options, keypoint_roi_pool=_pool(6), num_keypoints=5)
    model.transform.min_size, model.transform.max_size = (
        (64,),
        64,
    )  # the plain one's resizing would take most of the time
    return _lively(model).eval()


class LiteLevels(nn.Module):
    """SSDLite's levels with two blocks more, strides 8 to 64: the original's six need images of 512 pixels."""

    def __init__(self, features, extra):
        super().__init__()
        self.features, self.extra = features, extra

    def forward(self, x):
        output = []
        for block in (*self.features, *self.extra):
            x = block(x)
            output.append(x)
        return {str(k): y for k, y in enumerate(output)}


@torch.no_grad()
def _lively(model):
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.1)
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    if any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        model.backbone.train()
        model.backbone(torch.randn(8, 3, 64, 64))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1
    for name, parameter in model.named_parameters():
        if any(
            part in name for part in ("bbox_reg", "bbox_pred", "regression_head.module_list", "cls_logits", "cls_score")
        ):
            parameter *= 0.2
    return model


def circular(model):
    """The plain detector with circular borders: what a converted one computes with the fixed grid, but for seams."""
    result = copy.deepcopy(model)
    for parts in (result.backbone, getattr(result, "head", None), getattr(result, "rpn", None)):
        for module in parts.modules() if parts is not None else ():
            if isinstance(module, nn.Conv2d):
                module.padding_mode = "circular"
    return result
