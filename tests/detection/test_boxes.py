"""Boxes on the torus, against brute force: pixels counted one by one, and every way in which an image can be cut."""

import itertools
import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mass
from mass.detection import (
    box_iou,
    first_difference,
    nearest,
    nms,
    same_detections,
    shift_boxes,
    shift_detections,
    snap,
    split_at_seam,
    wrap,
)

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))
DTYPES = st.sampled_from([torch.float32, torch.float64])


def some_boxes(seed, count, size, dtype=torch.float32, whole=False):
    """Boxes of all kinds: small, as large as the image and larger, empty, before and behind it."""
    generator = torch.Generator().manual_seed(seed)
    sides = torch.tensor([size[1], size[0]])
    first = (torch.rand(count, 2, generator=generator, dtype=torch.float64) * 3 - 1) * sides
    extent = torch.rand(count, 2, generator=generator, dtype=torch.float64).square() * 1.5 * sides
    extent[torch.rand(count, 2, generator=generator) < 0.1] = 0
    boxes = torch.cat([first, first + extent], 1)
    return (boxes.round() if whole else boxes).to(dtype)


def covered(boxes, size):
    """(N, H, W): which pixels boxes with whole coordinates cover, step by step around the image."""
    masks = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.long().tolist(), strict=True):
        rows = [y % size[0] for y in range(y1, min(y2, y1 + size[0]))]
        columns = [x % size[1] for x in range(x1, min(x2, x1 + size[1]))]
        for y, x in itertools.product(rows, columns):
            mask[y, x] = True
    return masks


@given(SIZES, DTYPES, st.integers(0, 10**6))
def test_iou_counts_pixels(size, dtype, seed):
    a, b = (wrap(some_boxes(seed + k, 6, size, dtype, whole=True), size).round() for k in (0, 1))
    first, second = covered(a, size), covered(b, size)
    common = (first[:, None] & second[None]).sum((2, 3)).double()
    either = (first[:, None] | second[None]).sum((2, 3)).double()
    expected = torch.where(either > 0, common / either.clamp(min=1), 0.0)
    assert torch.equal(box_iou(a, b, size), expected.to(dtype))


@given(SIZES, DTYPES, st.integers(0, 10**6), st.integers(-100, 100), st.integers(-100, 100))
def test_moving_all_boxes_by_whole_pixels_changes_no_bit(size, dtype, seed, rows, columns):
    boxes = some_boxes(seed, 12, size, dtype)
    moved = shift_boxes(boxes, (rows, columns), size)
    assert moved.dtype == dtype
    assert torch.equal(shift_boxes(moved, (-rows, -columns), size), wrap(boxes, size))
    assert torch.equal(box_iou(moved, moved, size), box_iou(boxes, boxes, size))
    scores = torch.rand(12).mul(4).round()  # many ties
    labels = torch.arange(12) % 2
    for which in (None, labels):
        kept = nms(boxes, scores, 0.3, size, which)
        assert torch.equal(nms(moved, scores, 0.3, size, which), kept)
    a = {"boxes": boxes, "scores": scores, "labels": labels}
    assert same_detections(a, shift_detections(a, (rows, columns), size), (rows, columns), size)


@given(SIZES, DTYPES, st.integers(0, 10**6))
def test_wrapped_boxes_are_on_the_torus(size, dtype, seed):
    boxes = some_boxes(seed, 20, size, dtype)
    wrapped = wrap(boxes, size)
    sides = torch.tensor([size[1], size[0]])
    assert (wrapped[:, :2] >= 0).all() and (wrapped[:, :2] < sides).all()
    extent = wrapped[:, 2:] - wrapped[:, :2]
    assert (extent >= 0).all() and (extent <= sides).all()
    assert torch.equal(wrap(wrapped, size), wrapped) and torch.equal(snap(wrapped, size), wrapped)
    off = (wrapped[:, :2] - boxes[:, :2].double()).abs() % sides
    small = boxes[:, 2:] - boxes[:, :2] <= sides
    assert (torch.minimum(off, sides - off)[small] < 2e-5).all()


