"""Data sets: training and held-out samples in their own units, as vectors or as dequantised images.

Nothing is centred here: the first layers of a flow do that.
"""

from typing import Any

import torch

from flowrepro.config.schema import ArrayConfig, Config, ToyConfig
from flowrepro.data import array
from flowrepro.data.images import ImageData, load_images
from flowrepro.data.pixels import SETS
from flowrepro.data.remarks import scale_remark
from flowrepro.data.vectors import Data, load

__all__ = ["Data", "ImageData", "check", "load", "load_data", "load_images", "notes", "to_fetch"]


def load_data(config: Any, dtype: str, seed: int, images: bool, trial: int = 0) -> Data | ImageData:
    """The data of a dataset config in the form the model takes: images or vectors. Raises what these two raise.

    Args:
        config: the dataset config.
        dtype: float32 or float64.
        seed: of the dequantisation noise of images.
        images: whether the model takes images.
        trial: if not 0, load only this many training samples, possibly random ones: enough to time a step.
    """
    if images:
        return load_images(config, getattr(torch, dtype), seed, trial)
    return load(config, getattr(torch, dtype), trial)


def check(config: Any) -> str:
    """One line on whether the data are available, without reading all of them or downloading any.

    Raises:
        DataError: they are missing and not to be downloaded, or damaged.
    """
    if isinstance(config, ToyConfig):
        return f"{config.name}: {config.n_train} + {config.n_val} points, sampled"
    if isinstance(config, ArrayConfig):
        return array.described(config.path, array.read(config))
    if absent := to_fetch(config):
        return f"{config.name}: to be downloaded: {', '.join(absent)}"
    return f"{config.name}: {SETS[config.name].source(config).note}"


def notes(data: Data | ImageData, config: Config) -> tuple[str, ...]:
    """What a user should know about their own data before training: a line each."""
    if not isinstance(config.dataset, ArrayConfig) or isinstance(data, ImageData):
        return ()
    scale = "" if getattr(config.model, "standardize", False) else scale_remark(data.train)
    return (*data.notes, scale) if scale else data.notes


def to_fetch(config: Any) -> list[str]:
    """The official files that a run would download first."""
    return SETS[config.name].absent(config) if getattr(config, "download", False) else []
