"""Spaces of a folder in one go: shared networks, seeds, black box, and the page of the paper."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.experiment import EPOCHS_FILE
from pipeline.sweep import main
from reports.build_run import build_paper
from reports.paper_tables import Library, all_tables
from reports.queries import load_study
from tests.tiny import SPACE, write_space

pytestmark = [pytest.mark.ray, pytest.mark.slow]

TRANSFER = """
name: black
epsilon: 0.1
attacks:
  fgsm: {method: fgsm}
oracles: [{surrogate: triangle}]
then:
  - access: transfer
    attacks:
      black-fgsm: {method: fgsm}
    oracles: [{surrogate: triangle}]
"""
BASELINES = """
baselines: [vanilla, at]
report: {suite: BLACK, trials: all, audit: null, sources: [vanilla]}
seeds: 2
paper: table3/cifar10/wrn16
"""


def without(text: str, *sections: str) -> str:
    """The space without these sections at its top."""
    kept, skipping = [], False
    for line in text.splitlines():
        if line and not line.startswith(" "):
            skipping = line.split(":")[0] in sections
        if not skipping:
            kept.append(line)
    return "\n".join(kept)


@pytest.fixture(scope="module")
def series(ray_session, tmp_path_factory):
    """Two sweeps of one folder: table-like with seeds, and the tiny search that shares vanilla."""
    folder = tmp_path_factory.mktemp("series")
    spaces = folder / "spaces"
    spaces.mkdir()
    write_space(folder)
    (folder / "black.yaml").write_text(TRANSFER)
    table = without(SPACE, "search", "baselines", "report") + BASELINES
    for name, text in (
        ("a_table", table.replace("name: tiny", "name: table")),
        ("b_search", SPACE),
    ):
        text = text.replace("SUITE", str(folder / "suite.yaml"))
        (spaces / f"{name}.yaml").write_text(text.replace("BLACK", str(folder / "black.yaml")))
    assert main(["--space", str(spaces), "--store", str(folder / "store")]) == 0
    return folder


def trials(store: Path, name: str) -> dict[str, dict]:
    rows = json.loads((store / "sweeps" / name / "trials.json").read_text())
    return {row["label"]: row for row in rows}


def test_replicates_are_trained_alike_and_attacked(series):
    store = series / "store"
    rows = trials(store, "table")
    assert list(rows) == ["vanilla", "at", "vanilla.seed1", "at.seed1"]
    assert rows["at.seed1"]["replicate_of"] == "at"
    study = load_study(store, "table")
    (at,) = [trial for trial in study.baselines if trial.row.label == "at"]
    assert [trial.row.label for trial in study.alike(at)] == ["at", "at.seed1"]
    assert all(trial.point("test") for trial in study.alike(at))
    assert not any(trial.row.replicate_of for trial in study.front)


def test_black_box_attacks_come_from_the_source_alone(series):
    store = series / "store"
    rows = trials(store, "table")
    facts = json.loads((store / "sweeps/table/sweep.json").read_text())["report_suite"]
    assert "black-fgsm+triangle@vanilla" in facts["members"]
    for label, row in rows.items():
        folder = store / "verdicts" / row["fingerprint"] / "test"
        files = sorted(folder.glob("black*.parquet"))
        if label == "vanilla":
            assert not files, "a network attacked itself by transfer"
        else:
            frame = pd.concat([pd.read_parquet(path) for path in files])
            assert set(frame["oracle"]) == {"triangle@vanilla"}
            assert frame["sample"].nunique() == 30
    study = load_study(store, "table")
    assert all(trial.robust("test") for trial in study.trials)


def test_a_network_of_two_spaces_is_trained_once(series):
    store = series / "store"
    shared = trials(store, "table")["vanilla"]["fingerprint"]
    assert trials(store, "tiny")["vanilla"]["fingerprint"] == shared
    (epochs,) = (store / "trials").glob(f"{shared}/{EPOCHS_FILE}")
    assert len(epochs.read_text().splitlines()) == 4


def test_gradients_are_kept_and_drawn(series):
    store = series / "store"
    study = load_study(store, "table")
    pictures = next(trial.pictures for trial in study.trials if trial.row.label == "at")
    assert pictures.num_samples == 30
    assert pictures.counts.sum() == 30 * 64
    assert pictures.images.shape == pictures.gradients.shape == (6, 1, 8, 8)
    assert pictures.images.max() <= 1
    assert np.abs(pictures.gradients).max() > 0
    figures = store / "reports/table/figures"
    for name in ("distribution", "heatmaps"):
        assert (figures / f"{name}.svg").stat().st_size > 1000


def test_the_page_of_the_paper_counts_what_was_run(series):
    store = series / "store"
    table = next(
        table
        for table in all_tables(Library.of([load_study(store, "table")]))
        if table.name == "table3"
    )
    cells = {row[2]: cells for row, cells in table.rows if row[0] == "CIFAR-10"}
    clean, fgsm = cells["AT"][:2]
    assert (clean.ours.num_seeds, clean.ours.num_samples) == (2, 30)
    assert 0 <= fgsm.ours.mean <= clean.ours.mean
    assert fgsm.difference is None
    assert "table" in build_paper(store).read_text()


def test_the_folder_again_is_complete(series, capsys):
    spaces = str(series / "spaces")
    assert main(["--space", spaces, "--store", str(series / "store"), "--resume"]) == 0
    assert main(["--space", spaces, "--store", str(series / "store")]) == 0
    assert capsys.readouterr().out.count("is complete in") == 2


def test_one_space_that_cannot_run_does_not_stop_the_others(series, tmp_path, capsys):
    spaces = tmp_path / "spaces"
    spaces.mkdir()
    text = (series / "spaces/b_search.yaml").read_text()
    (spaces / "b.yaml").write_text(text)
    absent = f"data: {{dataset: cifar10, root: {tmp_path / 'nowhere'}}}"
    (spaces / "a.yaml").write_text(without(text, "data", "name") + f"\nname: absent\n{absent}\n")
    assert main(["--space", str(spaces), "--store", str(series / "store")]) == 2
    told = capsys.readouterr()
    assert "nowhere" in told.err
    assert "sweep 'tiny' is complete" in told.out


def test_a_complete_sweep_goes_on_with_more_seeds(series):
    store, space = series / "store", str(series / "spaces" / "b_search.yaml")
    before = trials(store, "tiny")
    arguments = ["--space", space, "--store", str(store), "--set", "seeds=2", "--resume"]
    assert main(arguments) == 0
    after = trials(store, "tiny")
    assert {label: after[label] for label in before} == before
    again = {label: row for label, row in after.items() if row["replicate_of"]}
    assert "vanilla.seed1" in again
    assert {row["outcome"] for row in again.values()} == {"complete"}
    study = load_study(store, "tiny")
    assert all(trial.point("test") for trial in study.trials if trial.row.replicate_of)
