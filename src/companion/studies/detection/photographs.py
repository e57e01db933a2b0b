"""FastestDet, with its published weights, on photographs that move: three ways to move, three networks of the same weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.v2.functional import resize
from tqdm.auto import tqdm

import mass
from companion.core.errors import Refusal
from companion.data.images import imagenet_subset
from companion.data.published.voc import CLASSES, Voc
from companion.measures.detection.detection_sets import Change, changes, of_something, summary
from companion.measures.paired_images import compare
from companion.models.detectors.detections import Found, found_in, read_fastestdet
from companion.models.pretrained import fastestdet
from mass.axes import Pair
from mass.nn.evaluating import evaluating

SIDE, REACH = 352, 32  # pixels: what the network was measured at, and how far an image moves where it does not wrap
SCORE = 0.65  # from which a detection is shown (its authors' default)
PLAIN, CIRCULAR, MASS = "plain", "circular padding", "MASS"
MOTIONS = ("circular", "on a canvas", "window")
_FIRST = 24  # of VOC's validation images at hand: somebody's detector drew its boxes into those before
_BATCH = 8
_CALLED = {
    "airplane": "aeroplane",
    "motorcycle": "motorbike",
    "couch": "sofa",
    "tv": "tv monitor",
}  # COCO's names, VOC's


def photographs(root: Path, count: int) -> Tensor:
    """Images of VOC's validation set, squashed to squares a reach larger than the network's: (N, 3, 384, 384) in [0, 1].

    Blue, green, red, as the network takes them.
    """
    voc = Voc(root / "data" / "voc-subset", "val")
    side = [SIDE + REACH, SIDE + REACH]
    last = min(_FIRST + count, len(voc))
    images = [resize(voc[k][0], side, antialias=True).flip(0) for k in range(_FIRST, last)]
    return torch.stack(images).float() / 255


def of_imagenet(count: int) -> Tensor:
    """The first ImageNet validation images at hand, their middle 224 x 224 pixels, enlarged to the same size: as `photographs`.

    Raises:
        Refusal: where they were not fetched, or none is asked for.
    """
    images = imagenet_subset(count, 224)
    if images is None or not count:
        why = (
            "the images were not fetched: `make fetch DATA=imagenet-val-1300`"
            if count
            else "this profile asks for none"
        )
        raise Refusal(f"FastestDet cannot be shown ImageNet's images: {why}.")
    return resize(torch.stack([images[k][0] for k in range(len(images))]), [SIDE + REACH] * 2, antialias=True).flip(1)


def classes() -> list[str]:
    """The names of COCO's 80 classes, in the order of the network's."""
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights as Weights

    names: list[str] = Weights.COCO_V1.meta["categories"]
    return [name for name in names if name not in ("__background__", "N/A")]


def versions(x: Tensor) -> dict[str, nn.Module]:
    """One set of weights, three ways to sample and pad."""
    plain = fastestdet()
    return {PLAIN: plain, CIRCULAR: mass.convert(plain, x, origin="zero"), MASS: mass.convert(plain, x)}


def drawn(count: int, images: int, seed: int) -> list[list[Pair]]:
    """For every move of every image how far, rows and columns, each from 0 to 31, never (0, 0)."""
    flat = torch.randint(1, REACH**2, (count, images), generator=torch.Generator().manual_seed(seed))
    return [[(k // REACH, k % REACH) for k in row] for row in flat.tolist()]


def _circular(images: Tensor, by: Tensor) -> Tensor:
    return mass.shift(_smaller(images, SIDE), by)


def _on_a_canvas(images: Tensor, by: Tensor) -> Tensor:
    """The whole image before a plain ground, somewhere else on it; nothing leaves and nothing enters."""
    small = _smaller(images, SIDE - REACH)
    still = torch.cat([mass.canvas(one[None], SIDE, at=(REACH, REACH)) for one in small])
    return mass.shift(still, by)


def _window(images: Tensor, by: Tensor) -> Tensor:
    """What a window sees of a larger image: content enters on one side and leaves on the other."""
    return torch.stack([one[:, i : i + SIDE, j : j + SIDE] for one, (i, j) in zip(images, by.tolist(), strict=True)])


_MOVES: dict[str, Callable[[Tensor, Tensor], Tensor]] = dict(
    zip(MOTIONS, (_circular, _on_a_canvas, _window), strict=True)
)


def _smaller(images: Tensor, side: int) -> Tensor:
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)


def moved(images: Tensor, motion: str, by: Sequence[Pair]) -> Tensor:
    """Images (N, 3, 384, 384) as the network sees them after a move, (N, 3, 352, 352)."""
    return _MOVES[motion](images, torch.tensor(by))


def ask(network: nn.Module, images: Tensor, motion: str, by: Sequence[Pair], score: float = SCORE) -> list[Found]:
    """What a network finds in each image after a move of its own."""
    found: list[Found] = []
    with evaluating(network):
        for k in range(0, len(images), _BATCH):
            x = moved(images[k : k + _BATCH], motion, by[k : k + _BATCH])
            found.extend(found_in(network, x, read_fastestdet, score))
    return found


def followed(
    network: nn.Module, images: Tensor, motion: str, by: Sequence[Sequence[Pair]], name: str = ""
) -> list[list[Change]]:
    """By image, what became of its detections under every move."""
    still = ask(network, images, motion, [(0, 0)] * len(images))
    rounds = [ask(network, images, motion, shifts) for shifts in tqdm(by, desc=name, leave=False, disable=None)]
    if motion != "window":
        return changes(still, rounds, by, (SIDE, SIDE))
    per_move = [_both_in_view(still, found, shifts) for found, shifts in zip(rounds, by, strict=True)]
    kept = [
        changes(before, [after], [shifts], (SIDE, SIDE)) for (before, after), shifts in zip(per_move, by, strict=True)
    ]
    return [[one[image][0] for one in kept] for image in range(len(images))]


def _both_in_view(
    still: Sequence[Found], found: Sequence[Found], by: Sequence[Pair]
) -> tuple[list[Found], list[Found]]:
    """Detections that lie wholly in what both windows see: the others were cut, or were not to be seen at all."""
    before, after = [], []
    for one, other, (i, j) in zip(still, found, by, strict=True):
        before.append(_within(one, torch.tensor([j, i, SIDE, SIDE])))
        after.append(_within(other, torch.tensor([0, 0, SIDE - j, SIDE - i])))
    return before, after


def _within(found: Found, frame: Tensor) -> Found:
    boxes = found["boxes"]
    which = (boxes[:, :2] >= frame[:2]).all(1) & (boxes[:, 2:] <= frame[2:]).all(1)
    return {name: value[which] for name, value in found.items()}


def fates(
    networks: Mapping[str, nn.Module], images: Tensor, count: int, seed: int, dataset: str = "voc-subset"
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What became of the detections of all images after so many moves of each: a row per way to move and network, and the paired ones."""
    rows, pairs = [], []
    for motion in MOTIONS:
        by = drawn(count, len(images), seed)
        every = of_something({name: followed(net, images, motion, by, name) for name, net in networks.items()})
        about = {"model": "fastestdet", "dataset": dataset, "protocol": motion, "size": SIDE}
        rows += [about | {"method": name} | summary(changed) for name, changed in every.items()]
        pairs += [about | row for row in paired(every)]
    return rows, pairs


