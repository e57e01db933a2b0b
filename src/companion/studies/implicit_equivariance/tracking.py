"""A minimal Siamese tracker (after Bertinetto et al., 2016): where does what the first frame showed fit best?

The template's map is correlated with that of a search region. Were maps equivariant to quarter turns, a template that is
turned *as a map* would be that of the turned object: four templates for the price of one pass. That is what equivariance is for
here, and a plain network lacks it. On the lattice of a MASS network positions become pixels by its total origin.
"""

from __future__ import annotations

from collections.abc import Sequence as Sequences
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mass
from companion.data.generated.sequences import Sequence, generated
from companion.data.transforms import DRAWS, QuarterTurns
from companion.measures.equivariance import implicit_equivariance_loss, reading
from companion.models.implicit.group_pool import GroupPool
from companion.models.loading import load_into
from companion.training.checkpoint import load_tensors, save_tensors
from mass.fx.network.converted import Converted
from mass.nn.evaluating import evaluating

TEMPLATE, SEARCH, STRIDE = 32, 64, 4  # pixels
_POSITIVE = 4  # pixels: so near the centre a position is right


class Backbone(nn.Module):
    """Five convolutions, total stride 4, and pooled groups of four channels: (B, 1, H, W) -> (B, C, H / 4, W / 4)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.features, inputs, self.layers, self.groups = nn.Sequential(), 1, [], "r4"
        for number, outputs in enumerate((width, width, 2 * width, 2 * width, 4 * width), start=1):
            self.features.add_module(f"conv{number}", nn.Conv2d(inputs, outputs, 3, padding=1, bias=False))
            self.features.add_module(f"bn{number}", nn.BatchNorm2d(outputs))
            self.features.add_module(f"elu{number}", nn.ELU())
            self.layers.append(f"features.elu{number}")
            if number in (2, 4):
                self.features.add_module(f"halve{number}", nn.MaxPool2d(2))
            inputs = outputs
        self.pool = GroupPool("r4")

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.features(x))


def backbone(width: int, over_mass: bool, seed: int) -> nn.Module:
    """A backbone with its first weights."""
    torch.manual_seed(seed)
    model = Backbone(width)
    return mass.convert(model, torch.zeros(2, 1, SEARCH, SEARCH), verify=False) if over_mass else model


def embed(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Maps, and the pixel (B, 2) where their first position lies."""
    if not isinstance(model, Converted):
        return model(x), torch.zeros(len(x), 2, dtype=torch.long)
    with mass.output_origins(model) as passes:
        maps = model(x)
    origin = passes[-1][""].origin
    assert origin is not None
    return maps, origin


def respond(template: Tensor, search: Tensor) -> Tensor:
    """Every image's own correlation: (B, C, h, w), (B, C, H, W) -> (B, H - h + 1, W - w + 1), a mean over the template."""
    count, channels = search.shape[:2]
    kernels = (template - template.mean((2, 3), keepdim=True)).flatten(0, 1)[:, None]
    each = F.conv2d(search.flatten(0, 1)[None], kernels, groups=count * channels)[0]
    return each.unflatten(0, (count, channels)).sum(1) / template[0, 0].numel() / channels


