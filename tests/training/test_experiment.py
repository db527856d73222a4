"""Training a trial: interrupted and resumed is the same as never interrupted, bit for bit."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models import InputSpec, ModelConfig
from pipeline import checkpoints
from pipeline.config import TrialConfig, input_spec
from pipeline.data import DigitsConfig, Split, load_dataset
from pipeline.errors import ConfigError
from pipeline.experiment import BEST_FILE, EPOCHS_FILE, clean_accuracy, read_history, train
from pipeline.fingerprint import plain
from pipeline.training.adversarial import ATConfig
from pipeline.training.config import TrainingConfig
from pipeline.training.rat import RATConfig
from pipeline.training.sparsity import SRStarConfig
from pipeline.training.vanilla import VanillaConfig

EPOCHS = 3
STRATEGIES: dict[str, Any] = {
    "vanilla": VanillaConfig(method="vanilla"),
    "at": ATConfig(method="at", epsilon=0.1, step_size=0.05, num_steps=2),
    "sr_star": SRStarConfig(
        method="sr_star", sparsity_weight=0.01, epsilon=0.1, step_size=0.05, num_steps=2
    ),
    "rat": RATConfig(method="rat", epsilon=0.1),
}
EVERY_STRATEGY = pytest.mark.parametrize("strategy", STRATEGIES)
Data = tuple[Mapping[str, Split], InputSpec]


def trial(strategy: str = "vanilla", **model: Any) -> TrialConfig:
    return TrialConfig(
        data=DigitsConfig(num_train=100, num_validation=40),
        model=ModelConfig(architecture="small", num_timesteps=2, channels=(4, 6, 6), **model),
        training=TrainingConfig(
            epochs=EPOCHS, batch_size=24, learning_rate=0.05, augmentation="crop"
        ),
        strategy=STRATEGIES[strategy],
    )


@pytest.fixture(scope="module")
def data() -> Data:
    dataset = load_dataset(trial().data)
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    return splits, input_spec(dataset)


def run(config: TrialConfig, data: Data, folder: Path, epochs: int = EPOCHS) -> int:
    """Train up to `epochs` epochs in one sitting; the process then "dies". Epochs done."""
    splits, spec = data
    done = 0
    training = train(config, splits, spec, folder, fingerprint=config.fingerprint(), device="cpu")
    for _ in training:
        done += 1
        if done == epochs:
            break
    training.close()  # type: ignore[attr-defined]
    return done


def result(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], list[dict[str, Any]]]:
    """Weights, momentum and curves that a trial left."""
    checkpoint = checkpoints.load(folder / checkpoints.FILE_NAME)
    assert checkpoint.epoch == EPOCHS
    rows = [json.loads(line) for line in (folder / EPOCHS_FILE).read_text().splitlines()]
    for row in rows:
        row.pop("epoch_s")
    return checkpoint.weights, checkpoint.momentum, rows


def same(first: Path, second: Path) -> None:
    one, two = result(first), result(second)
    for kind in (0, 1):
        assert one[kind].keys() == two[kind].keys()
        for name, value in one[kind].items():
            assert torch.equal(value, two[kind][name]), name
    assert one[2] == two[2]


@EVERY_STRATEGY
@pytest.mark.parametrize("sittings", [(1, 2), (2, 1), (1, 1, 1)])
def test_resumed_is_unbroken(
    data: Data, tmp_path: Path, strategy: str, sittings: tuple[int, ...]
) -> None:
    config = trial(strategy)
    assert run(config, data, tmp_path / "unbroken") == EPOCHS
    for epochs in sittings:
        assert run(config, data, tmp_path / "broken", epochs) == epochs
    same(tmp_path / "unbroken", tmp_path / "broken")


@pytest.mark.parametrize("strategy", ["vanilla", "sr_star"])
def test_death_between_curves_and_checkpoint(data: Data, tmp_path: Path, strategy: str) -> None:
    config, broken = trial(strategy), tmp_path / "broken"
    run(config, data, tmp_path / "unbroken")
    path = broken / checkpoints.FILE_NAME
    run(config, data, broken, 1)
    shutil.copy(path, tmp_path / "older")
    run(config, data, broken, 1)
    shutil.copy(tmp_path / "older", path)
    assert len(read_history(broken)) == 2
    assert checkpoints.load(path).epoch == 1
    assert run(config, data, broken) == 2
    same(tmp_path / "unbroken", broken)


def test_death_before_the_first_checkpoint(data: Data, tmp_path: Path) -> None:
    config, broken = trial(), tmp_path / "broken"
    run(config, data, tmp_path / "unbroken")
    run(config, data, broken, 1)
    (broken / checkpoints.FILE_NAME).unlink()
    run(config, data, broken)
    same(tmp_path / "unbroken", broken)


def test_a_worker_that_was_lost_sight_of_does_not_turn_the_clock_back(
    data: Data, tmp_path: Path
) -> None:
    """It wakes up when another worker has trained the trial to its end."""
    config = trial()
    lost = train(config, *data, tmp_path, fingerprint=config.fingerprint(), device="cpu")
    assert next(lost)["epoch"] == 1
    assert run(config, data, tmp_path) == EPOCHS - 1
    finished = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert next(lost)["epoch"] == 2
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == finished


def test_nothing_is_left_to_do_after_the_last_epoch(data: Data, tmp_path: Path) -> None:
    run(trial(), data, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert run(trial(), data, tmp_path) == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert set(before) == {checkpoints.FILE_NAME, EPOCHS_FILE}


def chosen_by(selection: str, epochs: int = EPOCHS) -> TrialConfig:
    config = trial()
    # A rate at which accuracy goes up and down.
    training = replace(config.training, selection=selection, learning_rate=0.4, epochs=epochs)
    return replace(config, training=training)


@pytest.mark.parametrize(
    ("selection", "metric"),
    [("best_validation", "validation_accuracy"), ("best_test", "test_accuracy")],
)
def test_the_judged_network_is_that_of_the_best_epoch(
    data: Data, tmp_path: Path, selection: str, metric: str
) -> None:
    """The first of equals; it is the network that a training ending there would have left."""
    config = chosen_by(selection, epochs=6)
    assert run(config, data, tmp_path / "all", 6) == 6
    values = [row[metric] for row in read_history(tmp_path / "all")]
    best = values.index(max(values)) + 1
    assert best < 6, "the last epoch is the best: this test would show nothing"
    run(config, data, tmp_path / "short", best)
    kept = checkpoints.load(tmp_path / "all" / checkpoints.FILE_NAME)
    then = checkpoints.load(tmp_path / "short" / checkpoints.FILE_NAME)
    assert (kept.epoch, then.epoch) == (6, best)
    for name, value in then.weights.items():
        assert torch.equal(kept.weights[name], value), name


def test_a_chosen_network_survives_an_interruption(data: Data, tmp_path: Path) -> None:
    config = chosen_by("best_test")
    run(config, data, tmp_path / "unbroken")
    for _ in range(EPOCHS):
        run(config, data, tmp_path / "broken", 1)
    same(tmp_path / "unbroken", tmp_path / "broken")


@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_a_best_network_that_was_damaged_is_made_again(
    data: Data, tmp_path: Path, harm: str
) -> None:
    config, broken = chosen_by("best_test"), tmp_path / "broken"
    run(config, data, tmp_path / "unbroken")
    run(config, data, broken, 2)
    best = broken / BEST_FILE
    if harm == "cut":
        best.write_bytes(best.read_bytes()[:100])
    else:
        best.unlink()
    assert run(config, data, broken) == EPOCHS
    assert (broken / f"{checkpoints.FILE_NAME}.damaged-1").exists()
    same(tmp_path / "unbroken", broken)


def test_only_a_choice_of_epoch_counts_in_a_networks_name() -> None:
    """Stores that were filled before there was a choice keep their names."""
    last = trial()
    assert "selection" not in plain(last)["training"]
    others = {chosen_by(kind).fingerprint() for kind in ("last", "best_validation", "best_test")}
    assert len(others) == 3


def test_another_trials_checkpoint_is_refused(data: Data, tmp_path: Path) -> None:
    run(trial(), data, tmp_path, 1)
    before = (tmp_path / checkpoints.FILE_NAME).read_bytes()
    with pytest.raises(ConfigError, match="move it away") as caught:
        run(trial("at"), data, tmp_path)
    assert str(tmp_path / checkpoints.FILE_NAME) in str(caught.value)
    assert trial().fingerprint() in str(caught.value)
    assert (tmp_path / checkpoints.FILE_NAME).read_bytes() == before


def test_should_stop_is_asked_after_each_epoch(data: Data, tmp_path: Path) -> None:
    answers = iter([False, True])
    epochs = list(
        train(
            trial(),
            *data,
            tmp_path,
            fingerprint="0",
            device="cpu",
            should_stop=lambda: next(answers),
        )
    )
    assert [row["epoch"] for row in epochs] == [1, 2]
    assert checkpoints.load(tmp_path / checkpoints.FILE_NAME).epoch == 2


def test_what_an_epoch_reports(data: Data, tmp_path: Path) -> None:
    rows = list(train(trial("sr_star"), *data, tmp_path, fingerprint="0", device="cpu"))
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.05, 0.0375, 0.0125])
    assert set(rows[0]) == {
        "epoch",
        "train_loss",
        "train_penalty",
        "train_accuracy",
        "validation_accuracy",
        "learning_rate",
        "epoch_s",
    }
    model = checkpoints.rebuild(checkpoints.load(tmp_path / checkpoints.FILE_NAME))
    valid = data[0]["validation"]
    accuracy = clean_accuracy(model, torch.tensor(valid.images), torch.tensor(valid.labels))
    assert rows[-1]["validation_accuracy"] == accuracy


def test_training_leaves_the_global_generator_alone(data: Data, tmp_path: Path) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    run(trial(), data, tmp_path, 1)
    assert torch.equal(torch.rand(3), expected)


def test_weights_depend_on_the_trials_seed(data: Data, tmp_path: Path) -> None:
    run(trial(), data, tmp_path / "0")
    other = trial().with_values({"seed": 1})
    run(other, data, tmp_path / "1")
    assert not torch.equal(
        result(tmp_path / "0")[0]["head.weight"], result(tmp_path / "1")[0]["head.weight"]
    )


def test_accuracy_by_hand() -> None:
    class First(torch.nn.Module):
        """Class 0 for dark images, class 1 for bright ones."""

        def forward(self, images: Tensor) -> Tensor:
            bright = images.flatten(1).mean(1)
            return torch.stack([0.5 - bright, bright - 0.5], dim=1)

    images = torch.tensor([0, 255, 100, 200], dtype=torch.uint8).view(4, 1, 1, 1)
    model = First().train()
    assert clean_accuracy(model, images, torch.tensor([0, 1, 1, 1])) == 0.75
    assert model.training
