"""Benchmarks of many members: a record each, which keeps what names it, and none is measured twice."""

from companion.core import bench
from companion.core.records import read_records


def test_members_keep_what_names_them_and_are_measured_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "find_root", lambda: tmp_path)
    monkeypatch.setattr(bench, "provenance", lambda root: {"commit": "c"})
    asked = []

    def member(seed):
        key = {"model": "m", "method": "a", "seed": seed}

        def measure():
            asked.append(seed)
            if seed == 2:
                raise bench.Absent("nothing to ask")
            return key | {"value": 10 * seed, "took": 1.0}

        return key, measure

    for _ in range(2):
        bench.run_bench("topic", [member(seed) for seed in (0, 1, 2)], lambda row: f"value {row['value']}")
    records = sorted(read_records(tmp_path / "runs" / "bench" / "topic" / "records"), key=lambda record: record["seed"])
    assert [(record["seed"], record["value"], record["notebook"]) for record in records] == [
        (0, 0, "topic"),
        (1, 10, "topic"),
    ]
    assert asked == [0, 1, 2, 2] and "absent: nothing to ask" in capsys.readouterr().out
