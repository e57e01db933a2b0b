"""What a certificate may say: how strong it is, and what a model may be called with; wrong inputs and the sentence each gets."""

import copy
import pickle

import numpy
import pytest
import torch
from returning import Returns, X, strided
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import mass
from mass import Outcome
from mass.evaluate.progress import Progress
from mass.evaluate.shifts import all_residues

still = torch.randn(2, 4, 16, 24, generator=torch.Generator().manual_seed(1))


def test_a_claim_is_as_strong_as_its_check():
    converted = mass.convert(strided(), X)
    certificate = mass.certify(converted, X)
    assert (
        certificate.verdict == "CERTIFIED: bit-identical output for 2 of 2 images under all 16 residues modulo 4 x 4."
    )
    sampled = mass.certify(converted, X, 3)
    assert sampled and sampled.outcome is Outcome.IDENTICAL
    assert sampled.verdict == ("BIT-IDENTICAL under 3 sampled shifts, of 16 residues modulo 4 x 4: 2 of 2 images.")
    assert mass.certify(converted, X, all_residues((16, 24), (4, 4))).outcome is Outcome.CERTIFIED


def test_the_whole_map_tells_all_shifts_apart():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 2, 3, 1, 1), nn.Flatten(), nn.Linear(2 * 16 * 24, 4)).eval()
    converted = mass.convert(plain, X)
    certificate = mass.certify(converted, X)
    assert certificate.residues == (16, 24) and len(set(certificate.shifts)) == 384
    assert "under all 384 residues modulo 16 x 24" in certificate.verdict
    note = "(2, 4) invariant; computed from the whole map at its origin: coordinates in it are relative to that origin"
    assert note in str(certificate) and certificate.outputs[0].from_whole_map
    assert "The output is computed from the whole map at its origin" in mass.explain(plain, X).summary
    assert "whole map" not in mass.explain(strided(), X).summary
    compiled = torch.compile(converted, backend="eager")
    assert mass.certify(compiled, X, 2).residues == (16, 24)
    assert mass.certify(nn.Sequential(strided(), nn.Flatten()), X, 2).residues == (16, 24)  # nothing is known of it


def test_too_many_residues_are_sampled_unless_all_are_asked_for():
    x = torch.randn(1, 1, 80, 64)
    certificate = mass.certify(nn.Identity(), x)
    assert certificate.outcome is Outcome.IDENTICAL and len({(i % 32, j % 32) for i, j in certificate.shifts}) == 1024
    assert "under 1,024 sampled shifts, of 5,120 residues modulo 80 x 64" in certificate.verdict
    assert mass.certify(nn.Identity(), x, "all").outcome is Outcome.CERTIFIED


def test_a_network_without_strides_is_certified_under_more_than_one_shift():
    converted = mass.convert(nn.Conv2d(3, 4, 3, padding=1).eval(), X)
    assert "all 16 residues modulo 4 x 4" in mass.certify(converted, X).verdict


def test_up_to_the_symmetry_of_the_input():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ConvTranspose2d(4, 2, 4, 4)).eval()
    x = torch.randn(1, 3, 6, 24).repeat(1, 1, 4, 1)
    certificate = mass.certify(mass.convert(model, x), x)
    assert certificate and certificate.outcome is Outcome.UP_TO_SYMMETRY
    assert (
        certificate.verdict.startswith("CERTIFIED up to the input's own symmetry")
        and certificate.symmetry[0][0] % 6 == 0
    )
    assert mass.certify(mass.convert(model, x), x, [(1, 2), (2, 5)]).verdict.startswith("BIT-IDENTICAL up to")
    assert mass.certify(mass.convert(model, x, symmetrise=True), x).outcome is Outcome.CERTIFIED


class Gated(nn.Module):
    """Images and a mask, moved alike, and a number for each image."""

    def forward(self, x, mask, gain=None):
        y = x * mask.to(x.dtype).view(len(x), -1, *x.shape[2:])
        return y if gain is None else y * gain[:, None, None, None]


