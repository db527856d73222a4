"""Train one trial, epoch by epoch, from wherever its last checkpoint left it."""

import dataclasses
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models import InputSpec, build_model
from pipeline import checkpoints
from pipeline.attacks import Domain
from pipeline.config import TrialConfig
from pipeline.data import Split
from pipeline.data.augmentation import AUGMENTATIONS
from pipeline.data.network_input import network_input
from pipeline.errors import ConfigError, DamagedError
from pipeline.files import StorePath, set_aside, write_atomically
from pipeline.host_memory import keep_freed_memory
from pipeline.quick_look import QuickLook
from pipeline.records import SplitName
from pipeline.seeding import seeded
from pipeline.training import build_strategy
from pipeline.training.compilation import CompileChoice, compile_if_worthwhile, num_updates
from pipeline.training.loop import build_optimizer, learning_rate, train_epoch
from pipeline.worker import choose_device

EPOCHS_FILE = "epochs.jsonl"
BEST_FILE = "best.safetensors"
"""The best network so far, where one is chosen; the last checkpoint has its weights."""
CHOSEN_BY = {"best_validation": "validation_accuracy", "best_test": "test_accuracy"}
"""Metric by which `training.selection` chooses an epoch."""
EVALUATION_BATCH = 512


def trial_folder(store: StorePath, fingerprint: str) -> StorePath:
    """Where the trial's checkpoint, curves and configuration lie."""
    return store / "trials" / fingerprint


