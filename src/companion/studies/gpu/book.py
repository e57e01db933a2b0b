"""Records as they are made, in the tree that `make publish RECORDS=…` reads, and in few files to carry away."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

from companion.core.errors import Refusal
from companion.core.files import read_json, write_json
from companion.core.provenance import peak_memory_mb
from companion.core.records import Record, make_record, record_name

_MOST = 15_000_000  # bytes of weights in one archive: what carries them away may refuse larger files


class Book:
    """All records of one piece of time.

    Args:
        out: the folder of runs/<profile>/<notebook>/records and of checkpoints/.
        facts: provenance, of every record that says nothing else.
        bundle: a folder for the same as archives, results.tar and weights-N.tar, kept up to date; or None.
    """

    def __init__(self, out: Path, facts: dict[str, Any], bundle: Path | None = None) -> None:
        self.out, self.facts, self.bundle = out, facts, bundle
        self._started, self._lock = time.monotonic(), threading.Lock()

    def resume(self, given: Path) -> None:
        """Take over what an earlier piece of time has left: its folder, or a folder of its archives.

        Raises:
            Refusal: when there is no such folder.
        """
        if not given.is_dir():
            raise Refusal(f"There is no folder {given} to resume from.")
        self.out.mkdir(parents=True, exist_ok=True)
        for archive in sorted(given.glob("*.tar")):
            with tarfile.open(archive) as tar:
                tar.extractall(self.out, filter="data")
        for part in ("runs", "checkpoints"):
            if (given / part).is_dir() and given.resolve() != self.out.resolve():
                shutil.copytree(given / part, self.out / part, dirs_exist_ok=True)

    def _records(self, notebook: str, profile: str) -> Path:
        return self.out / "runs" / profile / notebook / "records"

    def holds(self, notebook: str, profile: str, **fields: object) -> bool:
        """Whether there is a record with these fields."""
        found = map(read_json, self._records(notebook, profile).glob("*.json"))
        return any(fields.items() <= record.items() for record in found)

    def add(self, notebook: str, profile: str, fields: dict[str, Any]) -> Record:
        """Write a record; a later one of the same key replaces it."""
        record = make_record({"notebook": notebook, "profile": profile} | fields)
        facts = {"notebook": notebook, "profile": profile, "seed": 0} | self.facts
        took = {"seconds": round(time.monotonic() - self._started, 1), "peak_memory_mb": peak_memory_mb()}
        with self._lock:
            folder = self._records(notebook, profile)
            write_json(folder / f"{record_name(record)}.json", self.facts | record)
            write_json(folder.parent / "provenance.json", facts | took)
            self._pack_results()
        return record

    def pack(self) -> None:
        """Bring the archives up to date."""
        with self._lock:
            self._pack_results()
            self._pack_weights()

    def _files(self, suffix: str) -> list[Path]:
        return [path for path in sorted(self.out.rglob(f"*{suffix}")) if not path.name.startswith(".")]

    def _pack_results(self) -> None:
        if self.bundle is not None:
            self._archive("results", self._files(".json"))

    def _pack_weights(self) -> None:
        if self.bundle is None:
            return
        parts: list[list[Path]] = [[]]
        size = 0
        for path in self._files(".pt"):
            more = path.stat().st_size
            if parts[-1] and size + more > _MOST:
                parts.append([])
                size = 0
            parts[-1].append(path)
            size += more
        for number, part in enumerate(filter(None, parts), 1):
            self._archive(f"weights-{number}", part)

    def _archive(self, name: str, files: list[Path]) -> None:
        assert self.bundle is not None
        target = self.bundle / f"{name}.tar"
        said = io.BytesIO()
        with tarfile.open(fileobj=said, mode="w") as tar:
            for path in files:
                tar.add(path, path.relative_to(self.out))
        self.bundle.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        partial.write_bytes(said.getvalue())
        os.replace(partial, target)