MASK, GAIN = X[:, :1] > 0, torch.tensor([2.0, 3.0])


@pytest.mark.parametrize(
    "inputs",
    [
        (X, MASK),
        (X, MASK, GAIN),
        (X, MASK[:, 0]),  # labels (B, H, W)
        {"x": X, "mask": MASK},
        {"gain": GAIN, "mask": MASK, "x": X},
        [{"x": X, "mask": MASK}] * 2,
        [((X, MASK), torch.tensor([1, 2]))],
        iter([[{"x": X[:1], "mask": MASK[:1]}, 0], [{"x": X[1:], "mask": MASK[1:]}, 1]]),
    ],
)
def test_what_a_model_is_called_with(inputs):
    certificate = mass.certify(Gated(), inputs, 3)
    assert certificate and len(certificate.identical) in (2, 4), certificate


def test_data_loaders():
    x = torch.randn(5, 3, 16, 24)
    loader = DataLoader(TensorDataset(x, torch.arange(5)), batch_size=2)
    certificate = mass.certify(mass.convert(strided(), x), loader)
    assert certificate.outcome is Outcome.CERTIFIED and certificate.identical.tolist() == [True] * 5
    assert certificate.margin.shape == certificate.max_difference.shape == (5,) and len(certificate.symmetry) == 5
    x[3, 0, 0, 0] = torch.nan
    certificate = mass.certify(mass.convert(strided(), x), loader, 2)
    assert certificate.identical.tolist() == [True, True, True, False, True]
    assert "image 3 gives NaN or infinity (1 of 5 images)" in certificate.verdict


def test_a_model_may_write_to_its_input():
    class Writes(nn.Module):
        def forward(self, x):
            return x.mul_(2).amax((2, 3))

    x = X.clone()
    assert mass.certify(Writes(), x, 3) and torch.equal(x, X)


def test_stop_at_the_first_difference():
    calls = []
    model = strided()
    model.register_forward_hook(lambda *_: calls.append(1))
    certificate = mass.certify(model, [X, X], 100, stop=True)
    assert len(certificate.shifts) == 1 and len(calls) == 3 and not certificate
    assert "stopped at the first difference" in str(certificate)
    assert len(mass.certify(mass.convert(strided(), X), X, 7, stop=True).shifts) == 7
    assert len(mass.certify(Returns(torch.rand_like), [X, X], 7).shifts) == 0


def test_progress_is_one_line_that_goes_away(capsys):
    mass.certify(nn.Identity(), X, 3)
    assert capsys.readouterr().err == ""
    mass.certify(nn.Identity(), X, 3, progress=True)
    written = capsys.readouterr().err
    assert "certify: 1 of 3 shifts, " in written and written.endswith("\r") and "\n" not in written
    mass.certify(nn.Identity(), [X, X], 3, progress=True)
    assert "certify: batch 2, 3 of 3 shifts, 0 s left" in capsys.readouterr().err
    assert not Progress().shown  # stderr is no terminal here


def test_certificates_are_kept():
    certificate = mass.certify(mass.convert(strided(), X), X)
    for kept in (pickle.loads(pickle.dumps(certificate)), copy.deepcopy(certificate)):
        assert kept and str(kept) == repr(kept) == str(certificate) and kept.outcome is certificate.outcome
    assert repr(certificate).splitlines() == [
        certificate.verdict,
        "  images            2, bit-identical: 2",
        "  circular shifts   16 each",
        "  output            (2, 4, 4, 6) equivariant along axes 2 and 3, on its lattice of stride 4 x 4",
        "  max difference    0",
        f"  smallest margin   {certificate.margin.min().item():.2g}",
    ]


