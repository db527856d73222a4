"""A real sweep whose code and suites change: what its reports show, and what `--stale` redoes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from pipeline import evaluate, source_code, sweep
from reports import build, export
from reports.provenance import MARK
from tests.tiny import SPACE, SUITE, write_space

pytestmark = [pytest.mark.ray, pytest.mark.slow]

REPOSITORY = Path(__file__).parents[1]
CHAINED = SUITE.replace("epsilon: 0.1", "epsilon: 0.1\norder: survivors") + (
    "then:\n  - attacks:\n      square: {method: square, num_queries: 4}\n"
)


@pytest.fixture(scope="module")
def swept(ray_session, tmp_path_factory):
    """Two networks, searched and not, under a chained suite; shared by all tests, which copy it."""
    folder = tmp_path_factory.mktemp("stale")
    text = SPACE.replace("epochs: 4", "epochs: 2").replace("[0.01, 0.05]", "[0.05]")
    space = write_space(folder, text)
    (folder / "suite.yaml").write_text(CHAINED)
    assert sweep.main(["--space", str(space), "--store", str(folder / "store")]) == 0
    return folder


@pytest.fixture
def store(swept, tmp_path):
    """A copy of the sweep's store; its suite's file is the copy's, too."""
    shutil.copytree(swept / "store", tmp_path / "store")
    shutil.copy(swept / "suite.yaml", tmp_path / "suite.yaml")
    path = tmp_path / "store/sweeps/tiny/sweep.json"
    path.write_text(path.read_text().replace(str(swept), str(tmp_path)))
    return tmp_path / "store"


def facts(store: Path) -> dict:
    return json.loads((store / "sweeps/tiny/sweep.json").read_text())


def blocks(store: Path) -> dict[str, int]:
    """When each block was written."""
    folders = ("verdicts", "measurements", "gradients", "probes")
    paths = [path for folder in folders for path in (store / folder).glob("*/*/*.parquet")]
    return {str(path.relative_to(store)): path.stat().st_mtime_ns for path in paths}


def page(store: Path) -> str:
    assert build.main(["--store", str(store), "--sweep", "tiny"]) == 0
    return (store / "reports/tiny/index.html").read_text()


def redo(store: Path) -> int:
    return evaluate.main(["--stale", "--store", str(store), "--device", "cpu"])


def test_a_fresh_sweep_is_not_stale_and_says_where_it_comes_from(store, tmp_path, capsys):
    assert redo(store) == 0
    assert "nothing is stale in 2 networks" in capsys.readouterr().out
    assert MARK not in page(store)
    frame = pd.read_csv(store / "reports/tiny/tables/provenance.csv")
    assert set(frame["stale"]) == {"no"}
    assert set(frame["data_sha256"]) == {facts(store)["data_hash"]}
    assert set(frame["device"]) == {"cpu"}
    assert frame["revision"].notna().all()
    assert frame["code"].str.fullmatch("[0-9a-f]{12}").all()
    assert frame["checkpoint_sha256"].nunique() == 2
    assert {"clean", "square+none", "measure", "gradients"} <= set(frame["member"])
    out = tmp_path / "out"
    assert export.main(["--store", str(store), "--sweep", "tiny", "--out", str(out)]) == 0
    rows = pd.read_csv(out / "results.csv")
    attacked = rows[rows["member"].notna() & (rows["member"] != "union")]
    assert set(attacked["stale"]) == {"no"}
    assert attacked[["code", "data_sha256", "checkpoint_sha256", "revision"]].notna().all(axis=None)


def test_an_edited_suite_is_stale_until_the_sweep_is_judged_by_it(store, tmp_path, capsys):
    suite = tmp_path / "suite.yaml"
    suite.write_text(suite.read_text().replace("num_queries: 4", "num_queries: 6"))
    shown = page(store)
    assert f"{MARK} Stale" in shown
    assert "the suite suite has been edited" in shown
    assert "pipeline.evaluate --stale --store" in shown
    out = tmp_path / "out"
    assert export.main(["--store", str(store), "--sweep", "tiny", "--out", str(out)]) == 0
    rows = pd.read_csv(out / "results.csv")
    union = rows[rows["member"] == "union"]
    assert union["stale"].str.contains("the suite suite has been edited").all()
    before, told = blocks(store), facts(store)
    capsys.readouterr()
    assert redo(store) == 0
    printed = capsys.readouterr().out
    assert "report suite: the suite suite has been edited" in printed
    assert "changed: square+none" in printed
    assert "vanilla of tiny, test, suite 'tiny': robust accuracy" in printed
    assert "--sweep tiny" in printed
    after = blocks(store)
    assert {name: when for name, when in after.items() if name in before} == before
    assert {Path(name).name.split("-")[0] for name in after.keys() - before.keys()} == {
        "square+none"
    }
    now = facts(store)
    assert now["report_suite"]["hashes"] != told["report_suite"]["hashes"]
    assert {k: v for k, v in now.items() if "suite" not in k} == {
        k: v for k, v in told.items() if "suite" not in k
    }
    assert MARK not in page(store)
    assert redo(store) == 0
    assert "nothing is stale" in capsys.readouterr().out


