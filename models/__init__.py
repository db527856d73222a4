"""Spiking networks in plain PyTorch: neurons, surrogates, encodings, architectures, oracles."""

from models.build import ARCHITECTURES, build_model
from models.config import GradientEstimator, InputSpec, ModelConfig, NeuronConfig
from models.estimators import oracle
from models.network import SpikingClassifier
from models.surrogates import SURROGATES

__all__ = [
    "ARCHITECTURES",
    "SURROGATES",
    "GradientEstimator",
    "InputSpec",
    "ModelConfig",
    "NeuronConfig",
    "SpikingClassifier",
    "build_model",
    "oracle",
]
