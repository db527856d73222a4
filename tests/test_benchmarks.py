"""What a benchmark writes for programs is what it prints for people."""

import argparse
import json
import shlex

import pytest
import torch

from benchmarks import correctness, performance, throughput
from benchmarks.report import Table, add_outputs, publish
from models import backward_rules


def test_the_json_has_the_rows_of_the_table(tmp_path, capsys) -> None:
    parser = argparse.ArgumentParser()
    add_outputs(parser)
    names = {"out": str(tmp_path / "t.md"), "json": str(tmp_path / "t.json")}
    options = parser.parse_args([f"--{name}={path}" for name, path in names.items()])
    columns = {"network": "network", "ours_s": "ours, s", "count": "n", "over": "ratio"}
    rows = [{"network": "vgg11", "ours_s": [0.25, 0.75, 0.5], "count": 7}, {"network": "x"}]
    publish(Table(columns=columns, rows=rows, note="three rounds"), options)
    shown = capsys.readouterr().out
    assert (tmp_path / "t.md").read_text() == shown
    assert "three rounds\n\n| network | ours, s" in shown
    assert "| vgg11   | 0.5 (0.25..0.75) | 7 |       |" in shown
    found = json.loads((tmp_path / "t.json").read_text())
    assert found["note"] == "three rounds"
    assert found["columns"] == columns
    assert found["rows"] == [
        {"network": "vgg11", "ours_s": 0.5, "ours_s_low": 0.25, "ours_s_high": 0.75, "n": 3,
         "count": 7},
        {"network": "x"},
    ]  # fmt: skip


def test_throughput_says_what_it_measured(tmp_path, monkeypatch) -> None:
    pytest.importorskip("spikingjelly")
    path = tmp_path / "t.json"
    options = ["--quick", "--steps", "forward", "vanilla", "--json", str(path)]
    threads = ["--threads", str(torch.get_num_threads())]
    monkeypatch.setattr("sys.argv", ["benchmarks/throughput.py", *options, *threads])
    throughput.main()
    found = json.loads(path.read_text())
    given = shlex.join([*options[:4], *threads])
    assert found["command"] == f"python -m benchmarks.throughput {given}"
    rows = found["rows"]
    assert [(row["network"], row["task"]) for row in rows] == [
        ("small", "forward"),
        ("small", "vanilla"),
    ]
    for row in rows:
        assert row["n"] == 2
        for name in ("ours_s", "spikingjelly_s", "limit_s"):
            assert 0 < row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
    assert rows[1]["over_vanilla"] == 1


def test_correctness_tells_a_wrong_path_from_a_right_one(tmp_path, monkeypatch) -> None:
    path = tmp_path / "t.json"
    monkeypatch.setattr("sys.argv", ["correctness", "--quick", "--json", str(path)])
    correctness.main()
    rows = json.loads(path.read_text())["rows"]
    assert len(rows) == 5
    assert all(row["exact"] for row in rows)
    right = backward_rules.fire
    monkeypatch.setattr(
        backward_rules, "fire", lambda current, leak, threshold, **_: right(current, 0.9, threshold)
    )
    with pytest.raises(SystemExit) as ended:
        correctness.main()
    assert ended.value.code == 1
    rows = json.loads(path.read_text())["rows"]
    assert [row["exact"] for row in rows] == [False, True, True, True, False]


def test_the_page_shows_the_tables_that_are_stored() -> None:
    page = performance.PAGE.read_text()
    assert page.count("<!-- results: ") == len(list(performance.RESULTS.glob("*.json")))
    assert performance.filled(page) == page, "run python -m benchmarks.performance"
