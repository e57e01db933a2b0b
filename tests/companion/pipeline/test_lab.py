"""JupyterLab as `make lab` starts it, in a real Chromium: notebook 00 opens, runs, and its slider moves.

python -m pytest -m slow tests/companion/pipeline/test_lab.py --basetemp=/tmp/lab     # the screenshots are left there
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from browser import Chromium, find_chromium, wait_for

NOTEBOOK = "00_start_here.py"
NEEDED = ("notebooks", ".jupyter", "src", "params.yaml", "dvc.yaml", "jupytext.toml")
TOKEN = "lab-test"
WEIGHTS = "data/mobilenet_v2"

# The open notebook, as JupyterLab's own objects know it.
PANEL = "[...(window.jupyterapp?.shell.widgets('main') ?? [])][0]"
CODE = f"{PANEL}.content.widgets.filter(cell => cell.model.type === 'code')"
SLIDER = ".widget-slider .noUi-handle"
OUTPUT = f"[...document.querySelectorAll('{SLIDER}')].length && " \
         "document.querySelector('.widget-slider').closest('.jp-OutputArea').querySelector('img')?.src"  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium (on Debian: apt install chromium)"),
]


@pytest.fixture
def tree(root, tmp_path):
    """A copy of what Lab opens, so that running and saving touch nothing of the project."""
    if not (root / WEIGHTS).exists():
        pytest.skip("MobileNetV2's weights have not been fetched (python -m companion.fetch)")
    copy = tmp_path / "tree"
    for name in NEEDED:
        source = root / name
        ignore = shutil.ignore_patterns("__pycache__", "*.ipynb", ".ipynb_checkpoints", "*.egg-info")
        shutil.copytree(source, copy / name, ignore=ignore) if source.is_dir() else shutil.copy(source, copy / name)
    (copy / WEIGHTS).parent.mkdir()
    (copy / WEIGHTS).symlink_to(root / WEIGHTS)
    return copy


@pytest.fixture
def lab(root, tree, tmp_path):
    """The address of the notebook in a Lab with the project's configuration and nobody's own."""
    runtime = tmp_path / "runtime"
    environment = os.environ | {
        "JUPYTER_CONFIG_PATH": str(tree / ".jupyter"),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTER_RUNTIME_DIR": str(runtime),
        "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "workspaces"),
        "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"),
    }
    recipe = re.search(r"(?m)^\tJUPYTER_CONFIG_PATH=.* -m jupyterlab (.*)$", (root / "Makefile").read_text())
    command = [sys.executable, "-m", "jupyterlab", *shlex.split(recipe[1].replace("$(CURDIR)", str(tree)))]
    options = ["--no-browser", "--allow-root", "--port=0", f"--IdentityProvider.token={TOKEN}"]
    options.append("--LabApp.expose_app_in_browser=True")
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen([*command, *options], cwd=tree, env=environment, stdout=log, stderr=log)
        try:
            yield _address(wait_for(lambda: list(runtime.glob("jpserver-*.json")), 60, "JupyterLab")[0], tree)
        finally:
            server.terminate()
            server.wait(60)


def _address(facts: Path, tree: Path) -> str:
    server = wait_for(lambda: json.loads(facts.read_text() or "null"), 10, "server's own description")
    path = (tree / "notebooks" / NOTEBOOK).relative_to(server["root_dir"])
    return f"http://127.0.0.1:{server['port']}/lab/tree/{path}?token={TOKEN}"


def test_notebook_00_in_jupyterlab(lab, tree, tmp_path):
    source = tree / "notebooks" / NOTEBOOK
    before = source.read_bytes()
    with Chromium(find_chromium(), tmp_path / "chromium") as page:
        page.open(lab)
        ready = f"{PANEL}?.context?.isReady && {PANEL}.sessionContext?.session?.kernel?.name"
        kernel = wait_for(lambda: page.run(ready), 120, "notebook with a kernel")
        assert kernel == "python3"
        assert page.run("document.querySelectorAll('.jp-Dialog').length") == 0, "a dialog stands in the way"
        assert page.run(f"{PANEL}.content.widgets.length") > 20, "it was not opened as a notebook"
        page.screenshot(tmp_path / "opened.png")

        page.run(f"window.jupyterapp.shell.activateById({PANEL}.id)")  # without a window nothing has the focus
        page.run("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
        done = f"{CODE}.every(cell => cell.model.executionState === 'idle' && cell.model.executionCount)"
        wait_for(lambda: page.run(done), 300, "end of the run")
        failed = f"{CODE}.flatMap(cell => cell.model.outputs.toJSON()).filter(o => o.output_type === 'error')"
        assert page.run(failed) == []

        index = page.run(
            f"{PANEL}.content.widgets.findIndex(cell => cell.model.sharedModel.source.startsWith('slider('))"
        )
        page.run(f"{PANEL}.content.scrollToItem({index}, 'start')")
        first = wait_for(lambda: page.run(OUTPUT), 60, "slider with its picture")
        page.run(f"document.querySelector('{SLIDER}').focus()")
        page.press("ArrowRight", times=7)
        wait_for(lambda: page.run(OUTPUT) not in (first, None), 60, "new picture after the slider was moved")
        wait_for(lambda: page.run("document.querySelector('.widget-slider .widget-readout').innerText") == "7", 30, "7")
        page.run(f"{PANEL}.content.scrollToItem({index}, 'start')")
        page.screenshot(tmp_path / "slider.png")

        page.run("window.jupyterapp.commands.execute('docmanager:save')")
        assert page.run("document.querySelectorAll('.jp-Dialog').length") == 0, "saving asks something"
    assert source.with_suffix(".ipynb").exists(), "saving did not write the outputs beside the source"
    assert source.read_bytes() == before, "saving from Lab changed the source"
