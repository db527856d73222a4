"""A store of a stranger, and texts of a stranger in a page of ours."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reports import build
from tests.reports.stores import write_epochs, write_measurements, write_verdicts

HTML = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 99991 * 99989 }}"


def edit(path, change):
    content = change(json.loads(path.read_text()))
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def test_texts_stay_texts(study_of_a_stranger):
    """Every text of a store is put where a browser would run it if it were not escaped."""
    store, folder = study_of_a_stranger, study_of_a_stranger / "sweeps" / "demo"

    def facts(found):
        member = f"pgd{HTML}+triangle{HTML}"
        for suite in ("selection_suite", "report_suite"):
            found[suite]["members"].append(member)
            found[suite]["name"] = HTML
        texts = ("description", "space_text", "data_note", "model_note", "sampler", "space_file")
        found |= dict.fromkeys(texts, HTML)
        return found | {"overrides": [HTML], "environment": {"cpu": HTML, "gpus": [HTML], HTML: 1}}

    def trials(rows):
        for row in rows:
            row |= {"label": row["label"] + HTML, "strategy": HTML, "method": HTML}
            row["parameters"] = {f"strategy.{HTML}": 1.0}
        failed = rows[0] | {"label": HTML, "fingerprint": "f0", "outcome": "failed", "reason": HTML}
        return [*rows, failed]

    edit(folder / "sweep.json", facts)
    edit(folder / "trials.json", trials)
    rows = {"clean": [1] * 10, f"pgd{HTML}+triangle{HTML}": [1] * 10}
    write_verdicts(store, "vanilla", "test", rows, attack_hash=HTML, file="9")
    check = {"name": HTML, "question": HTML, "status": HTML, "sentence": HTML, "value": 1.0}
    audit = {"status": HTML, "num_samples": 3, "split": HTML, "robust_accuracy": 0.5, "passes": {}}
    path = store / "audits" / "vanilla0000" / "test.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(audit | {"checks": [check | {"pass_at": 0, "fail_at": 0}]}))
    assert build.main(["--store", str(store)]) == 0
    page = (store / "reports" / "demo" / "index.html").read_text()
    assert page.count("<script") == 1, "the page's own"
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert str(99991 * 99989) not in page, "a text is no template"
    assert "default-src 'none'" in page, "and nothing is fetched"


WRONG_FACTS = {
    "deep": lambda _: "[" * 100_000,
    "no-json": lambda _: "{",
    "list": lambda _: [1],
    "suite": lambda found: found | {"report_suite": "x"},
    "members": lambda found: found | {"report_suite": {"members": [1, {}], "num_samples": 3}},
    "count": lambda found: found | {"report_suite": {"members": [], "num_samples": "x"}},
    "parameters": lambda found: found | {"parameters": [1]},
    "ranges": lambda found: found | {"parameters": {"a": 1}},
    "constraints": lambda found: found | {"constraints": 3},
    "environment": lambda found: found | {"environment": [1]},
}
WRONG_ROWS = {
    "deep": lambda _: "[" * 100_000,
    "numbers": lambda _: [1, 2],
    "way-out": lambda rows: [row | {"fingerprint": "../../out"} for row in rows],
    "parameters": lambda rows: [row | {"parameters": [1]} for row in rows],
    "metrics": lambda rows: [row | {"metrics": "x"} for row in rows],
    "label": lambda rows: [row | {"label": [1]} for row in rows],
    "seconds": lambda rows: [row | {"training_s": "x"} for row in rows],
    "phase": lambda rows: [row | {"phase": "<b>"} for row in rows],
}


@pytest.mark.parametrize(
    ("file", "change"),
    [("sweep.json", change) for change in WRONG_FACTS.values()]
    + [("trials.json", change) for change in WRONG_ROWS.values()],
    ids=[*(f"sweep-{name}" for name in WRONG_FACTS), *(f"trials-{name}" for name in WRONG_ROWS)],
)
def test_descriptions_that_no_sweep_writes(study_of_a_stranger, refused, file, change):
    edit(study_of_a_stranger / "sweeps" / "demo" / file, change)
    assert file in refused(build.main, "--store", study_of_a_stranger)


N = 10
VERDICT = {
    "sample": list(range(N)),
    "attack": ["clean"] * N,
    "oracle": ["none"] * N,
    "attack_hash": ["a1"] * N,
    "robust": [True] * N,
}


@pytest.mark.parametrize(
    "change",
    [
        {"sample": ["x"] * N},
        {"sample": [0.5] * N},
        {"robust": ["False"] * N},
        {"robust": [7] * N},
        {"attack": [[{"a": 1}]] * N},
        {"oracle": [b"bytes"] * N},
        {"attack_hash": [{"a": 1}] * N},
    ],
    ids=lambda change: "-".join(map(str, [*change, type(next(iter(change.values()))[0]).__name__])),
)
def test_verdicts_with_another_schema(study_of_a_stranger, refused, change):
    folder = study_of_a_stranger / "verdicts" / "vanilla0000" / "test"
    pq.write_table(pa.table(VERDICT | change), folder / "block-8.parquet")
    text = refused(build.main, "--store", study_of_a_stranger)
    assert "block-8.parquet: column" in text


@pytest.mark.parametrize("content", [b"", b"PAR1" + b"\xff" * 50 + b"PAR1", b"\x80\x04evil"])
def test_verdicts_that_are_no_parquet(study_of_a_stranger, refused, content):
    folder = study_of_a_stranger / "verdicts" / "vanilla0000" / "test"
    (folder / "block-8.parquet").write_bytes(content)
    assert "not a readable Parquet file" in refused(build.main, "--store", study_of_a_stranger)


def test_measurements_with_text(study_of_a_stranger, refused):
    write_measurements(study_of_a_stranger, "sr-1", {"sample": [0, 1], "gradient_l1": ["a", "b"]})
    assert "gradient_l1" in refused(build.main, "--store", study_of_a_stranger)


def test_epochs_of_any_kind_are_left_out_or_shown(study_of_a_stranger):
    write_epochs(study_of_a_stranger, "sr-1", [{"epoch": 1, "train_loss": HTML}])
    assert build.main(["--store", str(study_of_a_stranger)]) == 0
    page = (study_of_a_stranger / "reports" / "demo" / "index.html").read_text()
    assert page.count("<script") == 1
