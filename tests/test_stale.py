"""Rows that the code, a suite or a checkpoint has left behind: found, told, and redone alone."""

import ast
import contextlib
import importlib
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from models import InputSpec
from pipeline import checkpoints, evaluate, provenance, source_code
from pipeline.adapters.parquet_store import ParquetStore
from pipeline.attacks import ATTACKS
from pipeline.config import TRIAL
from pipeline.records import Block
from pipeline.stale import stored_blocks
from pipeline.threats import load_suite, measure_member, members
from reports import build
from reports.provenance import MARK

REPOSITORY = Path(__file__).parents[1]
SUITE = """
name: few
epsilon: 0.1
order: ORDER
attacks:
  pgd3: {method: pgd, num_steps: 3}
oracles: [{surrogate: triangle}]
then:
  - attacks:
      square: {method: square, num_queries: 8}
"""
COMMENT = "# This changes nothing.\n"
CHANGE = "\n\nCHANGED = 1\n"


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A copy of the source tree that the hashes are read from."""
    for package in ("models", "pipeline"):
        shutil.copytree(REPOSITORY / package, tmp_path / "code" / package)
    monkeypatch.setattr(source_code, "ROOT", tmp_path / "code")
    monkeypatch.setattr("pipeline.evaluate_run.local_resources", lambda: {"CPU": 1})
    monkeypatch.setattr("pipeline.redo.local_resources", lambda: {"CPU": 1})
    forget()
    yield tmp_path / "code"
    forget()


def forget():
    """As a new process would: sources are read again."""
    source_code.code_hash.cache_clear()
    source_code._attack_files.cache_clear()


def edit(file: Path, text: str, *, first: bool = False) -> None:
    source = file.read_text()
    file.write_text(text + source if first else source + text)
    forget()


@pytest.fixture
def stored(code, tmp_path, trained):
    """A store with one evaluation: 24 test images in blocks of 12, survivors only."""
    return judged(tmp_path, trained[0])


def judged(tmp_path: Path, checkpoint: Path, order: str = "survivors") -> Path:
    suite = tmp_path / f"{order}.yaml"
    suite.write_text(SUITE.replace("ORDER", order))
    options = ["--checkpoint", str(checkpoint), "--suite", str(suite), "--num-samples", "24"]
    options += ["--block-size", "12", "--store", str(tmp_path / "store")]
    assert evaluate.main(options) == 0
    return tmp_path / "store"


def files(store: Path) -> dict[str, int]:
    """When each block was written, by the block's name."""
    return {path.name: path.stat().st_mtime_ns for path in store.glob("*/*/*/*.parquet")}


def stale(store: Path) -> dict[str, set[str]]:
    """Reasons by member."""
    found: dict[str, set[str]] = {}
    for folder in (store / "verdicts").iterdir():
        for block in stored_blocks(ParquetStore(store), folder.name):
            if block.reasons:
                found.setdefault(block.key.member, set()).update(block.reasons)
    return found


def redo(store: Path, *options: str) -> int:
    return evaluate.main(["--stale", "--store", str(store), *options])


def touched(store: Path, before: dict[str, int]) -> set[str]:
    """Members whose files are others than before."""
    return {
        name.rsplit("-", 4)[0] for name, when in files(store).items() if before.get(name) != when
    }


def test_a_method_s_module_bears_its_name():
    for method, attack in ATTACKS.items():
        assert attack.__module__ == f"pipeline.attacks.{method}"


def test_the_hash_of_an_attack_covers_what_it_imports(code):
    files = source_code._attack_files(code, "sa_pgd")
    assert {"pipeline/attacks/sa_pgd.py", "pipeline/attacks/apgd.py"} <= set(files)
    assert "pipeline/attacks/losses.py" in files
    assert not {"pipeline/attacks/square.py", "pipeline/attacks/pgd.py"} & set(files)
    assert "pipeline/attacks/losses.py" not in source_code._attack_files(code, "square")


