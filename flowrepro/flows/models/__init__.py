"""The models: one registry, from the name in a config to the builder of a whole flow, its base included."""

from collections.abc import Callable
from typing import Any

import torch

from flowrepro.errors import UsageError
from flowrepro.flows.activations import Asinh, Softplus
from flowrepro.flows.core import Flow
from flowrepro.flows.models import images, nif, qlf, vectors

# (config, shape, grey_levels, generator, dtype) -> Flow, as `build` has it
MODELS: dict[str, Callable[..., Flow]] = {
    "linear": vectors.linear,
    "dense_asinh": vectors.dense(Asinh),
    "dense_softplus": vectors.dense(Softplus),
    "realnvp": vectors.realnvp,
    "coupling": vectors.coupling,
    "glow": images.glow,
    "nf": images.nf,
    "nif": nif.nif,
    "nif_deep": nif.nif_deep,
    "realnvp_images": images.realnvp_images,
    "qlf": qlf.qlf,
    "qlf_vectors": qlf.qlf_vectors,
}


def build(
    config: Any,
    shape: tuple[int, ...],
    grey_levels: int | None,
    generator: torch.Generator,
    dtype: torch.dtype,
) -> Flow:
    """The untrained flow of a model config, its randomness from `generator` (on the CPU).

    Layers that want the training data get it afterwards by `flow.init_from(x)`.

    Args:
        shape: of a sample: (D,), or (C, H, W) where the model takes images.
        grey_levels: of the images, by default 256; ignored for vectors.

    Raises:
        UsageError: unknown model, samples of the wrong kind, or a value that does not fit their size.
    """
    if config.name not in MODELS:
        raise UsageError(f"model={config.name} is unknown; known: {', '.join(MODELS)}")
    if len(shape) != (3 if config.takes_images else 1) or min(shape) < 1:
        wanted = "images (C, H, W)" if config.takes_images else "vectors of at least one dimension"
        raise UsageError(f"model={config.name} needs {wanted}, not samples of shape {tuple(shape)}")
    return MODELS[config.name](config, shape, grey_levels or 256, generator, dtype)
