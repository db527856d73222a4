"""Stored breaks are judged again anywhere; whatever was altered is found and named."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline import checkpoints, evaluate, recheck
from pipeline.adapters.parquet_store import ParquetStore, _write, read_block
from pipeline.attacks.grid import radius_in_steps
from pipeline.recheck_file import block_files, recheck_path, recheck_sentence
from pipeline.records import EVIDENCE_COLUMNS
from reports import build
from reports.archive import write_archive

NUM_SAMPLES = 60
SUITE = """
name: two
epsilon: 0.1
order: ORDER
judge: JUDGE
attacks:
  fgsm: {method: fgsm}
  pgd3: {method: pgd, num_steps: 3, num_restarts: 2}
oracles:
  - {surrogate: triangle}
  - {method: rga}
"""


def judged(store: Path, checkpoint: Path, order: str = "survivors", judge: str = "exact") -> Path:
    """A store with a network and its verdicts."""
    suite = store / "suite.yaml"
    store.mkdir(parents=True)
    suite.write_text(SUITE.replace("ORDER", order).replace("JUDGE", judge))
    name = checkpoints.load(checkpoint).fingerprint
    folder = store / "trials" / name
    folder.mkdir(parents=True)
    shutil.copy(checkpoint, folder / checkpoints.FILE_NAME)
    (folder / "config.json").write_text(json.dumps(checkpoints.load(checkpoint).config))
    options = ["--checkpoint", str(folder / checkpoints.FILE_NAME), "--suite", str(suite)]
    options += ["--num-samples", str(NUM_SAMPLES), "--block-size", "25", "--store", str(store)]
    assert evaluate.main([*options, "--device", "cpu"]) == 0
    return store


@pytest.fixture(scope="module", autouse=True)
def _one_core() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.evaluate_run.local_resources", lambda: {"CPU": 1})
        yield


@pytest.fixture(scope="module")
def original(trained: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return judged(tmp_path_factory.mktemp("judged") / "store", trained[0])


@pytest.fixture
def store(original: Path, tmp_path: Path) -> Path:
    """A copy that may be spoilt."""
    return Path(shutil.copytree(original, tmp_path / "store"))


def network(store: Path) -> str:
    return next((store / "trials").iterdir()).name


def files(store: Path, kind: str) -> list[Path]:
    return [Path(str(p)) for p in block_files(store / kind / network(store) / "test")]


def run(store: Path, *more: str) -> int:
    return recheck.main(["--store", str(store), "--run", network(store)[:8], *more])


def test_an_untouched_result_reproduces(store: Path, capsys: Any) -> None:
    broken: set[int] = set()
    for path in files(store, "verdicts"):
        columns = read_block(path).columns
        if "attacked" in columns:
            broken |= set(columns["sample"][columns["attacked"] & ~columns["robust"]].tolist())
    assert len(broken) > 10
    assert run(store) == 0
    told = capsys.readouterr().out
    assert f"rechecked: {len(broken)} of {len(broken)} breaks reproduce" in told
    assert f"{NUM_SAMPLES} of {NUM_SAMPLES} clean answers, bit for bit (test split" in told
    name = network(store)
    told = recheck_sentence(store, name, "test")
    assert told == f"rechecked: {len(broken)} of {len(broken)} breaks reproduce"
    files(store, "evidence")[0].unlink()
    assert "run pipeline.recheck again" in recheck_sentence(store, name, "test")


def test_evidence_is_kept_once_a_sample_and_fits_its_verdict(
    trained: tuple[Path, Any], tmp_path: Path, capsys: Any
) -> None:
    store = judged(tmp_path / "all", trained[0], order="all")
    seen: list[tuple[int, float]] = []
    for path in files(store, "evidence"):
        columns = read_block(path).columns
        assert set(columns) == set(EVIDENCE_COLUMNS)
        seen += zip(columns["sample"].tolist(), columns["epsilon"].tolist(), strict=True)
        for packed in columns["perturbation"]:
            steps = np.frombuffer(packed, "<u2").astype(np.int64)
            steps = np.where(steps >= 2**15, steps - 2**16, steps)
            assert 0 < np.abs(steps).max() <= radius_in_steps(0.1, 65535) == 6553
    assert len(seen) == len(set(seen)) > 10
    assert run(store) == 0
    capsys.readouterr()
    # A store that is opened anew goes on where the first one ended.
    again = ParquetStore(store)
    path = files(store, "evidence")[0]
    folder = path.parent
    before = {p.name: p.read_bytes() for p in block_files(folder)}
    block = read_block(path)
    again._put_evidence(_key(store, "other+rga"), block.columns, block.metadata)
    assert {p.name: p.read_bytes() for p in block_files(folder)} == before


def _key(store: Path, member: str) -> Any:
    from pipeline.records import BlockKey

    return BlockKey(
        fingerprint=network(store),
        split="test",
        member=member,
        member_hash="0" * 12,
        seed=0,
        start=0,
        stop=25,
    )


def test_another_process_with_other_threads_agrees(store: Path, repository: Path) -> None:
    command = [sys.executable, "-m", "pipeline.recheck", "--store", str(store)]
    command += ["--run", network(store)]
    environment = os.environ | {"OMP_NUM_THREADS": "2", "PYTHONPATH": str(repository)}
    done = subprocess.run(
        command, env=environment, cwd=store, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "breaks reproduce" in done.stdout


def test_an_archive_is_all_that_a_third_party_needs(
    store: Path, tmp_path: Path, capsys: Any
) -> None:
    archive = write_archive(store, network(store), tmp_path / "out" / "network.zip")
    assert archive is not None
    first = archive.read_bytes()
    write_archive(store, network(store), archive)
    assert archive.read_bytes() == first
    with zipfile.ZipFile(archive) as packed:
        kinds = {name.split("/")[0] for name in packed.namelist()}
        assert kinds == {"trials", "verdicts", "evidence"}
        assert not [name for name in packed.namelist() if "measure" in name or "suite" in name]
    shutil.rmtree(store)
    assert recheck.main(["--archive", str(archive)]) == 0
    assert "breaks reproduce" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["../outside", "trials/a/../../b", "trials/other/config.json"])
def test_an_archive_of_something_else_is_refused(
    store: Path, tmp_path: Path, name: str, capsys: Any
) -> None:
    archive = write_archive(store, network(store), tmp_path / "network.zip")
    assert archive is not None
    with zipfile.ZipFile(archive, "a") as packed:
        packed.writestr(name, "x")
    assert recheck.main(["--archive", str(archive)]) == 2
    assert "one network" in capsys.readouterr().err
    assert not (tmp_path / "outside").exists()


Columns = dict[str, Any]


def rewrite(path: Path, change: Callable[[Columns, dict[str, str]], None]) -> None:
    """Alter a file as one who knows its checksum would."""
    block = read_block(path)
    columns = {name: values.copy() for name, values in block.columns.items()}
    metadata = dict(block.metadata)
    change(columns, metadata)
    _write(path, columns, metadata)


def first_evidence(store: Path) -> Path:
    return files(store, "evidence")[0]


def verdict_of(store: Path, evidence: Path) -> Path:
    return next(p for p in files(store, "verdicts") if p.name == evidence.name)


def another_image(columns: Columns, _: dict[str, str]) -> None:
    steps = np.frombuffer(columns["perturbation"][0], "<u2").copy()
    steps[5] += 1
    columns["perturbation"][0] = steps.tobytes()


def moved(store: Path, by: Callable[[Any], Any]) -> None:
    """Alter the first attacked image, and its hash with it."""
    from pipeline.data import DigitsConfig, load_dataset
    from tests import victims

    data = load_dataset(DigitsConfig(num_train=600, num_validation=victims.NUM_SAMPLES))
    path = first_evidence(store)

    def change(columns: Columns, _: dict[str, str]) -> None:
        clean = data.test.images[columns["sample"][0]].astype(np.int64) * 257
        moves = np.frombuffer(columns["perturbation"][0], "<u2").astype(np.int64)
        moves = np.where(moves >= 2**15, moves - 2**16, moves).reshape(clean.shape)
        moves = by(moves)
        columns["perturbation"][0] = (moves % 2**16).astype("<u2").tobytes()
        image = ((clean + moves) % 2**16).astype("<u2").tobytes()
        columns["image_sha256"][0] = hashlib.sha256(image).hexdigest()

    rewrite(path, change)


def spoil_image(store: Path) -> None:
    rewrite(first_evidence(store), another_image)


def spoil_image_and_hash(store: Path) -> None:
    """Another image within the ball, which may break the sample, but gives other logits."""
    moved(store, lambda moves: moves - moves // 8)


def test_another_image_that_gives_the_same_answer_is_as_good_a_proof(store: Path) -> None:
    moved(store, lambda moves: moves - np.sign(moves))
    assert run(store) == 0


def spoil_ball(store: Path) -> None:
    moved(store, lambda moves: moves + 2 * np.sign(moves))


def spoil_box(store: Path) -> None:
    moved(store, lambda moves: moves - 6553)  # below black: comes back as white, far away


def spoil_break(store: Path) -> None:
    moved(store, lambda moves: 0 * moves)


def spoil_size(store: Path) -> None:
    def change(columns: Columns, _: dict[str, str]) -> None:
        columns["perturbation"][0] = columns["perturbation"][0][:-2]

    rewrite(first_evidence(store), change)


def in_both(store: Path, name: str, value: Callable[[Any], Any]) -> None:
    """Alter a value in the evidence and in its verdict."""
    path = first_evidence(store)
    sample = read_block(path).columns["sample"][0]
    for file in (path, verdict_of(store, path)):

        def change(columns: Columns, _: dict[str, str]) -> None:
            row = columns["sample"].tolist().index(sample)
            columns[name][row] = value(columns[name][row])

        rewrite(file, change)


def spoil_label(store: Path) -> None:
    in_both(store, "label", lambda label: (label + 1) % 10)


def spoil_epsilon(store: Path) -> None:
    in_both(store, "epsilon", lambda epsilon: epsilon / 2)


def spoil_margin(store: Path) -> None:
    in_both(store, "margin", lambda margin: np.nextafter(margin, np.float32(-np.inf)))


def spoil_class(store: Path) -> None:
    def other(predicted: Any) -> Any:
        return (predicted + 1) % 10

    in_both(store, "predicted", other)


def spoil_seed(store: Path) -> None:
    def change(columns: Columns, _: dict[str, str]) -> None:
        columns["seed"] = columns["seed"] + 1

    rewrite(first_evidence(store), change)


def spoil_sample(store: Path) -> None:
    def change(columns: Columns, _: dict[str, str]) -> None:
        columns["sample"][0] = 10**6

    rewrite(first_evidence(store), change)


def swap_samples(store: Path) -> None:
    """The images stay, the samples they are said to break change places."""

    def change(columns: Columns, _: dict[str, str]) -> None:
        for name in ("perturbation", "image_sha256"):
            columns[name][:2] = columns[name][:2][::-1].copy()

    rewrite(first_evidence(store), change)


def robust_after_all(store: Path) -> None:
    path = first_evidence(store)
    sample = read_block(path).columns["sample"][0]

    def change(columns: Columns, _: dict[str, str]) -> None:
        row = columns["sample"].tolist().index(sample)
        columns["robust"][row], columns["predicted"][row] = True, columns["label"][row]

    rewrite(verdict_of(store, path), change)


def broken_after_all(store: Path) -> None:
    """A sample that withstood is said to be broken."""
    for path in files(store, "verdicts"):
        columns = read_block(path).columns
        stands = columns["robust"] & columns["attacked"] if "attacked" in columns else np.zeros(1)
        if not stands.any():
            continue

        def change(columns: Columns, _: dict[str, str]) -> None:
            row = int((columns["robust"] & columns["attacked"]).argmax())
            columns["robust"][row] = False
            columns["predicted"][row] = (columns["label"][row] + 1) % 10

        rewrite(path, change)
        return
    raise AssertionError("nothing withstood")


def better_clean(store: Path) -> None:
    def change(columns: Columns, _: dict[str, str]) -> None:
        wrong = ~columns["robust"]
        columns["predicted"][wrong] = columns["label"][wrong]
        columns["margin"][wrong] *= -1
        columns["robust"][:] = True

    clean = [p for p in files(store, "verdicts") if p.name.startswith("clean-")]
    assert any(not read_block(path).columns["robust"].all() for path in clean)
    for path in clean:
        rewrite(path, change)


def drop_evidence(store: Path) -> None:
    first_evidence(store).unlink()


def drop_row(store: Path) -> None:
    def change(columns: Columns, _: dict[str, str]) -> None:
        for name in columns:
            columns[name] = columns[name][1:]

    path = max(files(store, "evidence"), key=lambda path: len(read_block(path)))
    rewrite(path, change)


def double_row(store: Path) -> None:
    def change(columns: Columns, _: dict[str, str]) -> None:
        for name in columns:
            columns[name] = np.concatenate([columns[name][:1], columns[name]])

    rewrite(first_evidence(store), change)


def copy_file(store: Path) -> None:
    path = first_evidence(store)
    shutil.copy(path, path.with_name(f"again-{path.name}"))


def drop_verdict(store: Path) -> None:
    verdict_of(store, first_evidence(store)).unlink()


def cut_file(store: Path) -> None:
    path = first_evidence(store)
    path.write_bytes(path.read_bytes()[:-30])


def another_grid(store: Path) -> None:
    rewrite(first_evidence(store), lambda _, about: about.update(steps="255"))


def another_network(store: Path) -> None:
    rewrite(first_evidence(store), lambda _, about: about.update(fingerprint="f00d"))


def another_checkpoint_named(store: Path) -> None:
    rewrite(first_evidence(store), lambda _, about: about.update(checkpoint_sha256="0" * 64))


def other_weights(store: Path) -> None:
    """Another epoch's weights under the same name and fingerprint, whole by its own checksum."""
    from pipeline.checkpoints import HEADER, _sum, deserialize, serialize

    path = store / "trials" / network(store) / checkpoints.FILE_NAME
    data = path.read_bytes()
    tensors = deserialize(data)
    name = next(n for n in tensors if n.endswith("head.weight") and n.startswith("weight."))
    tensors[name] = tensors[name] * 1.01
    header = json.loads(checkpoints._text(data))
    header.pop("sha256")
    header["sha256"] = _sum(tensors, header)
    path.write_bytes(serialize(tensors, {HEADER: json.dumps(header)}))


