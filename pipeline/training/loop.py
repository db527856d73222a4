"""The one training loop: an epoch of any strategy."""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.network_input import network_input
from pipeline.training.config import TrainingConfig
from pipeline.training.strategy import Strategy


class DivergedError(ArithmeticError):
    """The loss left the finite numbers; training cannot go on."""


def learning_rate(config: TrainingConfig, epoch: int) -> float:
    """Learning rate of an epoch counted from 0: lr * (1 + cos(pi * epoch / epochs)) / 2."""
    if config.schedule == "constant":
        return config.learning_rate
    return config.learning_rate * (1 + math.cos(math.pi * epoch / config.epochs)) / 2


def build_optimizer(
    model: nn.Module, config: TrainingConfig, strategy: Strategy
) -> torch.optim.SGD:
    """SGD with momentum over all parameters, weight decay as the strategy has it."""
    decay = config.weight_decay if strategy.weight_decay is None else strategy.weight_decay
    return torch.optim.SGD(
        model.parameters(),
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=decay,
        fused=True,
    )


def training_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    strategy: Strategy,
    images: Tensor,
    labels: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step on a batch; attacks are crafted in evaluation mode, all else in training mode.

    Args:
        model: Any classifier of images in [0, 1].
        optimizer: Over the model's parameters.
        strategy: The defence.
        images: Shape (B, C, H, W), in [0, 1].
        labels: Shape (B,).

    Returns:
        Cross-entropy, weighted penalty and number of correct predictions, scalars on the device.
    """
    if strategy.perturb is not None:
        model.eval()
        images = strategy.perturb(model, images, labels)
    model.train()
    images = images.detach().requires_grad_(strategy.penalty is not None)
    logits = model(images)
    cross_entropy = functional.cross_entropy(logits, labels)
    penalty = torch.zeros_like(cross_entropy)
    if strategy.penalty is not None:
        penalty = strategy.penalty(model, images, labels, logits)
    optimizer.zero_grad(set_to_none=True)
    (cross_entropy + penalty).backward()
    optimizer.step()
    if strategy.project is not None:
        strategy.project(model)
    correct = (logits.argmax(1) == labels).sum()
    return cross_entropy.detach(), penalty.detach(), correct


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    strategy: Strategy,
    images: Tensor,
    labels: Tensor,
    batch_size: int,
    augment: Callable[[Tensor], Tensor],
) -> dict[str, float]:
    """One pass over the data in random order, from torch's global generator.

    The last batch may be smaller; a batch of one sample is left out, as batch norm needs two.

    Args:
        model: Any classifier of images in [0, 1].
        optimizer: Over its parameters.
        strategy: The defence.
        images: All training images, uint8, shape (N, C, H, W), on the model's device; or event
            frames, (N, T, C, H, W).
        labels: Shape (N,).
        batch_size: Samples per step.
        augment: Applied to each batch of float images.

    Returns:
        `train_loss`, `train_penalty`, `train_accuracy`, means over the samples seen (attacked,
        where the strategy attacks), and `epoch_s`.

    Raises:
        DivergedError: The loss is NaN or infinite.
    """
    started = time.perf_counter()
    order = torch.randperm(len(images)).to(images.device)
    # Sums stay on the device: reading a scalar at each step would stall a GPU.
    sums = torch.zeros(3, dtype=torch.float64, device=images.device)
    seen = 0
    for chosen in order.split(batch_size):
        if len(chosen) < 2:
            continue
        batch = augment(network_input(images[chosen]))
        try:
            step = training_step(model, optimizer, strategy, batch, labels[chosen])
        except DivergedError:
            raise
        except ArithmeticError as error:
            raise DivergedError(
                f"the training attack found no finite gradient ({error}): lower "
                "training.learning_rate"
            ) from error
        loss, penalty, correct = step
        sums += torch.stack([loss * len(chosen), penalty * len(chosen), correct]).double()
        seen += len(chosen)
    loss_sum, penalty_sum, correct_sum = (sums / max(seen, 1)).tolist()
    if not math.isfinite(loss_sum + penalty_sum):
        raise DivergedError(
            f"the loss is {loss_sum} and the penalty {penalty_sum}: lower training.learning_rate "
            "or the weight of the penalty"
        )
    # NaN weights can hide: neurons that never fire leave the head's bias as finite logits.
    state = (*model.parameters(), *model.buffers())
    if not all(bool(torch.isfinite(tensor).all()) for tensor in state):
        raise DivergedError(
            "a weight is NaN or infinite: lower training.learning_rate or the weight of the penalty"
        )
    return {
        "train_loss": loss_sum,
        "train_penalty": penalty_sum,
        "train_accuracy": correct_sum,
        "epoch_s": time.perf_counter() - started,
    }
