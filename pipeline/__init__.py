"""Spikeproof: training, attacking and comparing spiking neural networks."""

__version__ = "0.1.0"