def other_weights_named(store: Path) -> None:
    """The same, by one who also writes the new digest into every file."""
    other_weights(store)
    digest = checkpoints.digest(store / "trials" / network(store) / checkpoints.FILE_NAME)
    for kind in ("verdicts", "evidence"):
        for path in files(store, kind):
            rewrite(path, lambda _, about: about.update(checkpoint_sha256=digest))


def cut_checkpoint(store: Path) -> None:
    path = store / "trials" / network(store) / checkpoints.FILE_NAME
    path.write_bytes(path.read_bytes()[:-100])


TAMPERING = {
    spoil_image: "image",
    spoil_image_and_hash: "margin|judgement",
    spoil_ball: "ball",
    spoil_box: "ball",
    spoil_break: "judgement",
    spoil_size: "image",
    spoil_label: "label",
    spoil_epsilon: "ball",
    spoil_margin: "margin",
    spoil_class: "judgement",
    spoil_seed: "verdict",
    spoil_sample: "sample",
    swap_samples: "image",
    robust_after_all: "verdict",
    broken_after_all: "missing",
    better_clean: "clean",
    drop_evidence: "missing",
    drop_row: "missing",
    double_row: "duplicate",
    copy_file: "name",
    drop_verdict: "verdict",
    cut_file: "file",
    another_grid: "grid",
    another_network: "file",
    another_checkpoint_named: "checkpoint",
    other_weights: "checkpoint",
    other_weights_named: "clean",
    cut_checkpoint: "checkpoint",
}


