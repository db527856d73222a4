"""The smallest study that is still a real one: 200 digits, a network of 4 channels, four epochs."""

from pathlib import Path

from pipeline.sweep import read_space

SPACE = """
name: tiny
seed: 0
data: {dataset: digits, num_train: 200, num_validation: 24, num_test: 30}
model: {architecture: small, num_timesteps: 2, channels: [4, 4, 4]}
training: {epochs: 4, batch_size: 20, augmentation: none}
strategies:
  vanilla: {method: vanilla}
  at: {method: at, epsilon: 0.05, num_steps: 2, step_size: 0.025}
  sr: {method: sr}
  sr_star: {method: sr_star, epsilon: 0.05, num_steps: 1, step_size: 0.05}
baselines: [vanilla]
search:
  sampler: grid
  strategies: [sr]
  parameters:
    strategy.sparsity_weight: {values: [0.01, 0.05]}
evaluation: {suite: SUITE, epsilon: 0.1, block_size: 12}
report: {trials: front, audit: null}
compute: {gpus_per_trial: 0, gpus_per_evaluation: 0}
"""
SUITE = """
name: tiny
epsilon: 0.1
attacks:
  fgsm: {method: fgsm}
  pgd2: {method: pgd, num_steps: 2}
oracles:
  - {surrogate: triangle}
  - {method: rga}
"""


def write_space(folder: Path, text: str = SPACE) -> Path:
    """The space and its suite as files."""
    suite = folder / "suite.yaml"
    suite.write_text(SUITE)
    path = folder / "tiny.yaml"
    path.write_text(text.replace("SUITE", str(suite)))
    return path


def tiny_space(folder: Path, *overrides: str):
    """The checked space."""
    return read_space(write_space(folder), overrides)
