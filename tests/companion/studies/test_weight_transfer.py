"""Frames found again, views of an image that moved, margins: on examples with a known answer."""

import math

import pandas as pd
import pytest
import torch
from torch import nn

import mass
from companion.core.intervals import wilson
from companion.data.images import photographs
from companion.data.normalisation import normalize
from companion.figures.style import COLOURS
from companion.measures.margins import margins, summary
from companion.measures.moves import MOVES, Views, agreement, bilinear_half, compare_views, fourier_half, two_views
from companion.measures.origins import frozen, origin_maps, output_and_origins, phase_energies
from companion.measures.paired_images import compare, mcnemar
from companion.models.canonical import InItsFrame, in_frame
from companion.models.random_weights import calibrated
from companion.studies.lattices.figures import margin_histograms
from companion.studies.weight_transfer.figures import agreement_points
from companion.studies.weight_transfer.frames import frames_found


def test_frames_are_found_wherever_they_were_moved_to():
    images = photographs((96, 128))
    by = torch.tensor([(50, 70), (3, 127)])
    assert torch.equal(in_frame(mass.shift(images, by)), images)
    batches = [(images, torch.tensor([0, 1]))]
    l2, seam = frames_found(batches, normalize, ["l2", "seam"])
    assert (seam["found"], seam["found_when_moved"], seam["n"]) == (100, 100, 2) and l2["found"] == 0


def test_a_network_in_its_frame_gives_one_answer():
    x = normalize(photographs((64, 96)))
    model = InItsFrame(calibrated("resnet18")).eval()
    assert mass.certify(model, x, shifts=6).identical.all()


def test_half_pixels():
    """Two halves are a whole; a wave that the image can hold lands where it belongs; a mean blurs it."""
    n = torch.arange(16.0)
    for k in (0, 1, 3, 7):
        wave, between = (torch.cos(2 * math.pi * k * m / 16).expand(1, 1, 12, 16) for m in (n, n + 0.5))
        assert torch.allclose(fourier_half(wave), between, atol=1e-5)
        assert torch.allclose(bilinear_half(wave), between * math.cos(math.pi * k / 16), atol=1e-5)
    x = torch.rand(2, 3, 12, 15)  # of odd and even sides: only the highest wave of an even one is lost
    twice = fourier_half(fourier_half(x))
    rows = torch.fft.rfft(x, dim=2)
    rows[:, :, -1] = 0
    expected = torch.fft.irfft(rows, 12, dim=2)
    assert torch.allclose(twice, expected.roll((-1, -1), (2, 3)), atol=1e-5)


@pytest.mark.parametrize("move", MOVES)
def test_views_have_one_size(move):
    x = photographs(96)
    first, second = MOVES[move](x, torch.Generator().manual_seed(0))
    side = 64 if "window" in move else 96
    assert first.shape == second.shape == (2, 3, side, side) and not torch.equal(first, second)


def test_a_window_by_one_sees_the_same_but_for_its_border():
    first, second = MOVES["a window moved by one pixel"](photographs(96), torch.Generator().manual_seed(0))
    assert torch.equal(first[..., 1:, 1:], second[..., :-1, :-1])


def test_agreement_counts_what_it_should():
    """What sees no place agrees under circular shifts; an average over a window does not stay, to the last digit."""
    bright = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    batches = [(photographs(96), torch.zeros(2)), (photographs(96).flip(1), torch.zeros(2))]
    found = two_views({"plain": bright}, batches, normalize, limit=3)
    rows = {row["input"]: row for row in agreement(found)}
    assert list(rows) == list(MOVES) and {row["n"] for row in rows.values()} == {3}
    assert rows["circular, whole pixels"]["agreement"] == 100
    assert rows["circular, whole pixels"]["cosine"] == pytest.approx(1, abs=1e-6)
    assert rows["a window moved by up to 31 pixels"]["cosine"] < 0.99999
    table = [row | {"method": method} for row in rows.values() for method in list(COLOURS)[:2]]
    (ax,) = agreement_points(pd.DataFrame(table), "title").axes
    assert [label.get_text() for label in ax.get_yticklabels()] == list(MOVES)


def test_views_are_compared_image_by_image_in_one_family():
    """Six images agree in one network only: p = 1/32, and twice that where two moves are asked about."""
    yes, no = torch.ones(6, dtype=torch.bool), torch.zeros(6, dtype=torch.bool)
    views = {"plain": Views(yes, yes.double()), "MASS": Views(no, no.double())}
    first, second = compare_views({"one": views, "other": views}, [("MASS", "plain")])
    assert (first["input"], second["input"], first["method"], first["against"]) == ("one", "other", "MASS", "plain")
    assert first["only_before"] == 6 and first["difference"] == -100
    assert first["p"] == pytest.approx(1 / 32) and first["p_holm"] == second["p_holm"] == pytest.approx(1 / 16)


def test_images_are_compared_one_by_one():
    """McNemar, exact: 79 images lost and 48 won of 1,300 are p = 0.0075, though the two intervals overlap."""
    before, after = torch.zeros(2, 1300, dtype=torch.bool)
    before[:79], after[79:127] = True, True
    before[127:900] = after[127:900] = True
    found = mcnemar(before, after)
    assert (found["only_before"], found["only_after"], found["n"]) == (79, 48, 1300)
    assert found["p"] == pytest.approx(0.0075, abs=5e-5) and found["difference"] == pytest.approx(-31 / 13)
    assert found["low"] < found["difference"] < found["high"] < 0
    assert mcnemar(before, before)["p"] == 1
    lost, same = compare({"a": before, "b": after, "c": before}, [("b", "a"), ("c", "a")])
    assert lost["p_holm"] == pytest.approx(2 * found["p"]) and same["p_holm"] == 1
    first, second = (wilson(100 * which.double().mean().item(), 1300) for which in (before, after))
    assert second[1] > first[0]


def test_frozen_origins_are_those_of_the_clean_image():
    x = normalize(photographs((64, 96)))
    noisy = x + 0.2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    model = mass.convert(calibrated("resnet18"), x, verify=False)
    _, clean = output_and_origins(model, x)
    free, moved = output_and_origins(model, noisy)
    assert any(not torch.equal(a, b) for a, b in zip(clean, moved, strict=True))
    with torch.no_grad():
        with frozen(model, moved):
            assert torch.equal(model(noisy), free)
        with frozen(model, clean):
            assert not torch.equal(model(noisy), free)
        assert torch.equal(model(noisy), free)


def test_margins_are_the_librarys():
    x = normalize(photographs((64, 96)))
    model = mass.convert(calibrated("resnet18"), x, verify=False)
    table = margins(model, [(photographs((64, 96)), torch.zeros(2))], normalize)
    assert len(table) == 2 * 5 and table.groupby("origin").ngroups == 5
    smallest = torch.tensor(table["margin"].to_numpy()).view(5, 2).amin(0)
    assert torch.equal(smallest, mass.certify(model, x, [(1, 1)]).margin)
    with torch.no_grad():
        features, period = origin_maps(model, x)[0]
    assert torch.allclose(phase_energies(features, period).sum(1), features.double().square().sum((1, 2, 3)))
    found = summary(table)
    assert (found["n"] == 2).all() and (found["smallest"] <= found["median"]).all()
    assert len(margin_histograms({"resnet18": table}).axes) == 1