def offsets(template_at: Tensor, search_at: Tensor, positions: int) -> Tensor:
    """By how many pixels the object is off the search region's centre, at each position along an axis: (B, 2, positions)."""
    start = (search_at - template_at - (SEARCH - TEMPLATE) // 2)[:, :, None]
    return start + STRIDE * torch.arange(positions)


def crop(frame: Tensor, centre: Tensor, side: int) -> Tensor:
    """A square of a frame (1, H, W) about a centre (2,), rounded to pixels; beyond its border the edge goes on."""
    row, column = (int(value) - side // 2 for value in centre.round())
    rows = torch.arange(row, row + side).clamp(0, frame.shape[1] - 1)
    columns = torch.arange(column, column + side).clamp(0, frame.shape[2] - 1)
    return frame[:, rows[:, None], columns]


def _pairs(sequences: Sequences[Sequence], count: int, g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Templates, search regions, and by how many pixels (count, 2) the object is off their centres."""
    templates, searches, off = [], [], []
    for _ in range(count):
        sequence = sequences[int(torch.randint(len(sequences), (), generator=g))]
        first, second = torch.randint(len(sequence.frames), (2,), generator=g).tolist()
        away = torch.randint(-12, 13, (2,), generator=g)
        at, centre = sequence.boxes[first, :2].round(), sequence.boxes[second, :2].round() - away
        templates.append(crop(sequence.frames[first], at, TEMPLATE))
        searches.append(crop(sequence.frames[second], centre, SEARCH))
        off.append(away)
    return torch.stack(templates), torch.stack(searches), torch.stack(off)


@dataclass(frozen=True)
class Tracking:
    """How trackers are trained and tested."""

    width: int
    steps: int
    batch: int
    sequences: int  # to train on; as many others to test
    frames: int
    seed: int


def train_tracker(settings: Tracking, over_mass: bool, beta: float, path: Path) -> nn.Module:
    """A trained backbone; a finished one is read from `path`."""
    model = backbone(settings.width, over_mass, settings.seed)
    if path.exists():
        load_into(model, load_tensors(path), "this tracker")
        return model.eval()
    sequences, g = (
        generated(settings.sequences, settings.frames, settings.seed, test=False),
        torch.Generator().manual_seed(settings.seed),
    )
    sharpness = nn.Parameter(torch.tensor([5.0, -3.0]))  # a factor and a threshold of the response
    optimizer = torch.optim.Adam([*model.parameters(), sharpness], 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    pool = GroupPool("r4")
    model.train()
    for _ in range(settings.steps):
        templates, searches, off = _pairs(sequences, settings.batch, g)
        turns = DRAWS["r4"](len(searches), SEARCH, g)
        assert isinstance(turns, QuarterTurns)
        maps, template_at = embed(model, templates)
        with reading(model, model.layers if beta else []) as features:  # type: ignore[arg-type]
            both, search_at = embed(model, torch.cat((searches, turns(searches))))
        turned_off = _turned(off, turns.turns)
        response = respond(maps.repeat(2, 1, 1, 1), both)
        at = offsets(template_at.repeat(2, 1), search_at, response.shape[1])
        near = (at - torch.cat((off, turned_off))[:, :, None]).abs() <= _POSITIVE / 2
        label = (near[:, 0, :, None] & near[:, 1, None, :]).float()
        logits = sharpness[0] * response + sharpness[1]
        weight = label / label.sum().clamp(min=1) + (1 - label) / (1 - label).sum()
        value = (F.binary_cross_entropy_with_logits(logits, label, reduction="none") * weight).sum()
        if beta:
            pooled, half = [pool(feature) for feature in features], len(searches)
            value = value + beta * implicit_equivariance_loss(
                [m[:half] for m in pooled], [m[half:] for m in pooled], turns
            )
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
    save_tensors(path, model.state_dict())
    return model.eval()


def _turned(off: Tensor, turns: Tensor) -> Tensor:
    """Where an offset (row, column) points after quarter turns of the region, counter-clockwise; regions are even, crops centre on side / 2."""
    row, column = off[:, 0], off[:, 1]
    ways = torch.stack(
        (
            off,
            torch.stack((-column - 1, row), 1),
            torch.stack((-row - 1, -column - 1), 1),
            torch.stack((column, -row - 1), 1),
        )
    )
    return ways[turns % 4, torch.arange(len(off))]


def _turned_origin(origin: Tensor, turns: int) -> Tensor:
    """Where a template's turned map begins: its origin (1, 2), turned with it."""
    for _ in range(turns):
        origin = torch.stack(((TEMPLATE - 1 - origin[:, 1]) % STRIDE, origin[:, 0]), 1)
    return origin


def track(model: nn.Module, sequence: Sequence, turned: bool) -> Tensor:
    """The object's centre in every frame, (T, 2), from that of the first.

    Args:
        turned: whether the template's map is tried in all four quarter turns.
    """
    centres = [sequence.boxes[0, :2]]
    window = torch.hann_window(SEARCH + 1, periodic=False)
    with evaluating(model):
        maps, at = embed(model, crop(sequence.frames[0], centres[0], TEMPLATE)[None])
        templates = [(maps.rot90(k, (2, 3)), _turned_origin(at, k)) for k in range(4 if turned else 1)]
        for frame in sequence.frames[1:]:
            middle = centres[-1].round()
            search, search_at = embed(model, crop(frame, middle, SEARCH)[None])
            best, where = torch.tensor(-torch.inf), torch.zeros(2)
            for template, template_at in templates:
                response = respond(template, search)[0]
                rows, columns = offsets(template_at, search_at, len(response))[0]
                prior = torch.outer(
                    window[(rows + SEARCH // 2).clamp(0, SEARCH)], window[(columns + SEARCH // 2).clamp(0, SEARCH)]
                )
                score = response * (0.65 + 0.35 * prior)
                peak = int(score.argmax())
                if score.flatten()[peak] > best:
                    best = score.flatten()[peak]
                    where = torch.stack((rows[peak // len(columns)], columns[peak % len(columns)]))
            centres.append(middle + where)
    return torch.stack(centres)


ARMS = {
    "plain": (False, 0.0),
    "IEN": (False, 1.0),
    "MASS": (True, 0.0),
    "IEN over MASS": (True, 1.0),
}  # over MASS, beta
STAYS = "stays where it was"


def measure(settings: Tracking, folder: Path) -> list[dict[str, object]]:
    """Trackers of all arms, trained or read from `folder`, on sequences of their own: a row an arm and kind of template."""
    test = generated(settings.sequences, settings.frames, 10_000 + settings.seed, test=True)
    rows = [_row(STAYS, "none", [scores(s.boxes[:1, :2].expand(len(s.boxes), 2), s) for s in test], settings)]
    for method in ARMS:
        model = tracker(settings, method, folder)
        for turned in (False, True):
            found = [scores(track(model, sequence, turned), sequence) for sequence in test]
            rows.append(_row(method, "turned" if turned else "as it was", found, settings))
    return rows


def _path(settings: Tracking, method: str, folder: Path) -> Path:
    return folder / "tracking" / method.replace(" ", "-") / f"{settings.steps}-steps" / f"seed-{settings.seed}.pt"


def tracker(settings: Tracking, method: str, folder: Path) -> nn.Module:
    """The tracker of an arm: trained, if it is not there."""
    over_mass, beta = ARMS[method]
    return train_tracker(settings, over_mass, beta, _path(settings, method, folder))


def _row(method: str, template: str, found: list[dict[str, float]], settings: Tracking) -> dict[str, object]:
    means = {name: sum(each[name] for each in found) / len(found) for name in found[0]}
    return {"method": method, "rule": f"template {template}", "stage": "tracking", "seed": settings.seed,
            "sequences": len(found), **means}  # fmt: skip


def scores(centres: Tensor, sequence: Sequence) -> dict[str, float]:
    """Of all frames but the first: the mean distance of centres in pixels, and the share, in percent, of frames whose boxes overlap.

    A box is that of the first frame about the found centre; it overlaps where its intersection over union exceeds 0.5.
    """
    found, true = centres[1:], sequence.boxes[1:]
    size = sequence.boxes[0, 2:]
    low = torch.maximum(found - size / 2, true[:, :2] - true[:, 2:] / 2)
    high = torch.minimum(found + size / 2, true[:, :2] + true[:, 2:] / 2)
    inside = (high - low).clamp(min=0).prod(1)
    overlap = inside / (size.prod() + true[:, 2:].prod(1) - inside)
    return {
        "centre_error": float((found - true[:, :2]).norm(dim=1).mean()),
        "success": 100 * float((overlap > 0.5).float().mean()),
    }