def paired(followed_by: Mapping[str, Sequence[Sequence[Change]]]) -> list[dict[str, Any]]:
    """Image by image: whether there were other objects after some move; circular padding alone, and MASS, against plain."""
    changed = {
        name: torch.tensor([any(move.differs for move in image) for image in images])
        for name, images in followed_by.items()
    }
    return compare(changed, [(CIRCULAR, PLAIN), (MASS, PLAIN), (MASS, CIRCULAR)])


def named_right(found: Sequence[Found], root: Path) -> dict[str, Any]:
    """Whether an image's best detection is of a class that VOC's mask of it names: n images with a detection, and the percentage."""
    names, voc = classes(), Voc(root / "data" / "voc-subset", "val")
    right = []
    for k, one in enumerate(found):
        if len(one["labels"]):
            name = names[int(one["labels"][0])]
            inside = voc[_FIRST + k][1].unique().tolist()
            right.append(_CALLED.get(name, name) in {CLASSES[label] for label in inside if 0 < label < len(CLASSES)})
    return {"n": len(right), "right": 100 * sum(right) / max(len(right), 1)}


def curves(networks: Mapping[str, nn.Module], images: Tensor, steps: int) -> dict[str, dict[str, list[float]]]:
    """The score of each image's best detection as it moves to the left before a plain ground, by network.

    Returns: by what each network takes the image for, unmoved ("plain: sheep, MASS: bird").
    """
    names, every = classes(), dict[str, dict[str, list[float]]]()
    for image in images:
        by_network, called = dict[str, list[float]](), list[str]()
        for network, model in networks.items():
            found = ask(
                model, image.expand(steps, *image.shape), "on a canvas", [(0, step) for step in range(steps)], score=0.1
            )
            by_network[network] = [float(one["scores"][0]) if len(one["scores"]) else 0.0 for one in found]
            called.append(f"{network}: {names[int(found[0]['labels'][0])] if len(found[0]['labels']) else 'nothing'}")
        title = ", ".join(called)
        every[title if title not in every else f"{title} ({len(every) + 1})"] = by_network
    return every


def examples(
    networks: Mapping[str, nn.Module], image: Tensor, shifts: Sequence[Pair]
) -> dict[str, list[tuple[str, Tensor, Found]]]:
    """One image before a plain ground at several places, in red, green, blue, with what each network finds."""
    many = image.expand(len(shifts), *image.shape)
    seen = moved(many, "on a canvas", shifts).flip(1)
    titles = [f"moved by {shift}" if any(shift) else "unmoved" for shift in shifts]
    return {
        name: list(zip(titles, seen, ask(network, many, "on a canvas", shifts), strict=True))
        for name, network in networks.items()
    }
