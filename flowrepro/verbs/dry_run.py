"""`dry_run=true`: what a command would do and cost. It only reads, and leaves nothing behind."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from flowrepro.config.reading import to_tree
from flowrepro.config.schema import Config, EvaluationConfig
from flowrepro.data import ImageData, check, load_data
from flowrepro.device import choose_device, wait_for
from flowrepro.errors import DataError
from flowrepro.runs.data import found_config
from flowrepro.runs.folder import Run, run_of
from flowrepro.training.bfloat16 import slow_bf16
from flowrepro.training.continuing import can_continue, continues_from, shorter
from flowrepro.training.large_vectors import LARGE, large_vectors
from flowrepro.training.loop import backward
from flowrepro.training.session import Session

TRIAL_SAMPLES, TRIAL_STEPS = 1024, 3
# training options that change the number of steps, or nothing that a step costs
CHEAP = ("lr", "final_lr", "steps", "steps_per_layer")
NO_ESTIMATE = "no estimate until the data are available"


@dataclass(frozen=True)
class Cost:
    """Measured on a few steps of a run: seconds per step, and peak memory in bytes."""

    parameters: int
    step_seconds: float
    memory: float


def train(config: Config) -> None:
    """Print what a run would do and cost, in a few lines; with `debug=true` after the resolved config."""
    if config.debug:
        print(resolved(config), end="")
    run, training = run_of(config), config.training
    print(f"run        {run.path} ({_progress(run)})", flush=True)
    print(f"data       {_data(config)}", flush=True)
    device = choose_device(config.device, config.threads)
    other = None if run.begun or config.overwrite else shorter(run, config, device)
    if other is not None:
        print(continues_from(other))
    if remark := slow_bf16(config, device):
        print(f"note       {remark}")
    cost = estimate(config)
    if isinstance(cost, Cost):
        print(f"parameters {cost.parameters:,}")
    print(f"steps      {training.steps:,} of {training.batch_size:,} samples")
    if isinstance(cost, Cost):
        each = f"{1000 * cost.step_seconds:.1f} ms per step, from a trial of {TRIAL_STEPS} steps"
        left = training.steps - (other.config.training.steps if other else 0)
        print(f"time       {_minutes(cost.step_seconds * left)} ({each})")
        print(f"memory     about {cost.memory / 1e6:.0f} MB (weights, gradients, moments, activations)")
    else:
        print(f"time       {cost}")


def train_figure(title: str, runs: dict[str, Config]) -> None:
    """Print one line per run of a figure, with its label, and the total for those still to be trained."""
    print(f"{title}: {len(runs)} runs", flush=True)
    costs: dict[str, Cost | str] = {}
    left: list[float | None] = []
    for label, config in runs.items():
        run = run_of(config)
        told = _progress(run)
        if not run.ended or config.overwrite:
            if (alike := _alike(config)) not in costs:
                costs[alike] = estimate(config)
            cost = costs[alike]
            steps = config.training.steps - _taken(config, runs.values())
            known = cost.step_seconds * steps if isinstance(cost, Cost) else None
            left.append(known)
            told += f", {cost if known is None else _minutes(known)}"
        print(f"  {label:<28} {config.training.steps:>7,} steps  {run.name}  {told}", flush=True)
    for line in dict.fromkeys(map(_data, runs.values())):
        print(f"data   {line}")
    unknown = f", plus {left.count(None)} without an estimate," if None in left else ""
    total = _minutes(sum(seconds for seconds in left if seconds is not None))
    print(f"total  {total}{unknown} for {len(left)} of {len(runs)} runs, one after another")


def evaluate(run: Run, path: str, wanted: EvaluationConfig, folder: Path) -> None:
    """Print what `evaluate` would measure on a run, and where it would write it; `path` is where its own data are now."""
    images = run.config.model.takes_images
    more = (
        f"{wanted.draws} draws of the dequantisation noise"
        if images
        else f"components of {wanted.n_components:,} points"
    )
    if images and wanted.distances not in ("auto", "none"):
        more += f", distances on {wanted.distances}"
    own = ["log_prob.csv"] if getattr(run.config.dataset, "path", "") else []
    last = "layers.csv" if images else "components.npz"
    files = ("likelihood.csv", *own, "samples.npz", last, "measures.json")
    print(f"run        {run.path} ({_progress(run)}, {wanted.checkpoint} checkpoint)")
    print(f"data       {_data(found_config(run, path))}")
    print(f"measures   likelihood, {wanted.n_samples:,} samples, {more}")
    print(
        f"writes     {', '.join(files)} in {folder}{', replacing those there' if (folder / files[-1]).exists() else ''}"
    )


def evaluate_figure(config: Config) -> None:
    """Print which runs of a figure are trained, and where its table and claims would be written."""
    from flowrepro.figures import build, store
    from flowrepro.figures.catalogue import load_spec

    if config.claims != "measure":
        return _claims(config)
    spec, scale = load_spec(config.figure), config.scale.name
    runs, missing = spec.planned(scale), build.missing_runs(spec, config)
    print(f"{spec.key} at scale {scale}: {len(runs) - len(missing)} of {len(runs)} runs are trained")
    if missing:
        print(f"first      flowrepro train figure={spec.key} scale={scale}")
    folder = store.folder_of(Path(config.output_dir), spec.key, scale)
    print(f"writes     table.csv, claims.csv, arrays.npz, provenance.json in {folder}")


def _claims(config: Config) -> None:
    """Print which stored claims would be verified or judged again."""
    from flowrepro.figures import store
    from flowrepro.figures.catalogue import keys, load_spec

    outputs = Path(config.output_dir)
    wanted = keys() if config.figure == "all" else [load_spec(config.figure).key]
    for key in wanted:
        for scale in store.scales_there(outputs, key):
            print(f"would {config.claims} {store.folder_of(outputs, key, scale) / 'claims.csv'}")


def plot_figure(config: Config) -> None:
    """Print which pictures would be drawn. Raises UsageError if the figure has not been evaluated."""
    from flowrepro.figures import store
    from flowrepro.figures.catalogue import keys

    outputs, whole = Path(config.output_dir), config.figure == "all"
    there = [(key, scale) for key in keys() for scale in store.scales_there(outputs, key)]
    if whole and config.single:
        print(f"would write {outputs / 'report' / 'flowrepro.html'}")
        return
    for key, scale in there if whole else [(config.figure, config.scale.name)]:
        folder = store.folder_of(outputs, key, scale)
        if whole and not (folder / "arrays.npz").exists():
            continue
        store.load_arrays(folder, key, scale)
        print(f"would draw {folder / f'figure.{config.format}'}")
    if whole:
        print(f"would write {outputs / 'report' / 'index.html'} and the README's results")


def resolved(config: Config) -> str:
    """All values of a config, as YAML."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(to_tree(config)))


