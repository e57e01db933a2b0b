"""The paper's values as data, and the rule that ours stand beside them only at the paper's scale."""

import json

import pytest
import torch

from companion.data.images import photographs
from companion.data.normalisation import normalize
from companion.models.random_weights import calibrated
from companion.paper import verdicts
from companion.paper.errata import FORMULAS, NUMBERS, SENTENCES
from companion.paper.printed import METHODS, NETWORKS, TABLE_2, Cell
from companion.studies.paper_and_errata.beside import above, claims, figure, printed_gains, smaller_runs, table_2
from companion.studies.paper_and_errata.claims import CONFIRMED, CONTRADICTED, OPEN, decided
from mass.baselines.aps import convert_to_aps

RUN = {"method": "MASS", "model": "resnet20", "seed": 0, "top1": 92.0, "consistency": 100.0}


def publish(root, topic, records):
    (root / "results").mkdir(exist_ok=True)
    (root / "results" / f"{topic}.json").write_text(json.dumps(records))


def test_table_2_is_complete_and_its_doubts_are_the_two_equal_cells():
    assert [(row.network, row.method) for row in TABLE_2] == [(n, m) for n in NETWORKS for m in METHODS]
    doubtful = [(row.network, row.method) for row in TABLE_2 if row.consistency.doubt]
    assert doubtful == [("ResNet-20", "LPF-3"), ("ResNet-18", "Baseline")]
    assert len({str(row.consistency) for row in TABLE_2 if row.consistency.doubt}) == 1


def test_what_the_errata_say_of_table_2_follows_from_it():
    assert printed_gains().loc["MASS"].tolist() == [1.56, 3.09]
    assert printed_gains().loc["MASS-DDAC-3"].tolist() == [2.06, 2.95]
    assert above("MASS")["above MASS"].tolist() == ["LPF-3, APS-LPF-3, APS-DDAC-3", "none"]
    assert above("MASS-LPF-3")["above MASS-LPF-3"].tolist() == ["APS-DDAC-3", "none"]


@pytest.mark.parametrize(
    ("cell", "ours", "expected"),
    [
        (Cell(92.0, 0.2), [], "not run at paper scale"),
        (Cell(92.0, 0.2), [92.0], "one run: no verdict"),
        (Cell(92.0, 0.2), [91.9, 92.1, 92.0], "reproduced within 0.5 points"),
        (Cell(92.0, 0.2), [91.5, 92.6, 92.2], "not decidable at n = 3"),  # near, but too scattered to be held there
        (Cell(92.0, 0.2), [92.0, 92.6], "not decidable at n = 2"),
        (Cell(92.0, 0.2), [90.0, 90.1, 90.2], "not reproduced"),
        (Cell(100.0), [100.0], "reproduced"),
        (Cell(100.0), [100.0, 99.99], "not reproduced"),
        (Cell(91.2, 0.3, doubt="printed twice"), [91.2, 91.2], "printed value in doubt"),
    ],
)
def test_verdict(cell, ours, expected):
    assert verdicts.on_mean(cell, ours) == expected


def test_without_results_everything_is_not_run(tmp_path):
    assert set(table_2(tmp_path).xs("ours (runs)", axis=1, level=1).to_numpy().ravel()) == {"not run"}
    assert "confirmed" not in claims(tmp_path).data
    assert smaller_runs(tmp_path).data == "*not run*"
    assert "02_mass_layer" in figure(tmp_path, 1).data


def test_only_the_paper_profile_stands_beside_the_paper(tmp_path):
    publish(tmp_path, "cifar10", [RUN | {"profile": "quick"}, *(RUN | {"profile": "paper", "seed": s} for s in (1, 2))])
    row = table_2(tmp_path).loc[("ResNet-20", "MASS")]
    assert row["accuracy", "ours (runs)"] == "92.00 ± 0.00 (2)"
    assert row["consistency", "verdict"] == "reproduced"


def test_every_claim_is_decided_by_records_alone(tmp_path):
    """Without records nothing is decided but what the paper's own table contradicts; no claim is left out."""
    without = {claim.quote: verdict for claim, verdict, _ in decided(tmp_path)}
    assert set(without.values()) <= {CONFIRMED, CONTRADICTED, OPEN} and len(without) >= 20
    decided_anyway = [quote for quote, verdict in without.items() if verdict != OPEN]
    assert len(decided_anyway) == 1, decided_anyway
    assert "outperforms all other methods" in decided_anyway[0]
    assert "|" not in "".join(claim.quote for claim, *_ in decided(tmp_path))


def test_what_our_records_say_of_the_papers_claims(root):
    verdicts_on = {claim.quote: verdict for claim, verdict, _ in decided(root)}
    expected = {
        "perfect shift equivariance": CONFIRMED,
        "devoid of any additional trainable parameters": CONFIRMED,
        "increase in inference time": CONTRADICTED,
        "outperforms all other methods": CONTRADICTED,
        "APS models significantly drop": OPEN,
        "APS cannot replace": CONTRADICTED,
        "ConvNeXt-L": OPEN,
        "69.22%": OPEN,
    }
    for words, verdict in expected.items():
        assert next(v for quote, v in verdicts_on.items() if words in quote) == verdict, words


def test_aps_replaces_what_convnext_samples_by():
    """The paper says that it cannot; it runs, with the same parameters, and its output moves with the image."""
    model, x = calibrated("convnext_tiny"), normalize(photographs(64))
    converted = convert_to_aps(model, x)
    assert sum(p.numel() for p in converted.parameters()) == sum(p.numel() for p in model.parameters())
    with torch.no_grad():
        assert torch.allclose(converted(x), converted(x.roll((5, 3), (2, 3))), atol=1e-3)


def test_no_erratum_breaks_its_table():
    for erratum in (*NUMBERS, *FORMULAS, *SENTENCES):
        assert "|" not in erratum.quote + erratum.remark + erratum.here