def test_a_suite_that_is_gone_or_wrong_is_told(store, tmp_path, capsys):
    (tmp_path / "suite.yaml").unlink()
    assert MARK not in page(store)
    capsys.readouterr()
    assert redo(store) == 1
    printed = capsys.readouterr().out
    assert "sweep 'tiny', report_suite: its suite" in printed
    assert "cannot be read any more" in printed
    assert "nothing else is stale" in printed
    path = store / "sweeps/tiny/sweep.json"
    wrong = facts(store)
    wrong["report_suite"]["basis"]["block_size"] = 0
    path.write_text(json.dumps(wrong))
    (tmp_path / "suite.yaml").write_text(SUITE)
    assert redo(store) == 1
    assert "basis.block_size is not what a sweep writes" in capsys.readouterr().out
    assert facts(store)["report_suite"] == wrong["report_suite"]
    assert facts(store)["selection_suite"] != wrong["selection_suite"], "it is redone all the same"
    wrong["report_suite"]["basis"] = ["suite"]
    path.write_text(json.dumps(wrong))
    assert MARK in page(store), "the selection's suite is as it was before"
    assert redo(store) == 1
    assert "its basis is not what a sweep writes" in capsys.readouterr().out


def test_a_sweep_of_an_earlier_revision_is_not_stale(store, tmp_path, capsys):
    path = store / "sweeps/tiny/sweep.json"
    old = facts(store)
    for which in ("selection_suite", "report_suite"):
        del old[which]["basis"]
    path.write_text(json.dumps(old))
    (tmp_path / "suite.yaml").write_text(SUITE)
    assert redo(store) == 0
    assert "nothing is stale" in capsys.readouterr().out


def test_other_code_is_run_where_it_has_changed(store, tmp_path, monkeypatch):
    """The whole way in processes of their own, as people edit code: FGSM now stands still."""
    code = tmp_path / "code"
    for package in ("models", "pipeline", "reports"):
        shutil.copytree(REPOSITORY / package, code / package)
    fgsm = code / "pipeline/attacks/fgsm.py"
    source = fgsm.read_text()
    assert "\n    return " in source
    fgsm.write_text(source + "\n\ndef _still(oracle, images, labels, epsilon, config):\n"
                    "    return images\n\n\nfgsm = _still\n")  # fmt: skip

    monkeypatch.setattr(source_code, "ROOT", code)
    source_code.code_hash.cache_clear()
    shown = page(store)
    assert f"{MARK} Stale" in shown
    assert "pipeline/attacks/fgsm.py" in shown
    tables = store / "reports/tiny/tables"
    assert pd.read_csv(tables / "trials.csv")["test_stale"].str.contains("fgsm.py").any()
    told = pd.read_csv(tables / "provenance.csv").set_index("member")["stale"]
    assert {name for name, reason in told.items() if reason != "no"} == {
        "fgsm+triangle",
        "fgsm+rga",
    }
    on_paper_and_compared(store, stale=True)
    before = blocks(store)
    command = [
        "-m",
        "pipeline.evaluate",
        "--stale",
        "--sweep",
        "tiny",
        "--device",
        "cpu",
    ]
    subprocess.run(
        [sys.executable, *command, "--store", str(store)],
        cwd=code,
        check=True,
        env=os.environ | {"PYTHONPATH": str(code)},
    )
    after = blocks(store)
    assert after.keys() == before.keys()
    touched = {Path(name).name.rsplit("-", 4)[0] for name in after if after[name] != before[name]}
    assert touched >= {"fgsm+triangle", "fgsm+rga"}
    assert not touched & {"clean", "measure", "gradients"}
    for path in (store / "verdicts").glob("*/*/fgsm*"):
        frame = pd.read_parquet(path)
        clean = pd.read_parquet(next(path.parent.glob(f"clean-*-{path.name.split('-', 2)[2]}")))
        assert frame["robust"].tolist() == clean["robust"].tolist(), "FGSM stood still"
    assert MARK not in page(store)
    on_paper_and_compared(store, stale=False)
    source_code.code_hash.cache_clear()


def on_paper_and_compared(store: Path, *, stale: bool) -> None:
    """The marks on the paper's page and on the one that compares the sweep with a network."""
    path = store / "sweeps/tiny/sweep.json"
    path.write_text(json.dumps(facts(store) | {"paper": "table3/cifar10/wrn16"}))
    assert build.main(["--store", str(store), "--paper"]) == 0
    text = (store / "reports/paper/tables/table3.md").read_text()
    ours = next(line for line in text.splitlines() if "| vanilla | ours" in line and "%" not in line
                and line.startswith("| CIFAR-10 |"))  # fmt: skip
    assert [MARK in cell for cell in ours.split("| ours |")[1].split("|")[:2]] == [False, stale]
    assert (f"{MARK} Stale: tiny: the code of the attack" in text) == stale
    frame = pd.read_csv(store / "reports/paper/tables/table3.csv")
    assert frame["ours_stale"].notna().any() == stale
    (name,) = {row["fingerprint"] for row in trials(store) if row["label"] == "vanilla"}
    options = ["--store", str(store), "--sweep", "tiny", "--network", f"own={name}"]
    assert build.main(options) == 0
    shown = (store / "reports/tiny+own/index.html").read_text()
    assert (MARK in shown) == stale
    assert ("python -m pipeline.evaluate --stale --store" in shown) == stale


def trials(store: Path) -> list[dict]:
    return json.loads((store / "sweeps/tiny/trials.json").read_text())
