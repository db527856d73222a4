"""Whether a suite that asks for the exact judge can have it, told before anything is attacked."""

from models import SpikingClassifier
from models.digits import InexactError
from models.exact import exact
from pipeline.errors import ConfigError


def require_exact(network: SpikingClassifier, suite: str) -> None:
    """Make sure that a network has an exact twin.

    Args:
        network: With any weights.
        suite: Name of the suite that judges by it, for the message.

    Raises:
        ConfigError: It has none; the message names the layer.
    """
    try:
        exact(network)
    except InexactError as error:
        raise ConfigError(
            f"suite '{suite}' asks for the exact judge (docs/exact.md), which cannot judge this "
            f"network: {error}; use a suite that says `judge: plain`"
        ) from error
