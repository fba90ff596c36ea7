"""The Inception network of the FID: the weights of 2015-12-05 (Heusel et al. 2017) in torch-fidelity's file."""

import os
from pathlib import Path
from typing import Any

from flowrepro.errors import DataError, UsageError
from flowrepro.features.network import FeatureNetwork
from flowrepro.features.weights import checked

FILE = "weights-inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
NUM_FEATURES = 2048
RESIZE = "bilinear as in TensorFlow 1, to 299x299, no antialias"
WAY = (
    f"download https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILE} "
    "and set FLOWREPRO_INCEPTION to its path"
)


def inception() -> FeatureNetwork:
    """The pool_3 features, from the file that FLOWREPRO_INCEPTION names.

    Raises:
        DataError: the file is not named, not there, or its SHA-256 is another.
        UsageError: the extra `fid` is not installed, or does not work here.
    """
    path = os.environ.get("FLOWREPRO_INCEPTION")
    if not path:
        raise DataError(f"FID needs Inception's weights: {WAY}")
    # torch.load, behind the library, takes a file of bytes as it takes a path
    weights: Any = checked(Path(path).expanduser(), SHA256, WAY)
    try:
        import torch_fidelity  # noqa: F401
        from torchmetrics.image.fid import NoTrainInceptionV3
    # torchvision raises a RuntimeError where it is of another build than torch
    except (ImportError, RuntimeError) as error:
        raise UsageError(f"FID needs the extra `fid`: pip install 'flowrepro[fid]' ({error})") from error
    body = NoTrainInceptionV3("inception-v3-compat", [str(NUM_FEATURES)], weights, antialias=False)
    return FeatureNetwork("inception", body, NUM_FEATURES, SHA256, RESIZE)
