"""The paper's Table 1, computed; and what notebook 03 draws."""

import pandas as pd

from companion.studies.lattices.architectures import PAPER_TABLE_1, table_1
from companion.studies.lattices.figures import margin_histograms
from companion.studies.lattices.published import names


def test_table_1_is_the_papers():
    assert table_1().to_dict("list") == PAPER_TABLE_1


def test_margins_are_counted_in_the_title_and_the_legend_covers_no_bar():
    table = pd.DataFrame({"origin": ["1: stride 1 to 2", "2: stride 2 to 4"] * 2, "margin": [1e-9, 1e-3, 0.1, 0.2]})
    fig = margin_histograms({"a network": table})
    (ax,) = fig.axes
    assert (
        ax.get_title() == "a network: of all margins\n25% within one step of float32, 50% within one step of bfloat16"
    )
    assert ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1


def test_of_two_machines_runs_the_latest_is_shown():
    record = {"model": "resnet18", "method": "MASS", "relative_error": 1.0, "started": "2026-11-27"}
    assert names([record, record | {"relative_error": 2.0, "started": "2026-11-28"}])["rows"] == [
        {"network": "resnet18", "method": "MASS", "worst": 2.0}
    ]
