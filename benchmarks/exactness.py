"""Do the fast paths change verdicts? A trained network attacked through them and without them.

    python -m benchmarks.exactness [--compile --channels 128 128 128]

PGD on the same samples with the same random starts, by the network as it is and by its definition:
the plain loop over `lif_step` (rate gradients: all time steps differentiated), every layer at all
T copies of the image, the mean over T of the logits. In float32 a rounding can flip a spike, which
changes that sample's gradient at once; so the definition is also compared with itself at another
batch size. What is found is judged by the network as it is, never compiled, in batches of one size.
An image differs where the attack ended at another one, be it by one pixel.
"""

import argparse
import copy
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.definition import PlainNetwork
from benchmarks.report import Cell, Table, add_outputs, publish
from models import (
    GradientEstimator,
    InputSpec,
    ModelConfig,
    SpikingClassifier,
    build_model,
    compile_layers,
    oracle,
)
from pipeline.attacks import PGDConfig, build_attack
from pipeline.attacks.draws import SampleDraws
from pipeline.attacks.oracle import Oracle
from pipeline.data import DigitsConfig, load_dataset
from pipeline.training import build_strategy
from pipeline.training.adversarial import ATConfig
from pipeline.training.config import TrainingConfig
from pipeline.training.loop import build_optimizer, train_epoch

ESTIMATORS = {
    "own": GradientEstimator(),
    "rga": GradientEstimator(method="rga"),
    "bptr": GradientEstimator(method="bptr"),
    "hart": GradientEstimator(method="hart"),
}


def trained(
    epochs: int, num_timesteps: int, channels: tuple[int, ...]
) -> tuple[SpikingClassifier, Tensor, Tensor]:
    """A small network, adversarially trained on digits, with images and labels it has not seen."""
    data = load_dataset(DigitsConfig(num_validation=100, num_test=600))
    torch.manual_seed(0)
    model = build_model(
        ModelConfig(architecture="small", num_timesteps=num_timesteps, channels=channels),
        InputSpec(channels=1, height=8, width=8, num_classes=10, mean=data.mean, std=data.std),
    )
    strategy = build_strategy(ATConfig(method="at", epsilon=0.1, step_size=0.05, num_steps=2))
    optimizer = build_optimizer(model, TrainingConfig(learning_rate=0.05), strategy)
    images, labels = (torch.tensor(a) for a in (data.train.images, data.train.labels))
    for _ in range(epochs):
        train_epoch(model, optimizer, strategy, images, labels, 64, lambda batch: batch)
    held_out = torch.tensor(data.test.images).float() / 255, torch.tensor(data.test.labels)
    return model.eval(), *held_out


def attacked(classifier: Any, images: Tensor, labels: Tensor, epsilon: float, size: int) -> Tensor:
    """Images of PGD10, in batches of a size; a sample's random start is its own in any batch."""
    attack = build_attack(PGDConfig(num_steps=10), epsilon)
    found = []
    for chosen in torch.arange(len(images)).split(size):
        asked = Oracle.of(classifier, labels[chosen], draws=SampleDraws(chosen, shared_seed=0))
        found.append(attack(asked, images[chosen], labels[chosen]))
    return torch.cat(found)


@torch.no_grad()
def stands(judge: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Which samples are classified right, shape (N,)."""
    answers = [judge(batch) for batch in images.split(100)]
    return torch.cat(answers).argmax(1) == labels


def main() -> None:
    """Attack, judge and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--epsilon", type=float, default=0.15, help="of the attack")
    parser.add_argument("--num-timesteps", type=int, default=8)
    parser.add_argument("--channels", type=int, nargs=3, default=ModelConfig.channels)
    parser.add_argument("--compile", action="store_true", help="the fast path's layers")
    add_outputs(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    channels = tuple(arguments.channels)
    model, images, labels = trained(arguments.epochs, arguments.num_timesteps, channels)
    attacker = copy.deepcopy(model)
    if arguments.compile:
        compile_layers(attacker)
    images, labels = images[: arguments.samples], labels[: arguments.samples]
    rows: list[dict[str, Cell]] = []
    for name, estimator in ESTIMATORS.items():
        plain = PlainNetwork(model, plain_neurons=name == "own").eval()
        targets: list[Any] = [attacker, plain, plain]
        if name != "own":
            targets = [oracle(target, estimator) for target in targets]
        found = [
            attacked(target, images, labels, arguments.epsilon, size)
            for target, size in zip(targets, (100, 100, 125), strict=True)
        ]
        fast, slow, floor = (stands(model, them, labels) for them in found)
        others = [int((them != found[1]).flatten(1).any(1).sum()) for them in found]
        rows.append(
            {
                "gradient": name,
                "fast_percent": 100 * float(fast.float().mean()),
                "definition_percent": 100 * float(slow.float().mean()),
                "other_batch_percent": 100 * float(floor.float().mean()),
                "differ": int((fast != slow).sum()),
                "noise_floor": int((floor != slow).sum()),
                "images_differ": others[0],
                "images_noise_floor": others[2],
            }
        )
    columns = {
        "gradient": "gradient",
        "fast_percent": "fast, %",
        "definition_percent": "definition, %",
        "other_batch_percent": "definition, other batch, %",
        "differ": "verdicts that differ",
        "noise_floor": "noise floor",
        "images_differ": "images that differ",
        "images_noise_floor": "their noise floor",
    }
    clean = 100 * float(stands(model, images, labels).float().mean())
    settings = (
        f"small network, T={arguments.num_timesteps}, channels {channels}, AT on digits, "
        f"{arguments.epochs} epochs, layers {'compiled' if arguments.compile else 'eager'}; "
        f"{len(labels)} samples, "
        f"clean accuracy {clean:.1f} %; robust accuracy under PGD10, epsilon {arguments.epsilon:g}"
    )
    publish(Table(columns=columns, rows=rows, note=settings), arguments)


if __name__ == "__main__":
    main()
