"""A suite to the same union: ours, every member on every sample, and torchattacks on SpikingJelly.

    python -m benchmarks.evaluation --checkpoint runs/trials/NAME/checkpoint.safetensors

The peer is torchattacks 3.2.7 on a SpikingJelly network of the same weights: each of the suite's
attacks through each of its oracles, on every sample, in batches of the block's size. Two
implementations agree statistically: random starts differ, and a flipped spike decides a sample.
"""

import argparse
import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.networks import SpikingJellyNetwork
from benchmarks.report import Cell, Table, add_outputs, publish
from benchmarks.timing import clock, ratio
from models import oracle
from pipeline import checkpoints
from pipeline.attacks import APGDConfig, FGSMConfig, PGDConfig, RFGSMConfig
from pipeline.config import TRIAL
from pipeline.data import Split, load_dataset
from pipeline.data.torchvision_import import torchvision_datasets
from pipeline.evaluation import OWN
from pipeline.evaluator import EvaluationJob, Evaluator
from pipeline.local import LocalExecutor, MemoryStore
from pipeline.records import SplitName
from pipeline.summary import survivors, union
from pipeline.threats import Member, in_order, load_suite, members


def theirs(member: Member) -> Callable[[nn.Module], Any]:
    """Torchattacks' attack of a member.

    Raises:
        ValueError: It has none that does the same.
    """
    torchvision_datasets()  # where torchvision's operators do not fit torch, this comes first
    import torchattacks

    attack, epsilon = member.attack, member.epsilon
    if isinstance(attack, FGSMConfig):
        return lambda model: torchattacks.FGSM(model, eps=epsilon)
    if isinstance(attack, RFGSMConfig):
        return lambda model: torchattacks.RFGSM(model, eps=epsilon, alpha=epsilon / 2, steps=1)
    if isinstance(attack, PGDConfig) and attack.iterate == "last":
        step = attack.step_size or attack.relative_step_size * epsilon
        steps = attack.num_steps
        return lambda model: torchattacks.PGD(model, eps=epsilon, alpha=step, steps=steps)
    if isinstance(attack, APGDConfig) and attack.loss == "cross_entropy":
        steps = attack.num_steps
        return lambda model: torchattacks.APGD(
            model, norm="Linf", eps=epsilon, steps=steps, n_restarts=1, loss="ce"
        )
    raise ValueError(f"torchattacks has nothing like {member.name}")


class _Classifier(nn.Module):
    """An oracle as the module that torchattacks wants."""

    def __init__(self, network: nn.Module, ask: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self._ask = network, ask

    def forward(self, images: Tensor) -> Tensor:
        return self._ask(images)


def peer(network: nn.Module, chosen: tuple[Member, ...], split: Split, size: int) -> Iterator[Any]:
    """What survives each member on SpikingJelly's network, every member on every sample."""
    images = torch.from_numpy(np.array(split.images)).float() / 255
    labels = torch.from_numpy(np.array(split.labels))
    for member in chosen:
        standing = []
        for some, truth in zip(images.split(size), labels.split(size), strict=True):
            tried = some
            if member.attack is not None:
                ask = oracle(network, member.estimator or OWN)
                tried = theirs(member)(_Classifier(network, ask).eval())(some, truth)
            with torch.no_grad():
                standing.append(network(tried).argmax(1) == truth)
        yield torch.cat(standing).numpy()


def run(job: EvaluationJob, split: Split, threads: int) -> MemoryStore:
    """Our evaluation, in this process."""
    store, failures = MemoryStore(), []
    evaluator = Evaluator(
        LocalExecutor({job.split: split}, device="cpu", num_threads=threads), store
    )
    evaluator.submit(job, lambda _job, _seconds, failure: failures.append(failure))
    evaluator.wait()
    evaluator.close()
    if any(failures):
        raise RuntimeError(failures[0])
    return store


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--suite", default="paper")
    parser.add_argument("--epsilon", type=float)
    parser.add_argument("--num-samples", type=int, default=64)
    parser.add_argument("--block-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="eight samples")
    add_outputs(parser)
    options = parser.parse_args()
    if options.quick:
        options.num_samples = 8
    torch.set_num_threads(options.threads)
    stored = checkpoints.load(options.checkpoint)
    dataset = load_dataset(TRIAL.validate_python(stored.config).data)
    test, count = dataset.test, options.num_samples
    split = Split(images=test.images[:count], labels=test.labels[:count])
    network = checkpoints.rebuild(stored)
    suite = load_suite(options.suite)
    epsilon = suite.epsilon if options.epsilon is None else options.epsilon
    jobs = {
        order: EvaluationJob(
            label="benchmark",
            fingerprint=stored.fingerprint,
            checkpoint=str(options.checkpoint),
            split=SplitName.TEST.value,
            members=members(in_order(suite, order), epsilon),
            num_samples=count,
            block_size=options.block_size,
            seed=0,
        )
        for order in ("survivors", "all")
    }
    twin = SpikingJellyNetwork(copy.deepcopy(network)).eval()
    device = torch.device("cpu")
    left: dict[str, Any] = {}

    def ours(order: str) -> Callable[[], None]:
        def work() -> None:
            store = run(jobs[order], split, options.threads)
            left[order] = survivors(jobs[order], store)
            left["clean"] = union(jobs[order], store)["clean_accuracy"]

        return work

    def them() -> None:
        found = peer(twin, jobs["all"].members, split, options.block_size)
        left["peer"] = np.all(list(found), axis=0)

    candidates = {"survivors": ours("survivors"), "all": ours("all"), "peer": them}
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(options.rounds):
        for name, work in candidates.items():
            started = clock(device)
            work()
            seconds[name].append(clock(device) - started)
    names = {
        "survivors": "ours: survivors only",
        "all": "ours: every member on every sample",
        "peer": "torchattacks on SpikingJelly: every member on every sample",
    }
    rows: list[dict[str, Cell]] = [
        {
            "evaluation": names[name],
            "cpu_s": seconds[name],
            "over_survivors": ratio(seconds[name], seconds["survivors"]),
            "robust": f"{left[name].mean():.1%}",
            "differ": int((left[name] != left["survivors"]).sum()),
        }
        for name in candidates
    ]
    config = stored.config["model"]
    columns = {
        "evaluation": "evaluation",
        "cpu_s": "CPU s",
        "over_survivors": "ratio",
        "robust": "robust",
        "differ": "verdicts that differ",
    }
    note = (
        f"Suite {suite.name} ({len(jobs['all'].members) - 1} members), epsilon {epsilon:.4g}, "
        f"{config['architecture']}, T={config['num_timesteps']}, {dataset.note}; {count} test "
        f"images, clean {left['clean']:.1%}; {options.threads} thread(s), {options.rounds} round(s)"
    )
    publish(Table(columns=columns, rows=rows, note=note), options)


if __name__ == "__main__":
    main()
