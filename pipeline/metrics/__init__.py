"""Numbers about networks: gradient sparsity, vulnerability, and what the audit asks."""

from pipeline.metrics.probe import probe
from pipeline.metrics.sparsity import gradient_sparsity
from pipeline.metrics.vulnerability import vulnerability

__all__ = ["gradient_sparsity", "probe", "vulnerability"]
