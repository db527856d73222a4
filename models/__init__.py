"""Spiking networks in plain PyTorch: neurons, surrogates, encodings, architectures, oracles."""

from models.build import ARCHITECTURES, build_model, compile_layers
from models.config import GradientEstimator, InputSpec, ModelConfig, NeuronConfig
from models.estimators import NetworkOracle, oracle, unsupported
from models.foreign import stateless
from models.inspection import membrane_support
from models.network import SpikingClassifier
from models.surrogates import SURROGATES

__all__ = [
    "ARCHITECTURES",
    "SURROGATES",
    "GradientEstimator",
    "InputSpec",
    "ModelConfig",
    "NetworkOracle",
    "NeuronConfig",
    "SpikingClassifier",
    "build_model",
    "compile_layers",
    "membrane_support",
    "oracle",
    "stateless",
    "unsupported",
]
