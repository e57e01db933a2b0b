"""What the figures of notebook 02 say of themselves."""

import pandas as pd

from companion.data.images import digit
from companion.studies.mass_layer.figures import agreeing_rules, changed_logits, figure_1, figure_2


def test_the_papers_figures_say_what_they_show():
    assert (
        figure_1(digit())
        ._suptitle.get_text()
        .endswith("give two maps by plain max pooling; one, up to a shift, by MASS max pooling")
    )
    assert "two maps by max pooling; one" in figure_2(digit(channels=2))._suptitle.get_text()


def test_the_title_names_the_methods_under_which_no_logit_changes():
    rows = [
        {"dtype": dtype, "method": method, "image": "one", "another grid": share}
        for dtype in ("float32", "bfloat16")
        for method, share in (("plain", 50.0), ("MASS", 0.0))
    ]
    assert changed_logits(pd.DataFrame(rows))._suptitle.get_text().endswith("rounding: none under MASS")
    rows[-1]["another grid"] = 1.0
    assert changed_logits(pd.DataFrame(rows))._suptitle.get_text().endswith("by more than rounding")


def test_the_rules_that_agree_most_are_named_apart():
    table = pd.DataFrame([[100, 20, 30], [20, 100, 90], [30, 90, 100]], columns=list("abc"), index=list("abc"))
    assert agreeing_rules(table).axes[0].get_title() == (
        "Apart from b and c, two rules select the same origin in 20 to 30% of crops"
    )
