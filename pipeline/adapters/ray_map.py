"""A function over a list, on whatever the connected Ray cluster has free."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import ray
from ray.exceptions import RayTaskError

from pipeline.errors import ConfigError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def ray_map(function: Callable[[_Item], _Result], items: list[_Item]) -> Iterator[_Result]:
    """The function's results, in order; twice as many calls are under way as there are CPUs.

    Raises:
        ConfigError: As the function raised it.
    """
    remote = ray.remote(num_cpus=1)(_call)
    at_once = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
    waiting: deque[Any] = deque()
    try:
        for item in items:
            if len(waiting) == at_once:
                yield _result(waiting.popleft())
            waiting.append(remote.remote(function, item))
        while waiting:
            yield _result(waiting.popleft())
    finally:
        for reference in waiting:
            ray.cancel(reference)


def _call(function: Callable[[_Item], _Result], item: _Item) -> _Result:
    return function(item)


def _result(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, ConfigError):
            raise error.cause from None
        raise
