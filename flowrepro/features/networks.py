"""The feature networks by name."""

from collections.abc import Callable

from flowrepro.config.schema import ImageConfig
from flowrepro.errors import UsageError, nearest
from flowrepro.features.classifier import classifier
from flowrepro.features.inception import inception
from flowrepro.features.lite0 import lite0
from flowrepro.features.network import FeatureNetwork

NETWORKS: dict[str, Callable[[ImageConfig], FeatureNetwork]] = {
    "inception": lambda config: inception(),
    "lite0": lambda config: lite0(),
    "classifier": classifier,
}


def feature_network(name: str, config: ImageConfig) -> FeatureNetwork:
    """A network by name; `config` is the data set that `classifier` is trained on. Raises what the network's file says."""
    if name not in NETWORKS:
        raise UsageError(f"unknown feature network '{name}'{nearest(name, NETWORKS)}")
    return NETWORKS[name](config)