@pytest.mark.parametrize("spoil", TAMPERING, ids=lambda spoil: spoil.__name__)
def test_tampering_is_found_and_named(
    store: Path, spoil: Callable[[Path], None], capsys: Any
) -> None:
    spoil(store)
    assert run(store) == 1
    told = capsys.readouterr().out
    assert re.search(rf"({TAMPERING[spoil]}): ", told), told
    if "rechecked" in told:
        facts = json.loads(recheck_path(store, network(store), "test").read_text())
        assert facts["problems"] > 0
        assert "problems found" in recheck_sentence(store, network(store), "test")


def test_a_machine_whose_products_are_rounded_is_told(store: Path, capsys: Any, monkeypatch: Any):
    from models.exact_layers import ExactSums

    plain = ExactSums._sums

    def coarse(self: Any, inputs: Any, values: Any) -> Any:
        if self.sums_dtype == torch.float64:
            return plain(self, inputs, values)
        return plain(self, inputs, values.bfloat16().float())

    monkeypatch.setattr(ExactSums, "_sums", coarse)
    assert run(store) == 1
    assert "arithmetic: cpu: sums of integers are not exact here" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ([], "write one of the two"),
        (["--run", "a", "--archive", "b"], "write one of the two"),
        (["--archive", "b", "--sweep", "c"], "remove --sweep"),
        (["--archive", "absent.zip"], "cannot be unpacked"),
        (["--run", "nobody"], "no such network has verdicts"),
        (["--run", "nobody", "--sweep", "none"], "no such sweep"),
    ],
)
def test_bad_input(options: list[str], why: str, tmp_path: Path, capsys: Any) -> None:
    assert recheck.main(["--store", str(tmp_path), *options]) == 2
    assert why in capsys.readouterr().err


