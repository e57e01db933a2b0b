"""The README's table of seed 001's claims."""

from __future__ import annotations

from pathlib import Path

from companion.core.markdown import table
from companion.core.published import read_results


def antialiasing(root: Path) -> str:
    """The seed's claims, our number for each, and what can be said: of the largest profile that was published."""
    results = read_results(root, "antialiasing")
    found = [r for r in results if r.get("stage") == "claim"]
    profile = "reduced" if any(r["profile"] == "reduced" for r in found) else "quick"
    records = [r for r in found if r["profile"] == profile]
    rows = [[r["input"], r["measured"], r["number"], r["verdict"]] for r in records]
    runs = [r for r in results if r["profile"] == profile and "epochs" in r]
    trained = dict.fromkeys(f"{r['net']} on {r['dataset']}, {r['epochs']} epochs" for r in runs)
    note = (
        "Intervals are 95%, of paired differences over seeds; without one, a comparison of two numbers. Trained for it, where "
        f"nothing else is said: {'; '.join(trained)}."
    )
    return table(["Seed 001 says", "Measured", "Ours", ""], rows, records[:1], note)
