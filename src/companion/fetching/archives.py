"""Folders of files: unpacked beside their destination, checked, and moved there as a whole."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tarfile
import zlib
from pathlib import Path

from companion.core.errors import Refusal
from companion.core.files import sha256
from companion.fetching.catalogue import Tree
from companion.fetching.download import Unavailable


def listing(folder: Path) -> str:
    """Hash and name of every file, as `sha256sum` writes them, ordered by name."""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return "".join(f"{sha256(folder / path)}  {path}\n" for path in paths)


def is_tree(folder: Path, tree: Tree) -> bool:
    """Whether a folder holds the files of `tree`, all of them and no others; where these have no hash, what it must hold."""
    if tree.sha256 is None:
        pieces = [folder / piece for piece in tree.holds]
        return all(piece.is_file() or (piece.is_dir() and any(piece.iterdir())) for piece in pieces)
    return folder.is_dir() and tree.sha256 == hashlib.sha256(listing(folder).encode()).hexdigest()


def settle(tree: Tree, root: Path, mirror: Path | None, archive: Path | None) -> None:
    """Make data/<name>/ from the official archive, or else from the mirror folder."""
    target = root / "data" / tree.name
    staging = root / "data" / ".partial" / f"{tree.name}.new"
    shutil.rmtree(staging, ignore_errors=True)  # of an attempt that was killed
    staging.mkdir(parents=True)
    try:
        if shutil.disk_usage(staging).free < tree.size:
            raise OSError(errno.ENOSPC, "disk full")
        if archive is not None:
            extract(archive, staging, tree.skip)
        else:
            assert mirror is not None and tree.mirrored is not None
            _FILL[tree.rebuild](mirror / tree.mirrored.path, staging)
        if not is_tree(staging, tree):
            raise Unavailable("does not hold the files of the data set: some differ, lack or are too many")
        os.replace(staging, target)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise Refusal(f"The disk is full: data/{tree.name} needs {tree.size / 1e6:,.0f} MB.") from None
        raise Refusal(f"data/{tree.name} could not be written: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def extract(archive: Path, folder: Path, skip: tuple[str, ...] = ()) -> None:
    """Unpack a tar file; members that would leave the folder, and links and devices, are refused by tarfile's filter."""
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, (member for member in tar if member.name not in skip), filter="data")
    except tarfile.FilterError as error:
        raise Unavailable(f"is no archive to trust ({error.tarinfo.name} would leave its folder)") from None
    except (tarfile.TarError, EOFError, zlib.error):
        raise Unavailable("is not a whole archive") from None


def _copy(origin: Path, folder: Path) -> None:
    # Contents alone: a mirror may be read-only, and its files links.
    shutil.copytree(origin, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)


def _mosaics(origin: Path, folder: Path) -> None:
    from companion.fetching.cifar10_mosaics import rebuild  # loads numpy and Pillow

    rebuild(origin, folder / "cifar-10-batches-py")


_FILL = {"copy": _copy, "mosaics": _mosaics}
