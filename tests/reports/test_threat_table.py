"""The table of threat models: unions by hand, controls, and when there is none."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stores import MEMBERS, trial, write_sweep, write_uniform

from reports import queries
from reports.page import write_page
from reports.threat_table import threat_table

BESIDE = {
    # member: threat model, radius or flips, samples of ten that stand
    "clamped-only": ("clamped", 0.0, range(7)),
    "clamped-pgd+triangle": ("clamped", 0.25, range(4)),
    "few+triangle": ("binary", 20.0, [0, 1, 2, 5]),
    "more+triangle": ("binary", 80.0, [0, 1, 3]),
    "binary-only": ("binary", 0.0, range(6)),
}


def write_beside(store, label, members=BESIDE, split="test"):
    """Rows of members that the union does not count; the sweep's own are of counts."""
    folder = store / "verdicts" / f"{label}0000" / split
    for path in folder.glob("*.parquet"):
        table = pq.read_table(path)
        size = table.num_rows
        radii = np.where(np.array(table["attack"].to_pylist()) == "clean", 0.0, 0.25)
        attacks, oracles = (table[name].to_pylist() for name in ("attack", "oracle"))
        hashes = [f"h-{a}+{o}" for a, o in zip(attacks, oracles, strict=True)]
        table = table.append_column("threat", [["counts"] * size]).append_column("epsilon", [radii])
        place = table.schema.get_field_index("attack_hash")
        pq.write_table(table.set_column(place, "attack_hash", [hashes]), path)
    rows = [
        (s, *f"{name}+none".split("+")[:2], f"h-{name}", s in stand, threat, epsilon)
        for name, (threat, epsilon, stand) in members.items()
        for s in range(10)
    ]
    write_rows(folder / "block-beside.parquet", rows)


def write_rows(path, rows):
    names = ("sample", "attack", "oracle", "attack_hash", "robust", "threat", "epsilon")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), path)


@pytest.fixture
def store(tmp_path):
    hashes = {name: f"h-{name}" for name in (*MEMBERS, *BESIDE)} | {"clean": "h-clean+none"}
    suite = {"name": "full", "members": ["clean", *MEMBERS], "num_samples": 10, "hashes": hashes}
    write_sweep(tmp_path, "s", [trial("vanilla", "vanilla", role="baseline")], report_suite=suite)
    write_uniform(tmp_path, "vanilla", 9, 3)
    return tmp_path


def test_each_threat_model_has_its_control_and_its_union(store):
    write_beside(store, "vanilla")
    table = threat_table(queries.load_study(store, "s"))
    assert table.heads == (
        *("Network", "Clean %", "counts, ε = 0.25", "clamped, no attack", "clamped, ε = 0.25"),
        *("binary, no attack", "binary, 20 flips", "binary, 80 flips"),
    )
    # What withstands 80 flips has to withstand 20 of them: samples 0 and 1.
    assert [cell.text for cell in table.rows[0]] == [
        *("vanilla", "90.0", "30.0", "70.0", "40.0", "60.0", "40.0", "20.0"),
    ]
    assert table.rows[0][2].note


def test_the_suites_own_threat_model_has_its_control_too(store):
    """As Table 2 of the paper: clamped counts are what the suite stands for."""
    write_beside(store, "vanilla", {"counts-only": ("counts", 0.0, range(8)), **BESIDE})
    path = store / "sweeps/s/sweep.json"
    facts = json.loads(path.read_text())
    facts["report_suite"]["hashes"]["counts-only"] = "h-counts-only"
    path.write_text(json.dumps(facts))
    table = threat_table(queries.load_study(store, "s"))
    assert table.heads[2:5] == ("counts, no attack", "counts, ε = 0.25", "clamped, no attack")
    assert [cell.text for cell in table.rows[0]][2:5] == ["80.0", "30.0", "70.0"]


def test_a_version_that_is_not_the_suites_does_not_count(store):
    write_beside(store, "vanilla")
    rows = [(s, "few", "triangle", "h-other", False, "binary", 20.0) for s in range(10)]
    write_rows(store / "verdicts/vanilla0000/test/block-other.parquet", rows)
    table = threat_table(queries.load_study(store, "s"))
    assert [cell.text for cell in table.rows[0]][6:] == ["40.0", "20.0"]


def test_what_not_every_sample_met_is_no_number(store):
    write_beside(store, "vanilla")
    path = store / "verdicts/vanilla0000/test/block-beside.parquet"
    rows = pq.read_table(path)
    lost = [row["attack"] == "more" and row["sample"] == 9 for row in rows.to_pylist()]
    pq.write_table(rows.filter(~np.array(lost)), path)
    table = threat_table(queries.load_study(store, "s"))
    assert [cell.text for cell in table.rows[0]][6:] == ["40.0", "–"]


def test_one_threat_model_needs_no_table(store):
    study = queries.load_study(store, "s")
    assert threat_table(study).rows == ()
    assert "What an attacker of events may do" not in write_page(study, store / "a").read_text()
    write_beside(store, "vanilla")
    study = queries.load_study(store, "s")
    assert "What an attacker of events may do" in write_page(study, store / "b").read_text()
    assert (store / "b/tables/threats.csv").read_text().startswith("Network,Clean %,")