@given(SIZES, st.integers(0, 10**6))
def test_pieces_cover_what_the_box_does(size, seed):
    boxes = wrap(some_boxes(seed, 8, size, whole=True), size).round()
    pieces, of = split_at_seam(boxes, size)
    assert (pieces >= 0).all() and (pieces[:, 2] <= size[1]).all() and (pieces[:, 3] <= size[0]).all()
    assert torch.equal(of.unique(), torch.arange(8))
    expected, found = covered(boxes, size), torch.zeros(8, *size, dtype=torch.long)
    found.index_add_(0, of, covered(pieces, size).long())
    assert torch.equal(found, expected.long())  # each pixel once


@given(SIZES, DTYPES, st.integers(0, 10**6))
def test_the_nearest_copy_is_the_nearest_of_all(size, dtype, seed):
    boxes, to = (snap(some_boxes(seed + k, 10, size, dtype), size) for k in (0, 1))
    found = nearest(boxes, to, size)
    centres = [(v[:, :2] + v[:, 2:]).double() / 2 for v in (boxes, to, found)]
    for axis, whole in ((0, size[1]), (1, size[0])):
        distances = torch.stack([(centres[0] + whole * k - centres[1])[:, axis].abs() for k in range(-6, 7)])
        least = distances.amin(0)
        assert torch.equal((centres[2] - centres[1])[:, axis].abs(), least)
    assert torch.equal(wrap(found, size), wrap(boxes, size)) or (boxes[:, 2:] - boxes[:, :2] > min(size)).any()


def rounded(boxes, size):
    """The grid's nearest places, without a gradient."""
    bits = {torch.float32: 24, torch.float64: 53}[boxes.dtype] - 3 - math.ceil(math.log2(max(size)))
    return (boxes * 2.0**bits).round() / 2.0**bits


@given(SIZES, DTYPES, st.integers(0, 10**6), st.booleans())
def test_snapping_is_rounding_to_the_bit(size, dtype, seed, learned):
    others = torch.tensor([0.0, -0.0, -1e-9, 1e-300, 3e38, -3e38, math.inf, -math.inf])
    boxes = torch.cat([some_boxes(seed, 10, size, dtype).flatten(), others.to(dtype)])
    bits = torch.int32 if dtype == torch.float32 else torch.int64
    found = snap(boxes.clone().requires_grad_(learned), size)
    assert torch.equal(found.detach().view(bits), rounded(boxes, size).view(bits))
    assert snap(boxes * math.nan, size).isnan().all()


@given(SIZES, st.integers(0, 10**6))
def test_the_gradient_of_moving_boxes_is_the_identity(size, seed):
    boxes = some_boxes(seed, 3, size, torch.float64)
    boxes = torch.cat(
        [boxes[:, :2], torch.maximum(boxes[:, :2], boxes[:, 2:].minimum(boxes[:, :2] + min(size) * 0.9))], 1
    )
    others = some_boxes(seed + 1, 3, size, torch.float64)
    for moving in (
        lambda x: snap(x, size),
        lambda x: wrap(x, size),
        lambda x: shift_boxes(x, (5, 3), size),
        lambda x: nearest(x, others, size),
        lambda x: snap(x.half(), size).double(),
    ):
        found = torch.autograd.functional.jacobian(moving, boxes).view(12, 12)
        assert torch.equal(found, torch.eye(12, dtype=torch.float64))


def test_the_gradient_of_snapping_in_every_way_to_ask_for_it():
    x = some_boxes(0, 2, (64, 64)).flatten()
    f = lambda x: snap(x, (64, 64))
    for found in (
        torch.func.jacrev(f)(x),
        torch.func.jacfwd(f)(x),
        torch.func.vmap(torch.func.grad(f))(x).diag(),
        torch.func.hessian(lambda x: f(x).square().sum() / 2)(x),
    ):
        assert torch.equal(found, torch.eye(8))
    compiled = torch.compile(f, backend="aot_eager", fullgraph=True)
    given = x.clone().requires_grad_()
    assert torch.equal(compiled(given), f(x))
    assert torch.equal(torch.autograd.grad(compiled(given).sum(), given)[0], torch.ones(8))
    exported = torch.export.export(Snapping(), (x,)).module()
    assert torch.equal(exported(x), f(x))


