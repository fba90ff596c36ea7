"""`flowrepro train`: one run, a figure's runs, or a dry run."""

import time
from typing import Any

import torch

from flowrepro.config.compose import compose
from flowrepro.config.identity import run_name
from flowrepro.config.reading import to_tree
from flowrepro.config.schema import Config
from flowrepro.device import choose_device
from flowrepro.errors import DataError, Diverged, UsageError
from flowrepro.training.loop import backward, train
from flowrepro.verbs import pool

TRIAL_SAMPLES = 1024


def run(config: Config, overrides: list[str]) -> None:
    """Do what a `train` command line asks for."""
    if config.run:
        raise UsageError("train takes no run=: the same words find the same run again")
    if config.figure:
        train_figure(config, overrides)
    elif config.dry_run:
        dry_run(config)
    else:
        train(config)


def train_figure(config: Config, overrides: list[str]) -> None:
    """Train the runs of a figure at a scale; one line where it has none. A run that diverges is a finding.

    Raises:
        SweepFailed: some runs failed.
    """
    from flowrepro.figures.build import missing_runs
    from flowrepro.figures.catalogue import load_spec

    spec = load_spec(config.figure)
    planned = spec.planned(config.scale.name)
    runs = [[*one.words, *kept(overrides)] for one in planned]
    if not runs:
        print(f"{config.figure} needs no trained runs; next: flowrepro evaluate figure={config.figure}")
    elif config.jobs > 1 and not config.dry_run:
        # a process for each run that has ended would only find that out
        left = planned if config.overwrite else missing_runs(spec, config)
        print(f"{len(planned) - len(left)} of {len(planned)} runs have ended before")
        if left:
            pool.train_all([[*one.words, *kept(overrides)] for one in left], config.jobs)
    else:
        for number, words in enumerate(runs, 1):
            print(f"--- {config.figure}: run {number} of {len(runs)}")
            _train_one(compose(words))


def _train_one(config: Config) -> None:
    if config.dry_run:
        return dry_run(config)
    try:
        train(config)
    except Diverged as error:
        print(error)


def kept(overrides: list[str]) -> list[str]:
    """Of a command's words, those that a figure leaves to it: where and how, not what."""
    return [
        w for w in overrides if w.split("=")[0] in ("output_dir", "device", "threads", "overwrite", "dry_run")
    ]


def dry_run(config: Config) -> None:
    """Print what a run would be and cost; leaves nothing behind."""
    from omegaconf import OmegaConf

    from flowrepro.data import check, to_fetch

    device = choose_device(config.device, config.threads)
    print(OmegaConf.to_yaml(OmegaConf.create(to_tree(config))), end="")
    print(f"run        {run_name(config)}")
    try:
        print(f"data       {check(config.dataset)}")
    except DataError as error:
        print(f"data       NOT THERE: {error}")
        return
    if to_fetch(config.dataset):
        print("time       can be told when they are there")
        return
    for line in _costs(config, device):
        print(line)


def _costs(config: Config, device: str, trial_steps: int = 3) -> list[str]:
    """Parameters, steps, and time and memory from a few steps."""
    from flowrepro.data import load_data
    from flowrepro.training.session import Session

    session = Session(config, load_data(config, trial=max(TRIAL_SAMPLES, config.training.batch_size)), device)
    # of layers that are added one by one, half are there on average
    stage = session.plan[len(session.plan) // 2]
    session.enter(stage)
    seconds: list[float] = []
    for step in range(trial_steps + 1):
        began = time.monotonic()
        backward(session, stage, stage.start + step)
        seconds.append(time.monotonic() - began)
    step_seconds = min(seconds[1:])
    parameters = sum(p.numel() for p in session.flow.parameters())
    size = next(session.flow.parameters()).element_size()
    minutes = step_seconds * config.training.steps / 60
    return [
        f"parameters {parameters:,}",
        f"steps      {config.training.steps} of {config.training.batch_size} samples",
        f"time       about {minutes:.1f} minutes ({1000 * step_seconds:.1f} ms a step, {trial_steps} tried here)",
        f"memory     about {_memory(device, 4 * parameters * size):.0f} MB (weights, gradients, moments, activations)",
    ]


def _memory(device: str, weights: int) -> float:
    """Peak memory in MB: of the GPU, or of this process after the trial steps."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    import resource

    peak: Any = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return max(weights / 1e6, peak / 1e3)