def test_what_decides_verdicts_is_hashed():
    """A module that is new to the judging is either hashed or named here as harmless."""
    harmless = {
        "checkpoints", "data", "files", "host_memory", "records", "provenance", "threats",
    }  # fmt: skip
    for name in source_code.JUDGING:
        tree = ast.parse((REPOSITORY / f"pipeline/{name}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("pipeline"):
                names = (
                    [node.module.split(".")[1]]
                    if "." in node.module
                    else [alias.name for alias in node.names]
                )
                for module in names:
                    covered = {*source_code.JUDGING, "attacks", "metrics"}
                    assert module in covered | harmless, f"{name} imports {module}"


def test_members_survive_being_written_down():
    for name in ("paper", "strong", "audit", "transfer"):
        for member in (*members(load_suite(name), randomised=True), measure_member(0.1)):
            text = provenance._MEMBER.dump_json(member).decode()
            assert provenance.member_of(text, member.hash) == member


def test_nothing_is_stale_after_an_evaluation_and_comments_change_nothing(stored, code, capsys):
    before = files(stored)
    assert stale(stored) == {}
    edit(code / "pipeline/attacks/square.py", COMMENT, first=True)
    file = code / "models/dynamics.py"
    file.write_text(file.read_text().replace('"""', '"""Other words. ', 1))
    file = code / "pipeline/evaluation.py"
    file.write_text(file.read_text().replace("\n\n\n", "\n\n\n\n"))
    forget()
    capsys.readouterr()
    assert redo(stored) == 0
    assert "nothing is stale" in capsys.readouterr().out
    assert files(stored) == before


def test_a_changed_attack_is_redone_alone(stored, code, capsys):
    edit(code / "pipeline/attacks/square.py", CHANGE)
    found = stale(stored)
    assert set(found) == {"square+none"}
    assert "pipeline/attacks/square.py" in found["square+none"].pop()
    before = files(stored)
    capsys.readouterr()
    assert redo(stored) == 0
    printed = capsys.readouterr().out
    assert "square+none: 2 blocks: the code of the attack" in printed
    assert "2 blocks evaluated anew" in printed
    assert "as before" in printed, "the same attack gives the same rows"
    assert "python -m reports.build --store" in printed
    assert touched(stored, before) == {"square+none"}
    assert set(files(stored)) == set(before), "replaced, not added"
    assert stale(stored) == {}
    assert redo(stored) == 0
    assert "nothing is stale" in capsys.readouterr().out


def test_shared_code_makes_all_stale_and_clean_images_are_not_attacked(stored, code):
    edit(code / "pipeline/attacks/ball.py", CHANGE)
    assert set(stale(stored)) == {"pgd3+triangle", "square+none"}
    edit(code / "models/dynamics.py", CHANGE)
    assert set(stale(stored)) == {"clean", "pgd3+triangle", "square+none", "measure"}


def test_rows_that_hang_on_changed_ones_are_redone_too(stored, code, capsys):
    """PGD's rows were wrong when square attacked what they left; square's own code is the same."""
    store = ParquetStore(stored)
    (name,) = [folder.name for folder in (stored / "verdicts").iterdir()]
    keys = [key for key in store.keys(name) if key.member == "pgd3+triangle"]
    right = {key: store.get(key) for key in keys}
    block = right[keys[0]]
    robust = block.columns["robust"].copy()
    assert robust.any()
    robust[np.flatnonzero(robust)[0]] = False
    wrong = dict(block.metadata) | {"left": provenance.mask_hash(robust)}
    wrong["code"] = json.dumps({**json.loads(wrong["code"]), "attack": "0" * 16})
    store.replace(keys[0], Block(columns=block.columns | {"robust": robust}, metadata=wrong))
    later = next(key for key in store.keys(name) if key.member == "square+none" and key.start == 0)
    found = {b.key: b.reasons for b in stored_blocks(ParquetStore(stored), name) if b.reasons}
    assert found[later] == ("pgd3+triangle leaves other samples to it now",)
    # As it would be had square attacked what the wrong rows left.
    other = store.get(later)
    changed = dict(other.metadata) | {"standing": wrong["left"]}
    store.replace(later, Block(columns=other.columns, metadata=changed))
    assert set(stale(stored)) == {"pgd3+triangle"}
    capsys.readouterr()
    assert redo(stored) == 0
    assert "2 blocks evaluated anew" in capsys.readouterr().out
    assert stale(stored) == {}
    again = ParquetStore(stored)
    np.testing.assert_array_equal(again.get(keys[0]).columns["robust"], block.columns["robust"])
    np.testing.assert_array_equal(again.get(later).columns["margin"], other.columns["margin"])


def test_a_single_network_s_page_shows_the_mark(stored, code, tmp_path):
    (name,) = [folder.name for folder in (stored / "verdicts").iterdir()]
    edit(code / "pipeline/attacks/square.py", CHANGE)
    page = Path(build_page(stored, "--network", name))
    cells = re.findall(r"<td[^>]*>([^<]*)</td><td[^>]*>([^<]*)<small>", page.read_text())
    assert {name for name, value in cells if value.endswith(MARK)} == {"square", "all of them"}
    assert {name for name, value in cells if not value.endswith(MARK)} >= {"no attack"}
    assert "python -m pipeline.evaluate --stale --store" in page.read_text()
    assert redo(stored) == 0
    assert MARK not in Path(build_page(stored, "--network", name)).read_text()


def build_page(store: Path, *options: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert build.main(["--store", str(store), *options]) == 0
    return printed.getvalue().strip().splitlines()[-1]


def test_a_checkpoint_trained_again_makes_all_stale(stored, trained, code, tmp_path, capsys):
    """Its fingerprint is the same: the configuration is; its weights are not."""
    other = checkpoints.load(trained[0])
    model = checkpoints.rebuild(other)
    with torch.no_grad():
        next(model.parameters()).add_(0.01)
    config = TRIAL.validate_python(other.config)
    spec = InputSpec(**other.spec)
    path = stored / "trials" / other.fingerprint / checkpoints.FILE_NAME
    checkpoints.save(path, model, None, epoch=other.epoch, config=config,
                     fingerprint=other.fingerprint, spec=spec)  # fmt: skip
    found = stale(stored)
    assert set(found) == {"clean", "pgd3+triangle", "square+none", "measure"}
    assert set.union(*found.values()) == {"its checkpoint is another file now"}
    assert redo(stored) == 0
    assert stale(stored) == {}
    store = ParquetStore(stored)
    blocks = [store.get(key) for key in store.keys(other.fingerprint)]
    assert {b.metadata["checkpoint_sha256"] for b in blocks} == {checkpoints.digest(path)}


def rewritten(store: Path, **changes: str | None) -> None:
    """Every block with other metadata; None takes an entry away."""
    blocks = ParquetStore(store)
    for folder in (store / "verdicts").iterdir():
        for key in blocks.keys(folder.name):
            block = blocks.get(key)
            told = {k: v for k, v in (block.metadata | changes).items() if v is not None}
            blocks.replace(key, Block(columns=block.columns, metadata=told))


def test_blocks_of_earlier_revisions_are_not_stale(stored, code, capsys):
    names = ("code", "standing", "left", "member_config", "data_sha256", "source_sha256")
    rewritten(stored, **dict.fromkeys(names), checkpoint=None)
    edit(code / "models/dynamics.py", CHANGE)
    before = files(stored)
    assert redo(stored) == 0
    assert "nothing is stale" in capsys.readouterr().out
    assert files(stored) == before


@pytest.mark.parametrize(
    ("entry", "value", "told"),
    [
        ("code", "[1]", "its code is no table"),
        ("code", '{"models": 3}', "its code is no table"),
        ("code", "[" * 100_000, "its code is no table"),
        ("member_config", "3", "its member_config is no table"),
        (
            "member_config",
            '{"attack": {"method": "../\\u001b[31m"}}',
            "its member_config is no member",
        ),
        ("member_config", '{"source": 1}', "its member_config is no member"),
        ("fingerprint", "../../elsewhere", "its metadata are of another block"),
        ("member_hash", "0" * 12, "its metadata are of another block"),
    ],
)
def test_hostile_metadata_are_told_and_nothing_is_written(stored, code, capsys, entry, value, told):
    rewritten(stored, **{entry: value})
    edit(code / "pipeline/attacks/square.py", CHANGE)
    before = files(stored)
    capsys.readouterr()
    assert redo(stored) == 1
    printed = capsys.readouterr().out
    assert told in printed
    assert "\x1b[31m" not in printed
    assert files(stored) == before


@pytest.mark.parametrize("other", ['"num_queries":1', '"steps":3'])
def test_a_member_s_description_must_be_the_member_s(stored, code, capsys, other):
    """Another attack under a block's name would be computed and stored as that block."""
    store = ParquetStore(stored)
    (name,) = [folder.name for folder in (stored / "verdicts").iterdir()]
    for key in (key for key in store.keys(name) if key.member == "square+none"):
        block = store.get(key)
        assert '"num_queries":8' in block.metadata["member_config"]
        told = block.metadata["member_config"].replace('"num_queries":8', other)
        metadata = dict(block.metadata) | {"member_config": told}
        store.replace(key, Block(columns=block.columns, metadata=metadata))
    edit(code / "pipeline/attacks/square.py", CHANGE)
    written = files(stored)
    assert redo(stored) == 1
    assert "its member_config is" in capsys.readouterr().out
    assert files(stored) == written


def test_a_damaged_file_is_told(stored, code, capsys):
    path = next((stored / "verdicts").glob("*/*/square*"))
    path.write_bytes(path.read_bytes()[:200])
    assert redo(stored) == 1
    printed = capsys.readouterr().out
    assert printed.count(str(path)) == 1
    assert "cannot be read" in printed
    assert "nothing else is stale" in printed


def test_a_lost_checkpoint_is_told(stored, code, trained, tmp_path, capsys):
    rewritten(stored, checkpoint=str(tmp_path / "gone.safetensors"))
    edit(code / "pipeline/attacks/square.py", CHANGE)
    before = files(stored)
    assert redo(stored) == 1
    assert "its checkpoint is gone" in capsys.readouterr().out
    assert files(stored) == before


FOREIGN = """
from torch import nn

def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""


def test_a_network_of_another_origin_is_told_and_left(code, tmp_path, monkeypatch, capsys):
    (tmp_path / "foreign_stale.py").write_text(FOREIGN)
    monkeypatch.syspath_prepend(tmp_path)
    torch.manual_seed(0)
    weights = tmp_path / "weights.pt"
    torch.save({"1.weight": torch.randn(10, 64), "1.bias": torch.zeros(10)}, weights)
    (tmp_path / "few.yaml").write_text(SUITE.replace("ORDER", "all"))
    store = tmp_path / "store"
    options = ["--model", "foreign_stale:make", "--checkpoint", str(weights), "--data", "digits"]
    options += ["--suite", str(tmp_path / "few.yaml"), "--num-samples", "12"]
    assert evaluate.main([*options, "--store", str(store)]) == 0
    edit(code / "pipeline/attacks/square.py", CHANGE)
    before = files(store)
    capsys.readouterr()
    assert redo(store) == 1
    printed = capsys.readouterr().out
    assert "a network of another origin" in printed
    assert "pipeline.evaluate --model" in printed
    assert files(store) == before


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--stale", "--suite", "strong"], "remove --suite"),
        (["--stale", "--checkpoint", "x"], "remove --checkpoint"),
        (["--stale", "--sweep", "absent"], "no sweep 'absent'"),
        (["--stale"], "no network of"),
        (["--sweep", "x", "--checkpoint", "y"], "--sweep: goes with --stale"),
        ([], "--checkpoint: name the file"),
    ],
)
def test_arguments_that_do_not_fit(tmp_path, capsys, options, told):
    assert evaluate.main([*options, "--store", str(tmp_path)]) == 2
    assert told in capsys.readouterr().err


def test_an_audit_is_renewed_with_its_rows(code, trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(importlib.import_module("pipeline.metrics.probe"), "PLANE", 5)
    text = SUITE.replace("name: few", "name: audit").replace("ORDER", "all")
    (tmp_path / "trust.yaml").write_text(text)
    store = tmp_path / "store"
    options = ["--checkpoint", str(trained[0]), "--suite", str(tmp_path / "trust.yaml")]
    options += ["--num-samples", "12", "--store", str(store)]
    assert evaluate.main(options) == 0
    (path,) = (store / "audits").glob("*/test.json")
    right = json.loads(path.read_text())
    path.write_text(json.dumps(right | {"status": "FAIL", "robust_accuracy": 0.0}))
    edit(code / "pipeline/metrics/probe.py", CHANGE)
    assert set(stale(store)) == {"probe"}
    capsys.readouterr()
    assert redo(store) == 0
    assert f"audit {right['status']}" in capsys.readouterr().out
    assert json.loads(path.read_text()) == right


def test_blocks_in_an_object_store_are_found_and_replaced(stored, code, bucket):
    """The same through S3: listed, judged by their metadata, replaced."""
    place = bucket / "stale"
    for path in stored.glob("verdicts/*/*/*.parquet"):
        (place / path.relative_to(stored).as_posix()).write_bytes(path.read_bytes())
    (name,) = [folder.name for folder in (stored / "verdicts").iterdir()]
    store = ParquetStore(place)
    assert len(store.keys(name)) == 6
    assert not [block for block in stored_blocks(store, name) if block.reasons or block.problem]
    edit(code / "pipeline/attacks/square.py", CHANGE)
    found = [block.key for block in stored_blocks(store, name) if block.reasons]
    assert {key.member for key in found} == {"square+none"}
    assert evaluate.main(["--stale", "--store", str(place)]) == 0
    assert not [block for block in stored_blocks(store, name) if block.reasons]


@pytest.mark.parametrize("lost", ["pgd3+triangle", "square+none"])
def test_a_renewal_completes_the_evidence(code, tmp_path, trained, monkeypatch, lost):
    monkeypatch.setitem(globals(), "SUITE", SUITE.replace("order:", "judge: exact\norder:"))
    place = judged(tmp_path, trained[0], order="all")
    store = ParquetStore(place)
    network = next((place / "verdicts").iterdir()).name
    assert not any(store.lacks_evidence(key) for key in store.keys(network))
    kept = {path.name for path in place.glob(f"evidence/*/*/{lost}-*.parquet")}
    assert kept  # one image a break: each member has some that the other has not
    for path in place.glob(f"evidence/*/*/{lost}-*.parquet"):
        path.unlink()
    assert {
        key.member for key in store.keys(network) if ParquetStore(place).lacks_evidence(key)
    } >= {lost}
    edit(code / "pipeline/attacks/square.py", CHANGE)
    assert redo(place) == 0
    again = ParquetStore(place)
    assert not any(again.lacks_evidence(key) for key in again.keys(network))
    assert stale(place) == {}
