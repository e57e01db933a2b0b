"""What notebook 01 measures, on examples with a known answer."""

import pandas as pd
import pytest
import torch

from companion.data.images import photographs
from companion.measures.signals import interpolated, spectrum, waves
from companion.studies.why_not_invariant.commute import distance, example_layers, layer_errors, rounded
from companion.studies.why_not_invariant.figures import distances_by_shift, polyphase_components, sampled_twice
from companion.studies.why_not_invariant.sampling import blur, max_pool_in_two_steps, residual_by_filter
from mass.nn.blurpool import binomial_filter


@pytest.mark.parametrize(("size", "taps"), [(1, [1]), (2, [1, 1]), (3, [1, 2, 1]), (5, [1, 4, 6, 4, 1])])
def test_binomial(size, taps):
    assert torch.equal(binomial_filter(size), torch.tensor(taps) / sum(taps))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9, 13])
def test_blur_commutes_with_shifts_and_keeps_the_mean(size):
    x = torch.randn(1, 2, 8, 10)
    assert torch.allclose(blur(x.roll((3, 1), (2, 3)), size), blur(x, size).roll((3, 1), (2, 3)))
    assert torch.allclose(blur(x, size).mean((2, 3)), x.mean((2, 3)), atol=1e-6)


def test_a_wave_above_nyquist_folds_back_with_a_sign_that_depends_on_the_start():
    x = waves(64, {6: 1.0, 26: 0.6})
    assert torch.allclose(spectrum(x)[[6, 26]], torch.tensor([1.0, 0.6], dtype=torch.float64))
    assert spectrum(x[::2])[6].item() == pytest.approx(1.6) and spectrum(x[1::2])[6].item() == pytest.approx(0.4)


def test_a_band_limited_signal_is_recovered_from_either_half():
    x = waves(64, {6: 1.0})
    assert torch.allclose(interpolated(x[::2], 64), x) and torch.allclose(interpolated(x[1::2], 64).roll(1), x)


def test_max_pooling_in_two_steps_is_max_pooling():
    x = torch.tensor([0.0, 0, 1, 1, 0, 0, 1, 1])
    assert max_pool_in_two_steps(x)[1].tolist() == [0, 1, 0, 1]
    assert max_pool_in_two_steps(x.roll(-1))[1].tolist() == [1, 1, 1, 1]


def test_blur_reduces_the_residual_and_mass_removes_it():
    found = {row["size"]: row["residual"] for row in residual_by_filter(photographs(32)[1], [0, 1, 3, 7], 1)}
    assert found[1] > found[3] > found[7] > 1e-3
    assert found[0] < 1e-4


def test_which_layers_commute():
    errors = layer_errors(example_layers(), photographs(32)[1:])
    strided = errors.index.str.contains("strided|pooling 2|sampling") & ~errors.index.str.contains("MASS")
    assert (errors["1 pixel"][strided] > 5).all()
    zero = errors.index.str.contains("zero padding")
    assert (errors["1 pixel"][~strided & ~zero] < 1e-3).all() and (errors["1 pixel"][zero] > 5).all()
    assert (errors["2 pixels"][~zero] < 1e-3).all() and (errors["2 pixels"][zero] > 5).all()
    assert (errors.iloc[:, 2] < 1e-3).all()


def test_distance_takes_the_best_shift():
    x = torch.randn(1, 2, 6, 6)
    assert distance(x.roll((-1, -2), (2, 3)), x, [(0, 0), (1, 2)]) == 0 < distance(x.roll(1, 2), x, [(0, 0)])
    assert sorted(rounded((0, 5), 2)) == [(0, 2), (0, 3)] and rounded((0, 4), 2) == [(0, 2)]


def test_figures_say_what_they_show():
    signals = {"6 cycles": waves(64, {6: 1.0}), "both": waves(64, {6: 1.0, 26: 0.6})}
    assert sampled_twice(signals)._suptitle.get_text() == (
        "Even and odd samples see the same amplitude (1.0) of 6 cycles, but 1.6 and 0.4 of both"
    )
    assert polyphase_components(torch.randn(1, 1, 8, 8))._suptitle.get_text().startswith("4 of 4 components")
    rows = [
        {"method": method, "stride": stride, "shift": t, "distance": distance}
        for stride in (2, 4)
        for t in range(9)
        for method, distance in (("plain", 1.0 * bool(t)), ("circular padding", 1.0 * (t % stride)), ("MASS", 0.0))
    ]
    assert distances_by_shift(pd.DataFrame(rows))._suptitle.get_text() == (
        "Features move along exactly: plain under none; circular padding at multiples of the stride alone; MASS under every shift"
    )
