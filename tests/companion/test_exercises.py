"""Every notebook ends in an exercise, whose folded solution is a program of its own and runs."""

import re
from pathlib import Path

import jupytext
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.py"))
SOLUTION = re.compile(r"<details><summary>Solution</summary>\n\n```python\n(.*?)```\n\n.+?\n\n</details>", re.DOTALL)


def exercises(path):
    cells = jupytext.read(path, fmt="py:percent").cells
    return [cell.source for cell in cells if cell.source.startswith("## Try this")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_solution(path):
    (exercise,) = exercises(path)
    (solution,) = SOLUTION.findall(exercise)
    exec(compile(solution, path.name, "exec"), {})  # noqa: S102
