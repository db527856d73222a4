"""Trained networks and blocks of verdicts on them, for tests that judge."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models import GradientEstimator, InputSpec, ModelConfig, build_model
from pipeline import checkpoints
from pipeline.attacks import AttackConfig
from pipeline.config import TrialConfig, input_spec
from pipeline.data import DigitsConfig, Split, load_dataset
from pipeline.evaluation import EvaluationTask, evaluate_block
from pipeline.evaluator import EvaluationJob, Evaluator
from pipeline.experiment import train
from pipeline.local import MemoryStore
from pipeline.records import Block, BlockKey
from pipeline.seeding import seeded
from pipeline.threats import Member, Source
from pipeline.training.config import TrainingConfig
from pipeline.training.vanilla import VanillaConfig

CPU = torch.device("cpu")
NUM_SAMPLES = 96
"""Of the validation split, unseen in training."""
CLEAN = Member(attack_name="clean", attack=None, estimator=None, epsilon=0.0)
TRIANGLE, RGA = GradientEstimator(), GradientEstimator(method="rga")


def train_digits(
    folder: Path,
    model: ModelConfig,
    strategy: Any = None,
    *,
    num_train: int = 600,
    epochs: int = 4,
    learning_rate: float = 0.05,
) -> Path:
    """The checkpoint of a network that reads some digits."""
    config = TrialConfig(
        data=DigitsConfig(num_train=num_train, num_validation=NUM_SAMPLES),
        model=model,
        training=TrainingConfig(
            epochs=epochs, batch_size=32, learning_rate=learning_rate, augmentation="none"
        ),
        strategy=strategy or VanillaConfig(method="vanilla"),
    )
    dataset = load_dataset(config.data)
    splits = {"train": dataset.train, "validation": dataset.validation}
    spec, name = input_spec(dataset), config.fingerprint()
    list(train(config, splits, spec, folder, fingerprint=name, device="cpu"))
    return folder / checkpoints.FILE_NAME


def small(num_timesteps: int = 3, channels: tuple[int, int, int] = (8, 12, 12), **more: Any):
    """The small architecture, smaller still."""
    return ModelConfig(architecture="small", num_timesteps=num_timesteps, channels=channels, **more)


def lively(config: ModelConfig, spec: InputSpec) -> nn.Module:
    """A random network that fires as a fresh one hardly does, in evaluation mode."""
    with seeded(3):
        model = build_model(config, spec).eval()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.data.fill_(3.0)
    return model


def network(path: Path) -> nn.Module:
    """The network of a checkpoint."""
    return checkpoints.rebuild(checkpoints.load(path))


class Exactly(nn.Module):
    """A network computed in float64: no spike hangs on the size of the batch it is judged in."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner.double().eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(images.double()).float()


def member(
    attack: AttackConfig,
    estimator: GradientEstimator | None = TRIANGLE,
    epsilon: float = 0.1,
    *,
    source: Source | None = None,
    eot_draws: int = 1,
    judge_draws: int = 1,
) -> Member:
    return Member(
        attack_name=attack.method,
        attack=attack,
        estimator=estimator,
        epsilon=epsilon,
        source=source,
        eot_draws=eot_draws,
        judge_draws=judge_draws,
    )


def task(
    member: Member,
    start: int = 0,
    stop: int = NUM_SAMPLES,
    seed: int = 0,
    *,
    checkpoint: str = "",
    standing: tuple[bool, ...] | None = None,
) -> EvaluationTask:
    key = BlockKey(
        fingerprint="f",
        split="validation",
        member=member.name,
        member_hash=member.hash,
        seed=seed,
        start=start,
        stop=stop,
    )
    return EvaluationTask(key=key, member=member, checkpoint=checkpoint, standing=standing)


def judged(
    model: nn.Module,
    split: Split,
    member: Member,
    *,
    source: nn.Module | None = None,
    batch_size: int | None = None,
    **where: Any,
) -> Block:
    """A block of verdicts, computed here."""
    asked = task(member, **where)
    chosen = slice(asked.key.start, asked.key.stop)
    return evaluate_block(
        model,
        asked,
        split.images[chosen],
        split.labels[chosen],
        device=CPU,
        source=source,
        batch_size=batch_size,
    )


def job_of(
    members: tuple[Member, ...], num_samples: int, block_size: int, **changes: Any
) -> EvaluationJob:
    facts: dict[str, Any] = {
        "label": "victim",
        "fingerprint": "f",
        "checkpoint": "victim",
        "split": "validation",
        "seed": 0,
    }
    return EvaluationJob(
        members=members, num_samples=num_samples, block_size=block_size, **(facts | changes)
    )


def run_job(executor: Any, job: EvaluationJob, store: MemoryStore | None = None) -> MemoryStore:
    """A job to its end, which must be a good one."""
    store = MemoryStore() if store is None else store
    assert failures_of(executor, job, store) == [""]
    return store


def failures_of(executor: Any, job: EvaluationJob, store: MemoryStore) -> list[str]:
    """What the evaluator told of a job, once it is over."""
    ended: list[str] = []
    evaluator = Evaluator(executor, store)
    evaluator.submit(job, lambda _job, _seconds, failure: ended.append(failure))
    evaluator.wait()
    evaluator.close()
    return ended
