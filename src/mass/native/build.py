"""Building the kernels: once, when first needed, into a cache that several processes may share.

The sources include no header of PyTorch, so they build in seconds, and one library serves every version. It is linked
against the OpenMP runtime that PyTorch has loaded: one pool of threads, of the size `torch.set_num_threads` says.
Where there is no compiler, no such runtime or no place to write, there are no kernels, and PyTorch does the work.

A library is code that this process will run, and a part of one kills it (SIGBUS), past all exceptions. So the file ends in
the hash of what is before it, which a linker's loader does not read and we do, ahead of it; what is not whole is built
anew, and what others could have written is not loaded.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

_FOLDER = Path(__file__).parent
# A fused multiply-add rounds once, in every lane; -ffast-math would let sums be reordered.
_FLAGS = ("-std=c++17", "-O3", "-fPIC", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")
_CAPABILITY = {
    "AVX512": ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mf16c", "-mprefer-vector-width=512"),
    "AVX2": ("-mavx2", "-mfma", "-mf16c"),
}

_HASH = hashlib.sha256().digest_size
_UNFINISHED = "mass-kernels-"  # folders of builds; the cache may be a folder of others as well
_STALE = 3600  # seconds after which no build goes on: its steps are given 300 each

log = logging.getLogger("mass")


def load() -> ctypes.CDLL | None:
    """The compiled kernels, built if need be; None, with the reason in the log 'mass', where that cannot be."""
    try:
        return ctypes.CDLL(str(_library()))
    except _NotOurs as error:
        log.warning("no compiled kernels, PyTorch's own are used: %s", error)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        log.info("no compiled kernels, PyTorch's own are used: %s", error)
    return None


class _NotOurs(Exception):
    """A library that somebody else may have written."""


def _library() -> Path:
    if sys.platform != "linux":
        raise RuntimeError(f"they are built on Linux alone, this is {sys.platform}")
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        raise RuntimeError("no C++ compiler (g++, or what CXX names)")
    capability = torch.backends.cpu.get_cpu_capability()
    flags = (*_FLAGS, *_CAPABILITY.get(capability, ()))
    runtime = _openmp_runtime()
    sources = sorted(_FOLDER.glob("*.cpp"))
    texts = [file.read_text() for file in (*sources, *sorted(_FOLDER.glob("*.h")))]
    recipe = [*texts, compiler, *flags, platform.machine(), runtime]
    name = hashlib.sha256("\n".join(recipe).encode()).hexdigest()[:16]
    library = _cache() / f"kernels-{capability.lower()}-{name}.so"
    if not _is_whole(library):
        _build(library, sources, [compiler, *flags], runtime)
    return library


def _is_whole(library: Path) -> bool:
    """Whether a library is there, all of it. Raises `_NotOurs` where others may write to it."""
    try:
        facts, content = library.stat(), library.read_bytes()
    except FileNotFoundError:
        return False
    if facts.st_uid not in (os.getuid(), 0) or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _NotOurs(f"{library} may be another user's work; remove it, or name a folder of your own in MASS_CACHE")
    return hashlib.sha256(content[:-_HASH]).digest() == content[-_HASH:]


def _build(library: Path, sources: list[Path], compiler: list[str], runtime: str) -> None:
    library.parent.mkdir(parents=True, exist_ok=True)
    for left in library.parent.glob(f"{_UNFINISHED}*"):  # by builds that were killed
        if time.time() - left.stat().st_mtime > _STALE:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=library.parent, prefix=_UNFINISHED) as folder:
        print("mass: building kernels for this machine, once (some seconds)", file=sys.stderr)
        objects = []
        for source in sources:
            objects.append(str(Path(folder, f"{source.stem}.o")))
            command = [*compiler, "-c", str(source), "-o", objects[-1]]
            subprocess.run(command, check=True, capture_output=True, timeout=300)
        built = Path(folder, "kernels.so")
        command = [compiler[0], "-shared", *objects, runtime, "-o", str(built)]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        digest = hashlib.sha256(built.read_bytes()).digest()
        with built.open("ab") as file:
            file.write(digest)
            file.flush()
            os.fchmod(file.fileno(), 0o755)  # whatever the umask says: others must not write to it
            os.fsync(file.fileno())  # on disk before it has its name: a crash between the two would leave half of it
        os.replace(built, library)  # at once: another process sees all of it, or nothing


def _cache() -> Path:
    given = os.environ.get("MASS_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mass"


def _openmp_runtime() -> str:
    """The file of the OpenMP runtime that this process, hence PyTorch, has loaded."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        file = line.split()[-1]
        if Path(file).name.startswith(("libgomp", "libiomp5", "libomp")):
            return file
    raise RuntimeError("PyTorch does not use OpenMP here")
