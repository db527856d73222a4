"""Numbers about networks: gradient sparsity and vulnerability."""

from pipeline.metrics.sparsity import gradient_sparsity
from pipeline.metrics.vulnerability import vulnerability

__all__ = ["gradient_sparsity", "vulnerability"]
