"""Files that are either whole or absent."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from companion.core.errors import Refusal


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file under another name and rename it: a reader, or a kill, never meets half of it.

    Raises:
        Refusal: when the disk is full, or the folder cannot be written.
    """
    try:
        _write_and_rename(path, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise unwritable(path, error) from None


def unwritable(path: Path, error: OSError) -> Refusal:
    """Why a file could not be written, in a sentence."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Refusal(f"The disk is full: {path.name} could not be written; what was there before is kept.")
    return Refusal(f"{path} cannot be written ({error.strerror or error}): mend that, or name another folder.")


def leftovers(path: Path) -> list[Path]:
    """What kills have left of attempts to write a file: nobody else may be writing it now."""
    return list(path.parent.glob(f".{path.name}.????????"))


def _write_and_rename(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(name, 0o644)  # mkstemp makes files private
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write JSON that diffs well; NaN and infinity, which JSON lacks, are refused."""
    write_atomic(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        Refusal: when it holds something else.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # so are bytes that are no text
        raise Refusal(f"{path} is broken ({error}): mend it, or take it from git or from a new run.") from None


def sha256(path: Path) -> str:
    """The file's hash, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