def returns(value):
    return Returns(lambda y: value)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mass.certify(returns(3.0), X), ValueError, "no tensor was found in the model's output, of type float"),
        (lambda: mass.certify(returns({"a": [object()]}), X), ValueError, "of type dict: nothing to compare"),
        (
            lambda: mass.certify(returns([X, X[:, 0].to_sparse()]), X),
            TypeError,
            r"output '\[1\]' is a tensor of torch.sparse_coo",
        ),
        (
            lambda: mass.certify(returns(X.to("meta")), X),
            TypeError,
            "a tensor of the meta device, which cannot be compared",
        ),
        (lambda: mass.certify(returns(X[0]), X), ValueError, "3 rows for .*add the batch axis"),
        (lambda: mass.certify(Gated(), ()), ValueError, "the tuple of inputs is empty"),
        (lambda: mass.certify(Gated(), {}), ValueError, r"no images among the keyword inputs \(none\)"),
        (lambda: mass.certify(Gated(), {"mask": MASK}), ValueError, "no images among the keyword inputs mask"),
        (lambda: mass.certify(Gated(), []), ValueError, "there are no images: the iterable is empty"),
        (lambda: mass.certify(Gated(), 5), TypeError, "or batches, got int"),
        (lambda: mass.certify(Gated(), (MASK, X)), TypeError, "expected floating-point values, got torch.bool"),
        (lambda: mass.certify(nn.Identity(), [X, X[..., :8]], 2), ValueError, "certify one size at a time"),
        (lambda: mass.certify(nn.Identity(), X, "some"), ValueError, "shifts must be None, 'all', an int"),
        (lambda: mass.certify(nn.Identity(), X, True), ValueError, "shifts must be None, 'all', an int"),
        (lambda: mass.certify(nn.Identity(), X, [(1, 2, 3)]), TypeError, "pairs"),
    ],
)
def test_wrong_inputs(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_worst_shift_is_that_of_the_largest_difference():
    class Reads(nn.Module):
        def forward(self, x):
            return {"less": x[:, 0, 0, 1] * 1e-3, "more": x[:, 0, 0, 2]}

    x = torch.zeros(2, 1, 4, 4)
    x[0, 0, 0, 1], x[1, 0, 0, 0] = 100.0, 0.2
    certificate = mass.certify(Reads(), x, shifts=[(0, 1), (0, 2), (0, 3)])
    assert certificate.worst == (0, 3) and certificate.max_difference.max() == 100


@pytest.mark.parametrize("shifts", [numpy.int64(3), torch.tensor([[1, 0], [0, 1]]), numpy.array([[1, 0], [0, 1]])])
def test_numbers_and_arrays_of_shifts(shifts):
    assert mass.certify(nn.ReLU(), torch.rand(1, 3, 4, 4), shifts=shifts)


@pytest.mark.parametrize(
    ("shifts", "error", "message"),
    [
        ([(0.9, 0.9)], TypeError, r"got \[\(0.9, 0.9\)\]; a circular shift moves by whole pixels"),
        ([(1, 2), (1, 2.0)], TypeError, r"pairs \(rows, columns\) of ints"),
        (torch.tensor([[0.5, 0.5]]), TypeError, "a circular shift moves by whole pixels"),
        (numpy.array([[1.0, 2.0]]), TypeError, "a circular shift moves by whole pixels"),
        (2.5, TypeError, "an int, or pairs .* got 2.5"),
        ([(16, -24)], ValueError, "every shift given is a whole turn of the image, 16 x 24, and moves nothing"),
        ([(0, 0), (32, 24), (-16, 0)], ValueError, "every shift given is a whole turn"),
    ],
)
def test_shifts_that_are_none(shifts, error, message):
    """A network that is not equivariant would pass: nothing was moved, or not by what was asked."""
    with pytest.raises(error, match=message):
        mass.certify(nn.Conv2d(3, 4, 3, 2, 1), X, shifts=shifts)


def test_a_whole_turn_beside_another_shift_is_tried():
    assert mass.certify(nn.ReLU(), X, shifts=[(16, 24), (0, 0), (17, 24)])
    assert not mass.certify(nn.Conv2d(3, 4, 3, 2, 1), X, shifts=[(16, 24), (0, 0), (17, 24)])