class Snapping(torch.nn.Module):
    def forward(self, x):
        return snap(x, (64, 64))


@given(st.integers(0, 10**6))
def test_the_gradient_of_iou_is_torchvisions_where_nothing_wraps(seed):
    ops = pytest.importorskip("torchvision.ops")
    generator = torch.Generator().manual_seed(seed)
    first = torch.rand(2, 6, 2, generator=generator, dtype=torch.float64) * 30 + 1
    extent = torch.rand(2, 6, 2, generator=generator, dtype=torch.float64) * 30 + 1
    a, b = snap(torch.cat([first, first + extent], -1), (64, 64))
    weights = torch.rand(6, 6, generator=generator, dtype=torch.float64)
    ours, theirs = (
        torch.autograd.grad((iou(a.requires_grad_(), b.requires_grad_()) * weights).sum(), (a, b))
        for iou in (lambda a, b: box_iou(a, b, (64, 64)), ops.box_iou)
    )
    for mine, other in zip(ours, theirs, strict=True):
        assert other.abs().max() > 1e-4 and torch.allclose(mine, other, atol=1e-12)


def test_empty_boxes_have_gradients():
    boxes = torch.tensor([[3.0, 3, 3, 3], [5.0, 5, 9, 9]], requires_grad=True)
    assert torch.autograd.grad(box_iou(boxes, boxes, (16, 16)).sum(), boxes)[0].isfinite().all()


def greedy(boxes, scores, threshold, size, labels):
    """Suppression as it is said in words, without ties."""
    kept = []
    overlaps = box_iou(boxes, boxes, size)
    for k in sorted(range(len(boxes)), key=lambda k: -scores[k]):
        if all(overlaps[k, j] <= threshold or labels[k] != labels[j] for j in kept):
            kept.append(k)
    return kept


@given(SIZES, st.integers(0, 10**6), st.sampled_from([0.0, 0.3, 0.5, 0.9]))
def test_suppression_is_greedy(size, seed, threshold):
    boxes, labels = some_boxes(seed, 30, size), torch.arange(30) % 3
    scores = torch.rand(30, generator=torch.Generator().manual_seed(seed))
    assert nms(boxes, scores, threshold, size, labels).tolist() == greedy(
        boxes, scores.tolist(), threshold, size, labels.tolist()
    )


def test_suppression_of_many_agrees_with_torchvision_where_nothing_wraps():
    ops = pytest.importorskip("torchvision.ops")
    torch.manual_seed(0)
    first = torch.rand(700, 2) * 200
    boxes = snap(torch.cat([first, first + torch.rand(700, 2) * 50 + 1], 1), (256, 256))
    scores = torch.rand(700)
    assert torch.equal(nms(boxes, scores, 0.4, (256, 256)), ops.nms(boxes, scores, 0.4))


@given(st.integers(0, 10**6))
def test_ties_do_not_ask_for_the_order(seed):
    """Equal scores and equal sizes: what is seen from a box decides, so a permutation keeps the same boxes."""
    size = (24, 32)
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(0, 24, (14, 2), generator=generator).float()
    boxes, scores = torch.cat([first, first + 8], 1), torch.ones(14)
    order = torch.randperm(14, generator=generator)
    kept, permuted = nms(boxes, scores, 0.2, size), nms(boxes[order], scores, 0.2, size)
    a, b = (sorted(wrap(v, size).tolist()) for v in (boxes[kept], boxes[order][permuted]))
    moves = itertools.product(range(24), range(32))
    here = sorted({tuple(box) for box in wrap(boxes, size).tolist()})
    symmetric = sum(sorted({tuple(box) for box in shift_boxes(boxes, m, size).tolist()}) == here for m in moves) > 1
    assert a == b or symmetric


def test_a_symmetric_set_of_boxes_is_up_to_its_symmetry():
    boxes = torch.tensor([[0.0, 0, 20, 8], [16.0, 0, 36, 8], [32.0, 0, 52, 8], [48.0, 0, 68, 8]])
    kept = nms(boxes, torch.ones(4), 0.05, (64, 64))
    assert len(kept) == 2


