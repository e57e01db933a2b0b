"""SIGKILL of make, of dvc and of the kernel: nothing lives on, and `make repro` ends in the same results."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="processes are read from /proc")]

RUN = "runs/quick/02_mass_layer"


def processes(folder: Path) -> dict[int, str]:
    """Command lines of the processes that work in a folder."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and Path(os.readlink(entry / "cwd")).is_relative_to(folder):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found |= {int(entry.name): command} if command else {}  # a zombie has none
        except OSError:
            continue
    return found


def until(condition, what: str, seconds: float = 60.0):
    """Wait for a condition; returns what it found."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"still waiting for {what}"
        time.sleep(0.05)
    return found


def results(folder: Path) -> dict[str, bytes]:
    """What a run left that must not depend on when it ran."""
    paths = [path for path in (folder / RUN).rglob("*") if path.is_file() and path.name != "provenance.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_what_is_killed_is_taken_up_again(project):
    folder, say = project.folder, project.say
    say("make", "repro")
    expected = results(folder)
    assert len([name for name in expected if "records" in name]) == 2

    victims = {
        "make": (["make", "repro"], "make repro"),
        "dvc": ([sys.executable, "-m", "dvc", "repro"], "-m dvc repro"),
        "kernel": (["make", "repro"], "companion.pipeline.kernel"),
    }
    for name, (command, pattern) in victims.items():
        subprocess.run(["rm", "-rf", folder / "runs", folder / "dvc.lock", folder / ".dvc/cache"], check=True)
        started = subprocess.Popen(
            command, cwd=folder, env=project.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(lambda: list((folder / "runs/quick/.partial/02_mass_layer/records").glob("*.json")), "the first record")
        (victim,) = (pid for pid, line in processes(folder).items() if pattern in line and "sh -c" not in line)
        os.kill(victim, signal.SIGKILL)
        assert started.wait(60) != 0
        until(lambda: not processes(folder), f"the children of {name} to end", 10)
        assert results(folder) == {}, f"{name}: a killed run left results"
        say("make", "repro")
        assert results(folder) == expected, name
        assert not list((folder / "runs/quick/.partial").iterdir())
