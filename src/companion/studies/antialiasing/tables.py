"""The README's table of an article's claims on Zhang (2019)."""

from __future__ import annotations

from pathlib import Path

from companion.core.markdown import table
from companion.core.published import read_results
from companion.studies.antialiasing.published import claims


def antialiasing(root: Path) -> str:
    """The seed's claims, our number for each, and what can be said: of the largest profile that was published."""
    results = read_results(root, "antialiasing")
    profile = "reduced" if any(r["profile"] == "reduced" for r in results) else "quick"
    records = [r for r in results if r["profile"] == profile]
    found = claims(records, root) if records else []
    rows = [
        [claim.said, claim.measured, claim.number, "–" if claim.p is None else f"{claim.p:.3f}", claim.verdict]
        for claim in found
    ]
    runs = [r for r in records if "epochs" in r]
    trained = dict.fromkeys(f"{r['net']} on {r['dataset']}, {r['epochs']} epochs" for r in runs)
    note = (
        "Intervals are 95%, each alone, of paired differences over seeds; p: Student's paired test, Holm's correction for all of the "
        "table, which decides. Without them, a comparison of two numbers. Trained for it, where "
        f"nothing else is said: {'; '.join(trained)}."
    )
    return table(["An article on Zhang (2019) says", "Measured", "Ours", "p (Holm)", ""], rows, records, note)
