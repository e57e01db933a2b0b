"""DVC's locks on paths: those of dead processes go, those of living ones stay."""

import fcntl
import json
import os
import signal
import subprocess
import sys

import pytest

from companion.pipeline.locks import clear_dead_locks

SLEEPS = "import time; time.sleep(60)"


@pytest.fixture
def start():
    """Start a Python that sleeps; all are ended and waited for afterwards."""
    started = []

    def start(*arguments, cwd):
        process = subprocess.Popen([sys.executable, "-c", SLEEPS, *arguments], cwd=cwd)
        started.append(process)
        return process.pid

    yield start
    for process in started:
        process.kill()
        process.wait()


def locked(root, pid, cmd="/x/dvc/__main__.py repro one"):
    """A lock of this process on both sides, in the tree of `root`."""
    holder = {"pid": pid, "cmd": cmd}
    (root / ".dvc/tmp").mkdir(parents=True, exist_ok=True)
    (root / ".dvc/tmp/rwlock").write_text(json.dumps({"write": {"figures": holder}, "read": {"src": [holder]}}))


def left(root):
    return json.loads((root / ".dvc/tmp/rwlock").read_text())


NOTHING = {"write": {}, "read": {}}


def test_a_zombies_lock_is_cleared(tmp_path, start):
    pid = start("repro", "one", cwd=tmp_path)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # dead, and not reaped
    locked(tmp_path, pid)
    clear_dead_locks(tmp_path)
    assert left(tmp_path) == NOTHING


def test_a_number_given_to_another_process_is_cleared(tmp_path, start):
    (tmp_path / "tree").mkdir()
    locked(tmp_path / "tree", start("something", "else", cwd=tmp_path))
    clear_dead_locks(tmp_path / "tree")
    assert left(tmp_path / "tree") == NOTHING


def test_this_very_process_holds_nothing_before_dvc_starts(tmp_path):
    locked(tmp_path, os.getpid())
    clear_dead_locks(tmp_path)
    assert left(tmp_path) == NOTHING


@pytest.mark.parametrize("arguments, inside", [(("repro", "one"), False), (("other",), True)])
def test_a_living_ones_stays(tmp_path, start, arguments, inside):
    tree = tmp_path / "tree"
    tree.mkdir()
    locked(tree, start(*arguments, cwd=tree if inside else tmp_path))
    before = left(tree)
    clear_dead_locks(tree)
    assert left(tree) == before


def test_a_file_cut_short_is_removed_and_one_that_is_written_to_is_left(tmp_path):
    path = tmp_path / ".dvc/tmp/rwlock"
    path.parent.mkdir(parents=True)
    path.write_text('{"write": {"fig')
    with path.with_name("rwlock.lock").open("a+") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        clear_dead_locks(tmp_path)
        assert path.exists()
    clear_dead_locks(tmp_path)
    assert not path.exists()


@pytest.mark.slow
def test_dvc_starts_beside_a_zombies_lock(project, start):
    """What `make repro` said once after a SIGKILL of make: '… is busy, it is being blocked by (PID …)'."""
    pid = start(cwd=project.folder)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    locked(project.folder, pid)
    holder = {"pid": pid, "cmd": "dvc repro"}
    place = str(project.folder / "runs/quick/02_mass_layer/figures")
    (project.folder / ".dvc/tmp/rwlock").write_text(json.dumps({"write": {place: holder}}))
    project.say("make", "repro")
