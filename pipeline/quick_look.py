"""A trial's robust accuracy while it trains: cheap, and no verdict."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.attacks import PIXELS, Oracle, PGDConfig, SampleDraws, Threat, build_attack
from pipeline.data.network_input import network_input
from pipeline.seeding import derive

BATCH = 256
NAME = "quick_robust_accuracy"


@dataclass(frozen=True, kw_only=True)
class QuickLook:
    """When a trial is looked at, and by what attack."""

    epochs: tuple[int, ...]
    """Counted from 1."""
    epsilon: float
    num_samples: int
    num_steps: int
    threat: Threat = PIXELS

    def metrics(
        self, model: nn.Module, images: Tensor, labels: Tensor, *, epoch: int, seed: int
    ) -> dict[str, float]:
        """The robust accuracy after this epoch, as a fraction; nothing after the others.

        Samples count that the model, in evaluation mode, classifies correctly after PGD on the
        margin with its own gradient; torch's global generator is left alone.

        Args:
            model: In any mode, which it keeps.
            images: uint8, shape (N, C, H, W), on the model's device.
            labels: Shape (N,).
            epoch: Epochs that the model was trained.
            seed: Of the attack's random start.
        """
        if epoch not in self.epochs:
            return {}
        attack = build_attack(
            PGDConfig(num_steps=self.num_steps, iterate="any", loss="margin"),
            self.threat.ball(self.epsilon),
        )
        was_training, correct = model.training, 0
        model.eval()
        chosen = torch.arange(min(self.num_samples, len(labels)))
        for part in chosen.split(BATCH):
            pixels, truth = network_input(images[part]), labels[part]
            seeds = torch.tensor([derive(seed, "look", int(sample)) for sample in part])
            draws = SampleDraws(seeds.to(labels.device), derive(seed, "look"))
            attacked = attack(Oracle.of(model, truth, draws=draws), pixels, truth)
            with torch.no_grad():
                right = (model(pixels).argmax(1) == truth) & (model(attacked).argmax(1) == truth)
            correct += int(right.sum())
        model.train(was_training)
        return {NAME: correct / len(chosen)}