def estimate(config: Config) -> Cost | str:
    """The cost of a few steps on this machine; or why there is none: the data are missing, or a trial would take long."""
    device = choose_device(config.device, config.threads)
    trial = max(TRIAL_SAMPLES, config.training.batch_size)
    try:
        data = load_data(config.dataset, config.dtype, config.seed, config.model.takes_images, trial)
    except DataError:
        return NO_ESTIMATE
    if not isinstance(data, ImageData) and data.dim > LARGE:
        why = f"vectors of {data.dim:,} dimensions, of which a few steps take minutes"
        return f"no estimate: {large_vectors(data, config.model.name) or why}"
    session = Session(config, data, device)
    # where layers are added one by one, half of them are active on average
    stage = session.plan[len(session.plan) // 2]
    session.enter(stage)
    seconds: list[float] = []
    for step in range(TRIAL_STEPS + 1):
        began = time.monotonic()
        backward(session, stage, stage.start + step)
        wait_for(device)
        seconds.append(time.monotonic() - began)
    weights = list(session.flow.parameters())
    return Cost(sum(p.numel() for p in weights), min(seconds[1:]), _memory(device, weights))


def _alike(config: Config) -> str:
    """What a step's cost depends on: the same for runs of other seeds, learning rates and lengths."""
    parts: dict[str, Any] = {**config.identity, "seed": None}
    parts["dataset"] = {**parts["dataset"], "seed": None}
    parts["training"] = {k: v for k, v in parts["training"].items() if k not in CHEAP}
    return json.dumps(parts, sort_keys=True)


def _taken(config: Config, runs: Iterable[Config]) -> int:
    """The steps that a run need not take if those of these that it can continue from are trained before it."""
    others = [] if config.overwrite else [other for other in runs if can_continue(config, other)]
    return max((other.training.steps for other in others), default=0)


def _memory(device: str, weights: list[torch.nn.Parameter]) -> float:
    """Peak memory in bytes, on the GPU or of this process; at least weights, gradients and two moments."""
    held = sum(p.numel() * p.element_size() for p in weights)
    if device == "cuda":
        # the trial makes no step of the optimizer, and so no moments
        return float(torch.cuda.max_memory_allocated() + 2 * held)
    import resource

    peak: Any = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(max(4 * held, 1024 * peak))


def _data(config: Config) -> str:
    try:
        return check(config.dataset)
    except DataError as error:
        # a user's own file cannot be downloaded: nothing but another command helps
        if hasattr(config.dataset, "path"):
            raise
        return f"{config.dataset.name} not found: {str(error).removeprefix('missing: ')}"


def _progress(run: Run) -> str:
    state = run.state
    return state if state in ("new", "completed") else f"{state} at step {run.status.get('step') or 0:,}"


def _minutes(seconds: float) -> str:
    if seconds < 60:
        return "under a minute"
    return f"about {seconds / 60:,.0f} minutes" if seconds < 7200 else f"about {seconds / 3600:,.1f} hours"