def test_a_sweeps_page_quotes_the_recheck_and_packs_the_evidence(store: Path, capsys: Any) -> None:
    folder = store / "sweeps" / "study"
    folder.mkdir(parents=True)
    suite = {"name": "two", "members": ["clean"], "num_samples": NUM_SAMPLES, "judge": "exact"}
    facts = {"name": "study", "epsilon": 0.1, "report_suite": suite, "complete": True}
    (folder / "sweep.json").write_text(json.dumps(facts))
    row = {"label": "vanilla", "fingerprint": network(store), "role": "baseline"}
    row |= {"method": "vanilla", "phase": "told", "outcome": "complete"}
    (folder / "trials.json").write_text(json.dumps([row]))
    asked = ["--store", str(store), "--sweep", "study"]
    assert build.main(asked) == 0
    page = Path(capsys.readouterr().out.strip())
    assert "not rechecked (python -m pipeline.recheck)" in page.read_text().replace("Not", "not")
    assert recheck.main([*asked, "--run", "vanilla"]) == 0
    quoted = re.search(r"rechecked: (\d+) of \1 breaks reproduce", capsys.readouterr().out)
    assert quoted is not None
    assert build.main([*asked, "--evidence"]) == 0
    *_, archive = capsys.readouterr().out.split()
    assert f"anilla {quoted.group()}" in page.read_text()
    assert Path(archive).name == "vanilla.zip"
    assert recheck.main(["--archive", archive]) == 0
    assert quoted.group() in capsys.readouterr().out


def test_a_random_network_is_judged_plain_and_it_is_said(
    poisson: Path, tmp_path: Path, capsys: Any
) -> None:
    store = judged(tmp_path / "store", poisson)
    told = capsys.readouterr().out
    assert "the network is random: its verdicts are those of its plain forward pass" in told
    assert not files(store, "evidence")
    assert {read_block(path).metadata.get("judge") for path in files(store, "verdicts")} == {None}
    assert run(store) == 2
    assert "cannot be judged exactly" in capsys.readouterr().err


def test_what_was_judged_plain_has_nothing_to_recheck(
    trained: tuple[Path, Any], tmp_path: Path, capsys: Any
) -> None:
    store = judged(tmp_path / "store", trained[0], judge="plain")
    assert run(store) == 2
    assert "no verdicts of an exact judge" in capsys.readouterr().err
