"""A real remote: pushed to a folder, pulled in a second clone from there and over HTTP, and nothing runs again."""

import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytestmark = pytest.mark.slow

DVC = (sys.executable, "-m", "dvc")
NEVER_FETCHED = "outs:\n- md5: d41d8cd98f00b204e9800998ecf8427f\n  size: 9\n  hash: md5\n  path: data/other\n"


class Quiet(SimpleHTTPRequestHandler):
    """Read-only, and silent."""

    def log_message(self, *arguments):
        """Silence."""


@pytest.fixture
def pushed(project, tmp_path):
    """A project whose results and data set are in a remote folder; a second set was never fetched."""
    folder, say = project.folder, project.say
    (folder / "data/set").mkdir(parents=True)
    (folder / "data/set/file.bin").write_bytes(bytes(range(256)))
    (folder / "data.dvc").write_text("outs:\n- path: data/set\n")
    say(*DVC, "commit", "-q", "-f", "data.dvc")
    (folder / "data-other.dvc").write_text(NEVER_FETCHED)
    say("make", "repro")  # although data/other is missing
    assert "Nothing to do" in say("make", "repro").stdout
    say(*DVC, "remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    say(*DVC, "push", "-q", "data.dvc", "02_mass_layer@quick")
    say("git", "add", ".")
    say("git", "commit", "-qm", "results")
    return project


def assert_complete(clone, origin) -> None:
    """The clone has the data and the results, and neither dvc nor make finds anything to run."""
    for name in ("data/set/file.bin", "runs/quick/02_mass_layer/metrics.json"):
        assert (clone.folder / name).read_bytes() == (origin.folder / name).read_bytes()
    assert "Running stage" not in clone.say(*DVC, "repro").stdout
    assert "Nothing to do" in clone.say("make", "repro").stdout
    assert clone.say("git", "status", "--porcelain").stdout == ""


def test_pulled_from_a_folder_and_read_only_over_http(pushed, tmp_path):
    outs = ("data.dvc", "02_mass_layer@quick")
    clone = pushed.clone("clone")
    clone.say(*DVC, "pull", "-q", *outs)
    assert_complete(clone, pushed)

    clone = pushed.clone("reader")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "store"))) as http:
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        clone.say(*DVC, "remote", "add", "-q", "--local", "web", f"http://127.0.0.1:{http.server_port}")
        clone.say(*DVC, "pull", "-q", "-r", "web", *outs)
        http.shutdown()
    assert_complete(clone, pushed)
