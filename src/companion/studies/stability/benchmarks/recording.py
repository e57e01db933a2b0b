"""What a benchmark of this study leaves for `make publish PROFILE=bench`: records, and where they come from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from companion.core.files import read_json, write_json
from companion.core.provenance import peak_memory_mb
from companion.core.records import make_record, record_name
from companion.fetching.catalogue import fingerprint
from companion.studies.stability.kept import Kept


class Bench(Kept):
    """One benchmark's runs/bench/<topic>/; what it has finished stays in checkpoints/bench/<topic>."""

    def __init__(self, root: Path, topic: str) -> None:
        super().__init__(root, root / "checkpoints" / "bench" / topic)
        self.topic, self.started = topic, time.monotonic()
        self.folder = root / "runs" / "bench" / topic
        spent = self.kept / "spent.json"
        self.before: float = read_json(spent)["seconds"] if spent.exists() else 0.0

    @property
    def seconds(self) -> float:
        """Spent in this call, and in earlier ones until what they have finished."""
        return self.before + time.monotonic() - self.started

    def say(self, what: str) -> None:
        print(f"{what}: {self.seconds:.0f} s", flush=True)

    def once(self, name: str, made: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        """As `Kept.once`; the seconds that it took are kept as well."""

        def timed() -> Any:
            value = make()
            write_json(self.kept / "spent.json", {"seconds": self.seconds})
            self.say(name)
            return value

        return super().once(name, made, timed)

    def write(self, rows: Iterable[dict[str, Any]], **measured: Any) -> None:
        """All records of the benchmark; `measured` is in each."""
        for number, row in enumerate(rows):
            record = {**measured, "seed": 0, **row}
            known = fingerprint(str(record.get("dataset")))
            record |= {"dataset_sha256": known} if known else {}
            path = self.folder / "records" / f"{record_name(record)}.json"
            write_json(path, make_record(record) | self.facts | {"row": number})
        took = {"seconds": round(self.seconds, 1), "peak_memory_mb": peak_memory_mb()}
        write_json(
            self.folder / "provenance.json",
            {"notebook": self.topic, "profile": "bench", "seed": 0} | self.facts | took,
        )
