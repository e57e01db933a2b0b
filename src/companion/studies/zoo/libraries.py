"""Networks of other libraries, with random weights and small: which convert, and are then bit-identical.

    python -m companion.studies.zoo.libraries                       # all whose package is installed; resumable
    python -m companion.studies.zoo.libraries transformers/vit monai/UNETR
    make publish PROFILE=bench                                      # to results/libraries.json and the README

The packages are no dependencies of this project: `pip install transformers monai einops diffusers kornia ultralytics
opencv-python-headless` beside it (`torchaudio` for HDemucs). A row: does the network convert or why not, and is every output,
losses too where it takes labels, bit-identical under random circular shifts of noise? What is there already is not measured again.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.metadata import version
from typing import Any

os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")  # before torch is loaded

import torch
from torch import Tensor, nn

import mass
from companion.core.bench import Absent, Member, run_bench
from companion.core.command_line import names_given
from companion.core.records import Record

SHIFTS = 4
_STAGES: dict[str, Any] = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
_SWIN: dict[str, Any] = {"image_size": 64, "embed_dim": 8, "depths": [2, 2], "num_heads": [1, 2], "window_size": 4}
_VIT: dict[str, Any] = {
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 64,
    "patch_size": 16,
}

# Configurations of transformers: what is made of it, its class, its arguments.
TRANSFORMERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "resnet": ("ImageClassification", "ResNetConfig", {"embedding_size": 8, "layer_type": "basic", **_STAGES}),
    "regnet": ("ImageClassification", "RegNetConfig", {"embedding_size": 8, "groups_width": 4, **_STAGES}),
    "mobilenet_v2": ("ImageClassification", "MobileNetV2Config", {"depth_multiplier": 0.35}),
    "convnext": ("ImageClassification", "ConvNextConfig", _STAGES),
    "convnextv2": ("ImageClassification", "ConvNextV2Config", _STAGES),
    "efficientnet": ("ImageClassification", "EfficientNetConfig",
                     {"width_coefficient": 0.25, "depth_coefficient": 0.3, "hidden_dim": 320, "image_size": 64}),
    "vit": ("ImageClassification", "ViTConfig", {"num_hidden_layers": 2, **_VIT}),
    "swin": ("ImageClassification", "SwinConfig", _SWIN),
    "swinv2": ("ImageClassification", "Swinv2Config", _SWIN),
    "mobilevit": ("ImageClassification", "MobileViTConfig",
                  {"hidden_sizes": [16, 20, 24], "neck_hidden_sizes": [8, 8, 16, 16, 20, 24, 32], "image_size": 64}),
    "segformer": ("SemanticSegmentation", "SegformerConfig",
                  {"num_attention_heads": [1, 1, 2, 2], "decoder_hidden_size": 16, **_STAGES}),
    "dpt": ("DepthEstimation", "DPTConfig",
            {"num_hidden_layers": 4, "backbone_out_indices": [0, 1, 2, 3], "neck_hidden_sizes": [8, 8, 16, 16],
             "fusion_hidden_size": 8, "is_hybrid": False, **_VIT}),
}  # fmt: skip
MONAI: dict[str, dict[str, Any]] = {
    "BasicUNet": {"spatial_dims": 2, "in_channels": 3, "features": (8, 8, 16, 16, 16, 8)},
    "UNet": {"spatial_dims": 2, "in_channels": 3, "out_channels": 2, "channels": (8, 16, 32), "strides": (2, 2)},
    "UNETR": {"in_channels": 3, "out_channels": 2, "img_size": (64, 64), "feature_size": 8, "hidden_size": 32,
              "mlp_dim": 64, "num_heads": 4, "spatial_dims": 2},
    "SwinUNETR": {"in_channels": 3, "out_channels": 2, "feature_size": 12, "spatial_dims": 2, "num_heads": (1, 2, 2, 4)},
    "SegResNet": {"spatial_dims": 2, "init_filters": 8, "in_channels": 3, "blocks_down": (1, 1, 1), "blocks_up": (1, 1)},
    "DynUNet": {"spatial_dims": 2, "in_channels": 3, "out_channels": 2, "kernel_size": [3, 3, 3], "strides": [1, 2, 2],
                "upsample_kernel_size": [2, 2], "filters": [8, 16, 16]},
}  # fmt: skip
KORNIA: dict[str, Callable[[Any], nn.Module]] = {
    "Normalize": lambda kornia: kornia.enhance.Normalize(torch.full((3,), 0.5), torch.full((3,), 0.2)),
    "GaussianBlur2d": lambda kornia: kornia.filters.GaussianBlur2d((3, 3), (1.0, 1.0)),
    "MaxBlurPool2D": lambda kornia: kornia.filters.MaxBlurPool2D(3),
    "Sobel": lambda kornia: kornia.filters.Sobel(),
}
YOLO = {"yolov8n": "DetectionModel", "yolo11n": "DetectionModel", "yolov8n-seg": "SegmentationModel", "yolov8n-cls": "ClassificationModel"}  # fmt: skip
Built = tuple[nn.Module, Any]


def _transformers(name: str) -> Built:
    library, (task, config, options) = import_module("transformers"), TRANSFORMERS[name]
    model = getattr(library, f"AutoModelFor{task}").from_config(getattr(library, config)(**options))
    inputs = {"pixel_values": torch.randn(2, 3, 64, 64)}
    return model, inputs | _labels(64, task == "SemanticSegmentation")


def _labels(size: int, given: bool = True) -> dict[str, Tensor]:
    return {"labels": torch.randint(2, (2, size, size))} if given else {}


def _upernet() -> Built:
    library = import_module("transformers")
    backbone = library.ConvNextConfig(out_features=["stage1", "stage2", "stage3", "stage4"], **_STAGES)
    options = {"hidden_size": 16, "auxiliary_in_channels": 24, "auxiliary_channels": 8, "pool_scales": [1, 2]}
    model = library.UperNetForSemanticSegmentation(library.UperNetConfig(backbone_config=backbone, **options))
    return model, {"pixel_values": torch.randn(2, 3, 128, 128)} | _labels(128)


def _unet2d() -> Built:
    options = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
    model = import_module("diffusers").UNet2DModel(
        sample_size=32,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=8,
        **options,
    )
    return model, {"sample": torch.randn(2, 3, 32, 32), "timestep": torch.tensor([3, 5])}


def _autoencoder(part: str = "") -> Built:
    options = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    model = import_module("diffusers").AutoencoderKL(block_out_channels=(8, 16), norm_num_groups=4, **options)
    return (model.decoder, torch.randn(1, 4, 16, 16)) if part else (model, torch.randn(1, 3, 32, 32))


def _kornia(name: str) -> Built:
    layers = [KORNIA[name](import_module("kornia")), nn.Conv2d(3, 4, 3, 1, 1), nn.AdaptiveAvgPool2d(1)]
    if name == "Sobel":
        layers.append(nn.Flatten())
    return nn.Sequential(*layers), torch.rand(1, 3, 32, 32)


def _yolo(name: str) -> Built:
    tasks = import_module("ultralytics.nn.tasks")
    return getattr(tasks, YOLO[name])(f"{name}.yaml", ch=3, nc=4, verbose=False), torch.randn(1, 3, 64, 64)


def _hdemucs() -> Built:
    return import_module("torchaudio").models.HDemucs(sources=["a", "b"], channels=8), torch.randn(1, 2, 65536)


def members() -> Iterator[tuple[str, Callable[[], Built]]]:
    """Names, and how each is built with what it is converted with."""
    yield from ((f"transformers/{name}", lambda name=name: _transformers(name)) for name in TRANSFORMERS)
    yield "transformers/upernet", _upernet
    for name, options in MONAI.items():
        yield f"monai/{name}", lambda name=name, options=options: (  # type: ignore[misc]
            getattr(import_module("monai.networks.nets"), name)(**options), torch.randn(1, 3, 64, 64))  # fmt: skip
    yield "diffusers/UNet2DModel", _unet2d
    yield "diffusers/AutoencoderKL", _autoencoder
    yield "diffusers/AutoencoderKL.decoder", lambda: _autoencoder("decoder")
    yield from ((f"kornia/{name}", lambda name=name: _kornia(name)) for name in KORNIA)
    yield from ((f"ultralytics/{name}", lambda name=name: _yolo(name)) for name in YOLO)
    yield "torchaudio/HDemucs", _hdemucs


def measure(name: str, build: Callable[[], Built]) -> Record:
    """One row: what became of a network.

    Raises:
        Absent: if it cannot be built here, for its package, or one that it needs, is not installed.
    """
    started, library = time.monotonic(), name.partition("/")[0]
    torch.manual_seed(0)
    try:
        model, example = build()
    except (ImportError, RuntimeError) as error:
        raise Absent(str(error).splitlines()[0]) from error
    row: Record = {"model": name, "library": library, "version": version(library), "seed": 0, "shifts": SHIFTS, "converts": False}  # fmt: skip
    first = example if isinstance(example, Tensor) else next(iter(example.values()))
    row["input_size"] = "x".join(map(str, first.shape[2:]))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", mass.CoordinatesWarning)
            converted = mass.convert(model.eval(), example)
    except mass.NotEquivariantError as refusal:
        return row | {"reason": str(refusal), "took": round(time.monotonic() - started, 1)}
    certificate = mass.certify(converted, example, SHIFTS)
    largest = certificate.max_difference.max().item()
    return row | {
        "converts": True,
        "reason": "",
        "total_stride": "x".join(map(str, converted.total_stride)),
        "outputs": len(certificate.outputs),
        "identical_float32": bool(certificate.identical.all()),
        "outcome": certificate.outcome.name,
        "max_difference_float32": -1.0 if math.isnan(largest) else largest,
        "took": round(time.monotonic() - started, 1),
    }


def main() -> None:
    known = dict(members())
    chosen: Iterator[Member] = (
        ({"model": name, "seed": 0}, partial(measure, name, known[name]))
        for name in names_given(__doc__, known) or known
    )
    run_bench("libraries", chosen, lambda row: row.get("outcome") or row["reason"])


if __name__ == "__main__":
    main()
