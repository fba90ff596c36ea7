"""`flowrepro train`: one run, a figure's runs, or a dry run."""

from flowrepro.config.compose import compose
from flowrepro.config.schema import Config
from flowrepro.errors import Diverged
from flowrepro.training.loop import train
from flowrepro.verbs import dry_run, pool


def run(config: Config, overrides: list[str]) -> None:
    """Carry out a `train` command line."""
    if config.figure:
        train_figure(config, overrides)
    elif config.dry_run:
        dry_run.train(config)
    else:
        train(config)


def train_figure(config: Config, overrides: list[str]) -> None:
    """Train the runs of a figure at a scale; print one line if it has none. A run that diverges is a finding.

    Raises:
        SweepFailed: some runs failed.
    """
    from flowrepro.figures.build import missing_runs
    from flowrepro.figures.catalogue import load_spec

    spec = load_spec(config.figure)
    planned = spec.planned(config.scale.name)
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
        left = planned if config.overwrite else missing_runs(spec, config)
        print(f"{len(planned) - len(left)} of {len(planned)} runs were already trained")
        if left:
            pool.train_all([[*one.words, *kept(overrides, one.config)] for one in left], config.jobs)
    else:
        for number, words in enumerate(runs, 1):
            print(f"--- {config.figure}: run {number} of {len(runs)}")
            try:
                train(compose(words))
            except Diverged as error:
                print(error)


def kept(overrides: list[str], planned: Config) -> list[str]:
    """The arguments that a figure leaves open: where and how its runs are trained, not what they are."""
    keys = ["output_dir", "device", "threads", "overwrite"]
    # for data sets that can be downloaded
    keys += ["dataset.download"] if hasattr(planned.dataset, "download") else []
    return [word for word in overrides if word.lstrip("+").partition("=")[0] in keys]
