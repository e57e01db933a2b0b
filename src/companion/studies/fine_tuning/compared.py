"""What fine-tuning changed, image by image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from companion.measures.paired_images import compare
from companion.studies.fine_tuning.answers import Answers, outcomes

QUESTIONS = {"top-1": "top1", "changed by noise": "changed_by_noise"}


def comparisons(answered: Mapping[str, Mapping[str, Answers]]) -> list[dict[str, Any]]:
    """Each method after against before, and after fine-tuning each against the plain network and MASS against circular padding.

    Returns:
        Rows of input (the question), method, against, and what `compare` finds; a question is a family.
    """
    pairs = [(f"{method}, tuned", method) for method in answered]
    pairs += [(f"{method}, tuned", "plain, tuned") for method in answered if method != "plain"]
    pairs += [("MASS, tuned", "circular padding, tuned"), ("MASS, tuned", "plain")]
    rows = []
    for question, field in QUESTIONS.items():
        found = {method: outcomes(stages["before"])[field] for method, stages in answered.items()}
        found |= {f"{method}, tuned": outcomes(stages["after"])[field] for method, stages in answered.items()}
        rows += [{"input": question} | row for row in compare(found, pairs)]
    return rows