@pytest.mark.parametrize(
    "boxes, said",
    [
        ([[0, 0, 1, 1]], "must be a tensor"),
        (torch.zeros(4), r"shape \(N, 4\)"),
        (torch.zeros(2, 5), r"shape \(N, 4\)"),
        (torch.zeros(2, 4).long(), "floating-point"),
        (torch.tensor([[0, 0, 1, 1], [5.0, 0, 1, 1]]), r"boxes\[1\] = .* ends before it begins"),
        (torch.tensor([[0, 0, float("nan"), 1]]), r"boxes\[0\] is not finite"),
    ],
)
def test_wrong_boxes(boxes, said):
    with pytest.raises((TypeError, ValueError), match=said):
        wrap(boxes, (8, 8))


def test_wrong_scores_and_sizes():
    with pytest.raises(ValueError, match=r"scores must be one a box, \(2,\), got \(3,\)"):
        nms(torch.zeros(2, 4), torch.zeros(3), 0.5, (8, 8))
    with pytest.raises(ValueError, match="labels must be one a box"):
        nms(torch.zeros(2, 4), torch.zeros(2), 0.5, (8, 8), torch.zeros(1))
    with pytest.raises(TypeError, match="size must be"):
        wrap(torch.zeros(2, 4), "8 x 8")


def test_no_boxes():
    empty = torch.zeros(0, 4)
    assert wrap(empty, (8, 8)).shape == (0, 4) and nms(empty, torch.zeros(0), 0.5, (8, 8)).shape == (0,)
    assert box_iou(empty, torch.zeros(3, 4), (8, 8)).shape == (0, 3)
    assert split_at_seam(empty, (8, 8))[0].shape == (0, 4)
    none = {"boxes": empty, "scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.long)}
    assert same_detections(none, none, (1, 2), (8, 8))


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda d: d["scores"].__setitem__(1, 0.25), "of label 2: scores 0.5 became 0.25"),
        (lambda d: d["labels"].__setitem__(1, 7), "box 1 .* labels 2 became 7"),
        (lambda d: d["boxes"].__setitem__((1, 0), 6.0), r"box 1 \(5, 5, 9, 9\) of label 2: boxes 5, 5, 9, 9 became 6"),
        (lambda d: d.update({n: v[:1] for n, v in d.items()}), "box 1 .* not found any more"),
        (lambda d: d.update({n: torch.cat([v, v[:1]]) for n, v in d.items()}), "box 1 .*: scores 0.5 became 0.75"),
        (lambda d: d["masks"].__setitem__((1, 0, 0), 1.0), "box 1 .* 8 values of masks differ"),
        (lambda d: d.pop("masks"), "boxes, scores, labels, masks became boxes, scores, labels"),
    ],
)
def test_the_first_box_that_differs_is_named(change, said):
    a = {
        "boxes": torch.tensor([[1.0, 1, 3, 3], [5.0, 5, 9, 9]]),
        "scores": torch.tensor([0.75, 0.5]),
        "labels": torch.tensor([1, 2]),
        "masks": torch.zeros(2, 1, 8, 8),
    }
    b = {name: value.clone() for name, value in a.items()}
    change(b)
    found = first_difference(a, b, (0, 0), (8, 8))
    assert re.search(said, found), found


def test_masks_and_keypoints_move_with_their_boxes():
    x = torch.rand(1, 1, 16, 16)
    a = {
        "boxes": torch.tensor([[1.0, 1, 3, 3]]),
        "scores": torch.ones(1),
        "labels": torch.ones(1).long(),
        "masks": x,
        "keypoints": torch.tensor([[[2.0, 2.0, 1.0]]]),
    }
    b = shift_detections(a, (3, 2), (16, 16))
    assert torch.equal(b["masks"], mass.shift(x, torch.tensor([[3, 2]])))
    assert b["boxes"].tolist() == [[15.0, 14.0, 17.0, 16.0]] and b["keypoints"].tolist() == [[[16.0, 15.0, 1.0]]]
