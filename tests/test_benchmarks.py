"""What a benchmark writes for programs is what it prints for people."""

import argparse
import json

import pytest
import torch

from benchmarks import throughput
from benchmarks.report import Table, add_outputs, publish


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
    monkeypatch.setattr("sys.argv", ["throughput", *options, *threads])
    throughput.main()
    rows = json.loads(path.read_text())["rows"]
    assert [(row["network"], row["task"]) for row in rows] == [
        ("small", "forward"),
        ("small", "vanilla"),
    ]
    for row in rows:
        assert row["n"] == 2
        for name in ("ours_s", "spikingjelly_s", "limit_s"):
            assert 0 < row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
    assert rows[1]["over_vanilla"] == 1
