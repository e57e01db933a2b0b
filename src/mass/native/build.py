"""Building the kernels: once, when first needed, into a cache that several processes may share.

The sources include no header of PyTorch, so they build in seconds, and one library serves every version. It is linked
against the OpenMP runtime that PyTorch has loaded: one pool of threads, of the size `torch.set_num_threads` says.
Where there is no compiler, no such runtime or no place to write, there are no kernels, and PyTorch does the work.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

_FOLDER = Path(__file__).parent
# A fused multiply-add rounds once, in every lane; -ffast-math would let sums be reordered.
_FLAGS = ("-std=c++17", "-O3", "-fPIC", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")
_CAPABILITY = {
    "AVX512": ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mf16c", "-mprefer-vector-width=512"),
    "AVX2": ("-mavx2", "-mfma", "-mf16c"),
}

log = logging.getLogger("mass")


def load() -> ctypes.CDLL | None:
    """The compiled kernels, built if need be; None, with the reason in the log 'mass', where that cannot be."""
    try:
        return ctypes.CDLL(str(_library()))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        log.info("no compiled kernels, PyTorch's own are used: %s", error)
        return None


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
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            objects = []
            for source in sources:
                objects.append(str(Path(folder, f"{source.stem}.o")))
                command = [compiler, *flags, "-c", str(source), "-o", objects[-1]]
                subprocess.run(command, check=True, capture_output=True, timeout=300)
            built = Path(folder, "kernels.so")
            command = [compiler, "-shared", *objects, runtime, "-o", str(built)]
            subprocess.run(command, check=True, capture_output=True, timeout=300)
            os.replace(built, library)  # at once: another process sees all of it, or nothing
    return library


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
