"""A trained flow from its run folder, in one line."""

from typing import NamedTuple

import torch

from flowrepro.config.schema import Config
from flowrepro.errors import CheckpointError
from flowrepro.flows.core import Flow
from flowrepro.flows.models import build
from flowrepro.runs import checkpoints
from flowrepro.runs.folder import Run, find, runs_folder
from flowrepro.runs.manifest import manifest


class Loaded(NamedTuple):
    """A trained flow and the config it was trained with."""

    flow: Flow
    config: Config


def load(run: str = "latest", checkpoint: str = "best", output_dir: str = "outputs") -> Loaded:
    """The trained flow of a run and its config, on the CPU: `flow, config = flowrepro.load("latest")`.

    See `Flow` for log_prob, sample, latents, embed, reconstruct and components.

    Args:
        run: `latest`, a run's name or how it begins, or its folder.
        checkpoint: `best` (by held-out log-likelihood) or `last`.
        output_dir: where `runs/` is.

    Raises:
        UsageError: no such run.
        CheckpointError: the checkpoint is missing or damaged.
    """
    found = find(run, runs_folder(output_dir))
    return Loaded(load_flow(found, checkpoint), found.config)


class Trained(NamedTuple):
    """A flow, the step of its checkpoint, and the digest of the bytes it was read from."""

    flow: Flow
    step: int | None
    digest: str


def load_flow(run: Run, checkpoint: str) -> Flow:
    """The flow of a run's checkpoint; raises what `opened` raises."""
    return opened(run, checkpoint).flow


def opened(run: Run, checkpoint: str) -> Trained:
    """The flow of a run's checkpoint, built from the run's config and the checkpoint alone.

    For a flow trained layer by layer, only the layers that were active.
    """
    config = run.config
    path = run.checkpoint(checkpoint)
    state, digest = checkpoints.opened(path)
    weights = state.get("flow")
    if not isinstance(weights, dict) or not weights:
        raise CheckpointError(f"{path} holds no flow; retrain with overwrite=true")
    shape = tuple(state.get("shape") or (state.get("dim", 0),))
    dtype = getattr(torch, config.dtype)
    flow = build(config.model, shape, state.get("levels"), torch.Generator(), dtype)
    try:
        flow.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} does not fit the model of its config.yaml; retrain with overwrite=true"
        ) from error
    active = flow.slice(state.get("active_layers")).eval().requires_grad_(False)
    active.columns = tuple(manifest(run).get("columns", ()))
    return Trained(active, state.get("step"), digest)
