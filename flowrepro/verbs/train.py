"""`flowrepro train`: one run, a figure's runs, or a dry run."""

import time
from typing import TYPE_CHECKING, Any

from flowrepro.config.compose import compose
from flowrepro.config.schema import Config
from flowrepro.errors import Diverged, Held, NotFinite
from flowrepro.runs.folder import run_of
from flowrepro.training.loop import train
from flowrepro.training.validation import not_finite
from flowrepro.verbs import dry_run, pool

if TYPE_CHECKING:
    from flowrepro.figures.catalogue import PlannedRun

# between looks at runs that another process is training
WAIT_SECONDS = 1.0


def run(config: Config, overrides: list[str]) -> None:
    """Carry out a `train` command line."""
    if config.figure:
        train_figure(config, overrides)
    elif config.dry_run:
        dry_run.train(config)
    else:
        check_finite(train(config))


def check_finite(result: dict[str, Any]) -> None:
    """Raise NotFinite if held-out rows of a trained run have no finite log-likelihood."""
    if count := result.get("val_non_finite"):
        raise NotFinite(
            f"{not_finite(result['val_n'], count, result['val_lost'])}; the best checkpoint, of step "
            f"{result['best_step']}, is chosen by the others; check these rows of the data"
        )


def train_figure(config: Config, overrides: list[str]) -> None:
    """Train the runs of a figure at a scale; print one line if it has none. A run that diverges is a finding.

    Raises:
        SweepFailed: some runs failed.
    """
    from flowrepro.figures.build import missing_runs
    from flowrepro.figures.catalogue import load_spec

    spec = load_spec(config.figure)
    planned = shorter_first(spec.planned(config.scale.name))
    runs = [[*one.words, *kept(overrides, one.config)] for one in planned]
    if not runs:
        print(
            f"{config.figure} needs no training; "
            f"next: flowrepro evaluate figure={config.figure} scale={config.scale.name}"
        )
    elif config.dry_run:
        labels = [f"{one.case}, seed {one.seed}" for one in planned]
        title = f"{config.figure} at scale {config.scale.name}"
        dry_run.train_figure(title, dict(zip(labels, map(compose, runs), strict=True)))
    elif config.jobs > 1:
        # starting a process for a run that has ended would only discover that it has
        left = planned if config.overwrite else shorter_first(missing_runs(spec, config))
        print(f"{len(planned) - len(left)} of {len(planned)} runs were already trained")
        if left:
            commands = [[*one.words, *kept(overrides, one.config)] for one in left]
            pool.train_all(
                commands, config.jobs, [run_of(one.config, config.output_dir).path for one in left]
            )
    else:
        _train_in_turn(config.figure, [compose(words) for words in runs])


def shorter_first(runs: "list[PlannedRun]") -> "list[PlannedRun]":
    """Runs in such an order that longer ones find the shorter ones that they can continue from."""
    return sorted(runs, key=lambda one: one.config.training.steps)


def _train_in_turn(figure: str, configs: list[Config]) -> None:
    """Train runs one after another; those that another process is training come last, when it has let go of them."""
    left = dict(enumerate(configs, 1))
    while left:
        ready = [number for number, config in left.items() if not run_of(config).in_use]
        for number in ready:
            print(f"--- {figure}: run {number} of {len(configs)}")
            try:
                train(left.pop(number))
            except Diverged as error:
                print(error)
            except Held as error:
                left[number] = configs[number - 1]
                print(error)
        if not ready:
            time.sleep(WAIT_SECONDS)


def kept(overrides: list[str], planned: Config) -> list[str]:
    """The arguments that a figure leaves open: where and how its runs are trained, not what they are."""
    keys = ["output_dir", "device", "threads", "overwrite"]
    # for data sets that can be downloaded
    keys += ["dataset.download"] if hasattr(planned.dataset, "download") else []
    return [word for word in overrides if word.lstrip("+").partition("=")[0] in keys]
