"""Commands as a user types them: what is wrong is one message, exit code 2, before Ray starts."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

from models.build import ARCHITECTURES
from pipeline import evaluate, sweep, train
from reports import build
from tests.tiny import SPACE, write_space

REPOSITORY = Path(__file__).parents[1]
SPACES = sorted(
    path for name in ("search_spaces", "benchmarks") for path in (REPOSITORY / name).rglob("*.yaml")
)


@pytest.fixture
def no_ray(monkeypatch):
    """Fails the test if anything starts Ray."""
    import ray

    def refuse(*args, **kwargs):
        raise AssertionError("Ray was started although the input is wrong")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)


def complaint(tmp_path, capsys, text=SPACE, *options):
    """What the sweep says of a space, which must be wrong."""
    space = write_space(tmp_path, text)
    code = sweep.main(["--space", str(space), "--store", str(tmp_path / "store"), *options])
    captured = capsys.readouterr()
    assert code == 2, captured.out
    assert "Traceback" not in captured.err
    assert not (tmp_path / "store").exists()
    return captured.err.strip().replace(str(tmp_path) + "/", "")


def test_an_unknown_key_is_named_with_the_nearest_known_one(tmp_path, capsys, no_ray):
    text = SPACE.replace("{epochs: 4,", "{epoch: 4,")
    error = complaint(tmp_path, capsys, text)
    assert error.startswith("tiny.yaml:6:12 ")
    assert "unknown key" in error
    assert "'epochs'" in error


def test_zero_on_a_log_scale(tmp_path, capsys, no_ray):
    text = SPACE.replace("sampler: grid", "sampler: tpe\n  num_trials: 3").replace(
        "{values: [0.01, 0.05]}", "{low: 0, high: 0.1, log: true}"
    )
    error = complaint(tmp_path, capsys, text)
    assert error.startswith("tiny.yaml:18:37 ")
    assert "0 cannot be the lower end of a log scale" in error
    assert "1e-4" in error


def test_an_unknown_strategy(tmp_path, capsys, no_ray):
    method = complaint(tmp_path, capsys, SPACE.replace("{method: sr}", "{method: sparse}"))
    assert method.startswith("tiny.yaml:10:")
    assert "sr_star" in method
    label = complaint(
        tmp_path, capsys, SPACE.replace("baselines: [vanilla]", "baselines: [trades]")
    )
    assert label.startswith("tiny.yaml:12:13 ")
    assert "vanilla, at, sr, sr_star" in label


def test_malformed_yaml(tmp_path, capsys, no_ray):
    error = complaint(tmp_path, capsys, SPACE.replace("{dataset: digits,", "{dataset: digits"))
    assert error.startswith("tiny.yaml:4:")


def test_everything_wrong_is_told_at_once(tmp_path, capsys, no_ray):
    text = SPACE.replace("epochs: 4", "epochs: many").replace("block_size: 12", "block_size: 0")
    lines = complaint(tmp_path, capsys, text).splitlines()
    assert [line.rpartition(": ")[0].split(":")[1] for line in lines] == ["6", "18"]
    expected = "training.epochs: expected a whole number of at least 1, got 'many'"
    assert lines[0].split() == ["tiny.yaml:6:20", *expected.split()]


def test_rules_across_fields_point_at_their_line(tmp_path, capsys, no_ray):
    text = SPACE.replace("sr: {method: sr}", "sr: {method: sr, finite_difference_step: 0.5}")
    text = text.replace("strategy.sparsity_weight", "strategy.momentum")
    text = text.replace("epsilon: 0.1, block", "epsilon: 0.2, block")
    error = complaint(tmp_path, capsys, text)
    assert "tiny.yaml:10:" in error
    assert "beyond the attack's epsilon; write at most 0.2" in error
    assert "none of the searched strategies (sr) has it" in error


def test_a_lambda_the_paper_does_not_give_must_be_written(tmp_path, capsys, no_ray):
    text = SPACE.replace("baselines: [vanilla]", "baselines: [sr_star]")
    error = complaint(tmp_path, capsys, text)
    assert "the paper gives no lambda for sr_star on digits" in error
    assert "sparsity_weight: 0.01" in error


def test_an_unknown_suite_or_attack(tmp_path, capsys, no_ray):
    error = complaint(tmp_path, capsys, SPACE.replace("suite: SUITE", "suite: quik"))
    assert error.startswith("tiny.yaml:18:21 ")
    assert "quick" in error


def test_more_gpus_than_there_are(tmp_path, capsys, no_ray):
    error = complaint(tmp_path, capsys, SPACE, "--set", "compute.gpus_per_trial=64")
    assert "compute.gpus_per_trial: asks for 64, but this machine has" in error


def test_absent_data_says_where_to_put_what(tmp_path, capsys, no_ray):
    text = SPACE.replace(
        "{dataset: digits, num_train: 200, num_validation: 24, num_test: 30}",
        f"{{dataset: cifar10, root: {tmp_path / 'nothing'}}}",
    )
    error = complaint(tmp_path, capsys, text)
    assert "cifar-10-python.tar.gz" in error
    assert "data.download" in error


def test_a_network_without_an_exact_twin_is_refused_before_it_is_trained_or_attacked(
    tmp_path, capsys, no_ray, monkeypatch
):
    """An architecture of one's own may have a layer that the exact judge does not know."""
    small = ARCHITECTURES["small"]

    def pooled(config, spec):
        model = small(config, spec)
        model.features[6] = nn.MaxPool2d(2)
        return model

    monkeypatch.setitem(ARCHITECTURES, "small", pooled)
    said = "which cannot judge this network: features.6: there is no exact MaxPool2d; use a suite"
    space, store = write_space(tmp_path), str(tmp_path / "store")
    exactly = ["--set", "report.suite=thorough"]
    assert sweep.main(["--space", str(space), "--store", store, *exactly]) == 2
    assert said in capsys.readouterr().err
    assert train.main(["--space", str(space), "--store", store]) == 0
    checkpoint = capsys.readouterr().out.strip().splitlines()[-1]
    asked = ["--checkpoint", checkpoint, "--store", store, "--num-samples", "2"]
    assert evaluate.main([*asked, "--suite", "thorough"]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../out", "a/b", "", "-x y", "a\nb"])
def test_names_that_could_lead_out_of_the_store(tmp_path, capsys, no_ray, name):
    assert "--name" in complaint(tmp_path, capsys, SPACE, f"--name={name}")


def test_a_space_that_is_not_there(tmp_path, capsys):
    assert sweep.main(["--space", str(tmp_path / "lamda.yaml")]) == 2
    assert "lamda.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_every_shipped_space_is_valid(path):
    sweep.read_space(path, [])


def test_the_paper_is_the_default_for_its_data_sets():
    space = sweep.read_space(REPOSITORY / "search_spaces/paper/fig3/cifar10_wrn16.yaml", [])
    assert (space.training.epochs, space.training.batch_size) == (200, 64)
    assert space.trial("sr").strategy.sparsity_weight == 0.008
    assert space.trial("sr").strategy.finite_difference_step == 0.01
    assert space.trial("sr").strategy.penalty == "squared"


def test_train_then_evaluate_without_ray(tmp_path, capsys, no_ray):
    space, store = write_space(tmp_path), str(tmp_path / "store")
    arguments = ["--space", str(space), "--store", store]
    assert train.main([*arguments, "--strategy", "at"]) == 0
    checkpoint = capsys.readouterr().out.strip().splitlines()[-1]
    options = [
        "--checkpoint",
        checkpoint,
        "--store",
        store,
        "--suite",
        str(tmp_path / "suite.yaml"),
    ]
    options += ["--num-samples", "20"]
    assert evaluate.main(options) == 0
    first = capsys.readouterr().out
    assert "robust accuracy" in first
    assert "0 of them stored" in first
    assert evaluate.main(options) == 0
    second = capsys.readouterr().out
    assert "6 of them stored" in second
    assert first.splitlines()[-1].split("  ")[-2:] == second.splitlines()[-1].split("  ")[-2:]


AUDIT = """
name: audit
epsilon: 0.1
attacks:
  fgsm: {method: fgsm}
  pgd10: {method: pgd, num_steps: 3, iterate: any}
  pgd50: {method: pgd, num_steps: 6, iterate: any}
oracles: [{method: own}, {surrogate: sigmoid}]
then:
  - attacks:
      square: {method: square, num_queries: 20}
  - epsilon_factor: 8
    attacks:
      radius-x8: {method: pgd, num_steps: 20, iterate: any}
    oracles: [{method: own}]
  - access: transfer
    attacks:
      transfer: {method: pgd, num_steps: 3}
    oracles: [{method: own}]
"""


def test_evaluate_with_an_audit_suite_gives_an_opinion_and_the_costs(
    tmp_path, capsys, trained, monkeypatch
):
    monkeypatch.setattr("pipeline.evaluate_run.local_resources", lambda: {"CPU": 1})
    monkeypatch.setattr(importlib.import_module("pipeline.metrics.probe"), "PLANE", 5)
    (tmp_path / "trust.yaml").write_text(AUDIT)
    options = ["--checkpoint", str(trained[0]), "--suite", str(tmp_path / "trust.yaml")]
    options += ["--store", str(tmp_path / "store"), "--num-samples", "24", "--block-size", "12"]
    assert evaluate.main(options) == 0
    printed = capsys.readouterr().out
    assert "no --source given: transfer attacks are left out" in printed
    lines = {line.split()[1]: line for line in printed.splitlines() if "+" in line}
    assert "(a control: its radius is larger)" in lines["radius-x8+own"]
    # A single step costs what it says, for those that are right without it.
    clean = float(next(line for line in printed.splitlines() if "  clean " in line).split()[2])
    assert lines["fgsm+own"].split()[4:6] == [f"{clean / 100:.1f}"] * 2
    assert re.search(r"PASS +Is there a gradient to follow\?", printed)
    assert re.search(r"SKIPPED +Do other networks' gradients break what its own miss\?", printed)
    path = Path(printed.strip().splitlines()[-1])
    found = json.loads(path.read_text())
    assert path.parent.parent == tmp_path / "store" / "audits"
    assert found["num_samples"] == 24
    assert f"audit {found['status']}" in printed
    assert found["passes"]["fgsm+own"] == pytest.approx([clean / 100] * 2, abs=5e-4)


def test_evaluate_tells_what_a_random_network_was_asked(tmp_path, capsys, poisson, monkeypatch):
    monkeypatch.setattr("pipeline.evaluate_run.local_resources", lambda: {"CPU": 1})
    text = "name: few\nepsilon: 0.1\neot_draws: 3\njudge_draws: 4\n"
    text += "attacks: {fgsm: {method: fgsm}}\noracles: [{method: own}]\n"
    (tmp_path / "few.yaml").write_text(text)
    options = ["--checkpoint", str(poisson), "--suite", str(tmp_path / "few.yaml")]
    options += ["--store", str(tmp_path / "store"), "--num-samples", "24"]
    assert evaluate.main(options) == 0
    printed = capsys.readouterr().out
    assert "its answers are random: gradients are means of up to 3 draws, verdicts of 4" in printed
    clean = next(line for line in printed.splitlines() if "  clean " in line)
    assert re.search(r"\(a single draw: [\d.]+ %, sd [\d.]+ %\)", clean)


def test_evaluate_refuses_what_is_no_checkpoint(tmp_path, capsys):
    file = tmp_path / "weights.pt"
    file.write_bytes(b"\x80\x04evil")
    assert evaluate.main(["--checkpoint", str(file)]) == 2
    assert "never loaded" in capsys.readouterr().err
    assert evaluate.main(["--checkpoint", str(file), "--epsilon", "3"]) == 2
    assert "--epsilon" in capsys.readouterr().err


def test_train_refuses_an_unknown_label(tmp_path, capsys):
    assert train.main(["--space", str(write_space(tmp_path)), "--strategy", "trades"]) == 2
    assert "vanilla, at, sr, sr_star" in capsys.readouterr().err


def test_report_of_nothing(tmp_path, capsys):
    assert build.main(["--store", str(tmp_path)]) == 2
    assert "no sweep" in capsys.readouterr().err


def test_a_wrong_space_is_told_without_loading_the_engines(tmp_path):
    """Seconds matter to somebody who mends a file; so Ray, MLflow and Optuna stay unloaded."""
    code = (
        "import sys; from pipeline.sweep import main; "
        f"code = main(['--space', {str(tmp_path / 'none.yaml')!r}]); "
        "print(code, {'ray', 'mlflow', 'optuna'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )
    assert result.stdout.split() == ["2", "set()"]
