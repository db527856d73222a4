"""Imports torchvision, also where its compiled operators do not fit the installed torch.

A torchvision built for CUDA beside a torch built for the CPU fails on import with "operator
torchvision::nms does not exist". Data sets need no compiled operator, so declaring the
schemas that the import looks up is enough.
"""

import functools
import importlib
import sys
from typing import Any

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@functools.cache
def torchvision_datasets() -> Any:
    """The module `torchvision.datasets`."""
    try:
        return importlib.import_module("torchvision.datasets")
    except RuntimeError as error:
        # Declaring beforehand would clash with a torchvision whose operators do load.
        if "torchvision::nms does not exist" not in str(error):
            raise
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    library: Any = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(operator + _SCHEMA)
    module: Any = importlib.import_module("torchvision.datasets")
    # The declarations live as long as the library object does.
    module.declared_operators = library
    return module
