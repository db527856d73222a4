"""What a worker process does with a task: load the network once, evaluate the block."""

import functools
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from models import SpikingClassifier, oracle
from models.exact import ExactClassifier, exact
from pipeline import checkpoints
from pipeline.batches import fitting_batch
from pipeline.data import Split
from pipeline.data.network_input import network_input
from pipeline.evaluation import OWN, EvaluationTask, evaluate_block, evaluating
from pipeline.files import modified_ns, store_path
from pipeline.host_memory import keep_freed_memory
from pipeline.provenance import recorded
from pipeline.records import Block


def choose_device(setting: str) -> torch.device:
    """The device of `compute.device`: auto takes a GPU where there is one."""
    if setting == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(setting)


def strict_fp32() -> None:
    """Judge in plain fp32: a TF32 convolution rounds weights and can flip spikes."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


@functools.lru_cache(maxsize=4)
def _network(path: str, modified_ns: int, device: str) -> tuple[nn.Module, str]:
    """A network and its file's digest; tasks of one network come in a row, so few are kept.

    The time of modification keeps a replaced file from being missed.
    """
    file = store_path(path)
    model = checkpoints.rebuild(checkpoints.load(file))
    return model.to(device), checkpoints.digest(file)


@functools.lru_cache(maxsize=2)
def _judge(path: str, modified_ns: int, device: str) -> ExactClassifier:
    """The exact twin of a network."""
    model, _ = _network(path, modified_ns, device)
    assert isinstance(model, SpikingClassifier)
    return exact(model).to(device)


def run_task(
    task: EvaluationTask,
    splits: Mapping[str, Split],
    *,
    device: str,
    num_threads: int,
    revision: str,
    data: str = "",
    networks: Mapping[str, nn.Module] | None = None,
) -> Block:
    """The block of a task, computed in this process.

    Args:
        task: What to do.
        splits: Images and labels by split.
        device: auto, cpu or cuda.
        num_threads: Of torch.
        revision: Of the code, for the metadata.
        data: Hash of the data set, for the metadata.
        networks: Networks that are no checkpoints of this project, by the task's `checkpoint`.
    """
    keep_freed_memory()
    torch.set_num_threads(num_threads)
    strict_fp32()
    where = choose_device(device)

    def network(path: str) -> tuple[nn.Module, str]:
        if networks is not None and path in networks:
            return networks[path].to(where), ""
        return _network(path, modified_ns(store_path(path)), str(where))

    def judge(path: str) -> ExactClassifier:
        return _judge(path, modified_ns(store_path(path)), str(where))

    model, digest = network(task.checkpoint)
    source = task.member.source
    split = splits[task.key.split]
    chosen = slice(task.key.start, task.key.stop)
    attacked, source_digest = (model, "") if source is None else network(source.checkpoint)
    sample = network_input(torch.from_numpy(np.array(split.images[chosen][:1])).to(where))
    with evaluating(attacked):
        batch_size = fitting_batch(attacked, oracle(attacked, OWN), sample)
    block = evaluate_block(
        model,
        task,
        split.images[chosen],
        split.labels[chosen],
        device=where,
        revision=revision,
        source=attacked,
        batch_size=batch_size,
        judge=None if task.member.judge == "plain" else judge(task.checkpoint),
    )
    block.metadata.update(
        recorded(task, block, data=data, checkpoint_sha256=digest, source_sha256=source_digest)
    )
    return block