@torch.no_grad()
def clean_accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of samples that the model, in evaluation mode, classifies right.

    Samples are uint8 images (N, C, H, W) or event frames (N, T, C, H, W).
    """
    was_training = model.training
    model.eval()
    pairs = zip(images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True)
    correct = sum(int((model(network_input(x)).argmax(1) == y).sum()) for x, y in pairs)
    model.train(was_training)
    return correct / len(labels)


def train(
    config: TrialConfig,
    splits: Mapping[str, Split],
    spec: InputSpec,
    folder: StorePath,
    *,
    fingerprint: str,
    device: str = "auto",
    num_threads: int = 1,
    look: QuickLook | None = None,
    compile_choice: CompileChoice = "auto",
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[dict[str, float]]:
    """Train, writing a checkpoint after each epoch; yields each epoch's metrics.

    An interrupted training continues after its last checkpoint with the numbers it would have
    had: every epoch draws from a generator of its own. The last epoch's weights are the result,
    unless `training.selection` chooses an epoch by its clean accuracy.

    Args:
        config: The trial.
        splits: By name; training and validation are used, and test where `training.selection`
            chooses by it.
        spec: What the network must know of the data.
        folder: Of this trial alone; made if absent.
        fingerprint: Of `config`; a worker need not see the data's files to compute it.
        device: auto, cpu or cuda.
        num_threads: Of torch on the CPU; part of what decides the numbers' last digits.
        compile_choice: Whether layers are compiled; decides last digits, too.
        look: Whether the trial's robust accuracy is estimated on the way.
        should_stop: Asked after each epoch.

    Yields:
        `epoch` (from 1), `train_loss`, `train_penalty`, `train_accuracy`,
        `validation_accuracy`, `learning_rate`, `epoch_s`; after some epochs
        `quick_robust_accuracy`; `test_accuracy` where an epoch is chosen by it.

    Raises:
        DivergedError: The loss is no longer finite.
        ConfigError: The folder holds another trial's checkpoint, or none that can be read.
    """
    keep_freed_memory()
    torch.set_num_threads(num_threads)
    tf32 = config.training.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    where = choose_device(device)
    domain = Domain(frames=spec.frames, scale=spec.scale)
    strategy = build_strategy(config.strategy, domain)
    with seeded(config.seed, "weights"):
        model: nn.Module = build_model(config.model, spec)
    model.to(where)
    optimizer = build_optimizer(model, config.training, strategy)
    path = folder / checkpoints.FILE_NAME
    chosen_by = CHOSEN_BY.get(config.training.selection)
    checkpoint, history = _left_by_last(folder, fingerprint, chooses=chosen_by is not None)
    done = 0
    if checkpoint is not None:
        model.load_state_dict(checkpoint.weights)
        checkpoints.restore_momentum(optimizer, model, checkpoint.momentum)
        done = checkpoint.epoch
    compile_if_worthwhile(
        model,
        compile_choice,
        updates=num_updates(model, spec, config.model.num_timesteps)
        * len(splits[SplitName.TRAIN].labels)
        * config.training.epochs,
        device=where,
    )
    train_images, train_labels = _on_device(splits[SplitName.TRAIN], where)
    valid_images, valid_labels = _on_device(splits[SplitName.VALIDATION], where)
    on_test = chosen_by == "test_accuracy"
    test = _on_device(splits[SplitName.TEST], where) if on_test else None
    for epoch in range(done, config.training.epochs):
        rate = learning_rate(config.training, epoch)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with seeded(config.seed, "epoch", epoch):
            metrics = train_epoch(
                model,
                optimizer,
                strategy,
                train_images,
                train_labels,
                config.training.batch_size,
                AUGMENTATIONS[config.training.augmentation],
            )
        metrics["validation_accuracy"] = clean_accuracy(model, valid_images, valid_labels)
        metrics |= {"epoch": epoch + 1, "learning_rate": rate}
        if test is not None:
            metrics["test_accuracy"] = clean_accuracy(model, *test)
        if look is not None:
            metrics |= look.metrics(
                model, valid_images, valid_labels, epoch=epoch + 1, seed=config.seed
            )
        history.append(metrics)
        # A worker that the driver lost sight of may be behind the one that took its place.
        if checkpoints.stored_epoch(path) <= epoch:
            lines = "".join(json.dumps(row) + "\n" for row in history)
            # The curves first: a checkpoint without its curve's last point could not be mended.
            write_atomically(folder / EPOCHS_FILE, lines.encode())
            about: dict[str, Any] = {"config": config, "fingerprint": fingerprint, "spec": spec}
            if chosen_by is not None:
                if _is_best(history, chosen_by):
                    checkpoints.save(folder / BEST_FILE, model, None, epoch=epoch + 1, **about)
                if epoch + 1 == config.training.epochs:
                    model.load_state_dict(checkpoints.load(folder / BEST_FILE).weights)
            checkpoints.save(path, model, optimizer, epoch=epoch + 1, **about)
        yield metrics
        if should_stop():
            return


def _is_best(history: list[dict[str, Any]], metric: str) -> bool:
    """Whether the last epoch is better than all before it; of equal ones the first stays."""
    *before, last = (row[metric] for row in history)
    return all(last > value for value in before)


def _on_device(split: Split, device: torch.device) -> tuple[Tensor, Tensor]:
    """The whole split as tensors: samples as they are stored, and labels."""
    # Arrays out of a shared object store are read-only, which torch warns about; they are copied.
    images = torch.tensor(split.images, device=device)
    return images, torch.tensor(split.labels, dtype=torch.int64, device=device)


def _left_by_last(
    folder: StorePath, fingerprint: str, *, chooses: bool
) -> tuple[checkpoints.Checkpoint | None, list[dict[str, Any]]]:
    """The last checkpoint and the metrics of its epochs; what is damaged is set aside."""
    path = folder / checkpoints.FILE_NAME
    if not path.exists():
        return None, []
    try:
        checkpoint = checkpoints.load(path)
        history = read_history(folder)[: checkpoint.epoch]
        if len(history) < checkpoint.epoch:
            raise DamagedError(f"{folder / EPOCHS_FILE}: lacks epochs that the checkpoint has")
        if chooses:
            checkpoints.load(folder / BEST_FILE)
    except ConfigError as error:
        aside = set_aside(path)
        logging.getLogger(__name__).warning(
            "%s; set aside as %s, and the trial is trained again", error, aside.name
        )
        return None, []
    if checkpoint.fingerprint != fingerprint:
        raise ConfigError(
            f"{path}: expected a checkpoint of trial {fingerprint}, got one of "
            f"{checkpoint.fingerprint}; move it away"
        )
    return checkpoint, history


def read_history(folder: StorePath) -> list[dict[str, Any]]:
    """Metrics of all epochs written so far.

    Raises:
        DamagedError: The file is not what was written.
    """
    path = folder / EPOCHS_FILE
    if not path.exists():
        return []
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except ValueError as error:
        raise DamagedError(f"{path}: is not what was written ({error})") from error


def write_config(folder: StorePath, config: TrialConfig) -> None:
    """Put the trial's configuration beside its checkpoint, for people."""
    tree = dataclasses.asdict(config)
    text = json.dumps(tree, indent=2, default=str)
    write_atomically(folder / "config.json", (text + "\n").encode())


def elapsed(history: list[dict[str, Any]]) -> float:
    """Seconds that the epochs took."""
    return float(sum(row.get("epoch_s", 0.0) for row in history))
