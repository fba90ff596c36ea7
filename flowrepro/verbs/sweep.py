"""`train -m`: one run per combination of values, one table and one plot; finished runs are left alone."""

import hashlib
import json
import os
import re
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flowrepro.config.compose import check_words, compose, expand, hydra_at, search_path
from flowrepro.config.quoting import quoted
from flowrepro.config.reading import from_tree
from flowrepro.config.schema import Config
from flowrepro.errors import (
    FlowreproError,
    Held,
    NotFinite,
    Stopped,
    SweepFailed,
    UsageError,
    ours,
    translated,
)
from flowrepro.output import forgiving
from flowrepro.runs.folder import Run, run_of
from flowrepro.training.signals import SWEEP, follow_sweep
from flowrepro.writing import remove_leftovers, write_text

COLUMNS = [
    "train_log_prob",
    "train_se",
    "val_log_prob",
    "val_se",
    "train_bits_per_dim",
    "val_bits_per_dim",
    "best_val_log_prob",
    "val_non_finite",
    "step",
    "minutes",
]
# of the samples, by feature network
MEASURED = ("frechet_", "tuned_", "floor_")
# the state of a job that another process is training
HELD = "held"
WAIT_SECONDS = 1.0
# not printed for images, whose bits/dim tell the same
NATS = ("train_log_prob", "val_log_prob", "val_se", "best_val_log_prob")


def sweep(words: list[str], config_dirs: list[Path]) -> int:
    """Train every job of a sweep and write `outputs/sweeps/<hash>/{sweep.csv,sweep.png}`.

    All jobs are composed before the first is trained, so that a typo costs nothing. A failed job is reported at
    once and the others continue; afterwards SweepFailed (exit code 6) counts the failures.
    """
    if custom := [w for w in words if w.startswith("hydra/sweeper")]:
        raise UsageError(f"{custom[0]}: a sweep is the grid of its values; leave it out")
    jobs = expand([w for w in words if not w.startswith("hydra")], config_dirs)
    configs = [compose(job, config_dirs) for job in jobs]
    folder = Path(configs[0].output_dir) / "sweeps" / _name(configs)
    if configs[0].dry_run:
        print(f"{len(jobs)} jobs, table and plot in {folder}")
        for job in jobs:
            print("  " + " ".join(job))
        return 0
    launching = [*(w for w in words if w.startswith("hydra")), f"hydra.sweep.dir={quoted(str(folder))}"]
    with _launcher(launching, config_dirs):
        pass  # one that is not there is told before anything is written
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    print(f"{len(jobs)} jobs, table and plot in {folder}")
    rows = _launch_all(jobs, [run_of(config) for config in configs], launching, config_dirs)
    rows = [{"overrides": " ".join(_swept(words, job)), **row} for job, row in zip(jobs, rows, strict=True)]
    _report(rows, folder, _swept(words, jobs[0]), bits=all(c.model.takes_images for c in configs))
    if failed := [row for row in rows if row["state"] not in ("completed", "paused")]:
        raise SweepFailed(
            f"{len(failed)} of {len(jobs)} jobs failed or diverged; "
            "rerun without overwrite=true to retry those that failed"
        )
    if lost := [row["overrides"] for row in rows if row.get("val_non_finite")]:
        raise NotFinite(
            f"log-likelihoods of held-out rows are not finite in {len(lost)} of {len(jobs)} jobs ({lost[0]}); "
            "the column val_non_finite counts them"
        )
    return 0


def _launch_all(
    jobs: list[list[str]], runs: list[Run], launching: list[str], config_dirs: list[Path]
) -> list[dict[str, Any]]:
    """The row of every job; those that another process is training come last, when it has let go of them."""
    rows: dict[int, dict[str, Any]] = {}
    told = False
    while left := [i for i in range(len(jobs)) if i not in rows]:
        if ready := [i for i in left if not runs[i].in_use]:
            found = zip(ready, _launch([jobs[i] for i in ready], launching, config_dirs), strict=True)
            rows |= {i: row for i, row in found if row["state"] != HELD}
        else:
            if not told:
                print(f"waiting for {len(left)} jobs that another process is training", flush=True)
            told = True
            time.sleep(WAIT_SECONDS)
    return [rows[i] for i in range(len(jobs))]


def _launch(jobs: list[list[str]], launching: list[str], config_dirs: list[Path]) -> list[dict[str, Any]]:
    """The launcher with the arguments `launching` runs `job` once for each of the jobs.

    The jobs have been expanded already: a sweep that Hydra expanded again might be in another order.
    """
    os.environ[SWEEP] = str(os.getpid())
    with _launcher(launching, config_dirs) as launcher:
        returned = launcher.launch([check_words(words, config_dirs) for words in jobs], 0)
    return [job_return.return_value for job_return in returned]


@contextmanager
def _launcher(launching: list[str], config_dirs: list[Path]) -> Iterator[Any]:
    """Hydra's launcher (basic, joblib, submitit). Raises UsageError for one that is not installed."""
    from hydra._internal.callbacks import Callbacks
    from hydra.core.plugins import Plugins
    from hydra.types import HydraContext, RunMode

    overrides = [
        *search_path(config_dirs),
        *check_words(launching, config_dirs),
        "hydra.sweep.subdir=.",
        "hydra.output_subdir=null",
        "hydra/job_logging=none",
        "hydra/hydra_logging=none",
    ]
    with ours(), hydra_at() as hydra:
        config = hydra.compose_config("config", overrides, RunMode.MULTIRUN, with_log_configuration=False)
        context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(config))
        yield Plugins.instance().instantiate_launcher(hydra_context=context, task_function=job, config=config)


def job(tree: Any) -> dict[str, Any]:
    """One job: train, and return a row of the table; its `distances`, if any, are a table of their own.

    A failure is a row too; only a signal ends the sweep.
    """
    from omegaconf import OmegaConf

    follow_sweep()
    plain = OmegaConf.to_container(tree, resolve=True)
    assert isinstance(plain, dict)
    config = from_tree({str(k): v for k, v in plain.items()})
    with forgiving():
        return _row(config)


def _row(config: Config) -> dict[str, Any]:
    from flowrepro.training.loop import train

    try:
        row = train(config)
        return row | _distances(config) if row["state"] == "completed" else row
    except Stopped as stop:
        print(f"flowrepro: {stop}")
        raise SystemExit(stop.code) from stop
    except Held as error:
        return {"state": HELD, "error": str(error)}
    except Exception as error:
        if (known := translated(error)) is None:
            traceback.print_exc()
            return {"state": "failed", "error": f"{type(error).__name__}: {error}"}
        print(f"FAILED: {known}", flush=True)
        return {"state": "diverged" if known.code == 5 else "failed", "error": str(known)}


def _distances(config: Config) -> dict[str, Any]:
    """The Fréchet distances of a run's samples, if the models of the sweep have a manifold or a network is named."""
    from flowrepro.device import choose_device
    from flowrepro.verbs import distances

    try:
        options = distances.options(config)
        if not options["networks"]:
            return {}
        # the last checkpoint is the one whose bits/dim are in the table
        frame = distances.of_run(
            run_of(config), "last", options, choose_device(config.device, config.threads)
        )
    except FlowreproError as error:
        print(f"no distances: {error}", flush=True)
        return {"error": str(error)}
    return {**distances.columns(frame), "distances": frame}


def _name(configs: list[Config]) -> str:
    tree = json.dumps([c.identity for c in configs], sort_keys=True)
    return (
        f"{configs[0].dataset.name}-{configs[0].model.name}-{hashlib.sha256(tree.encode()).hexdigest()[:8]}"
    )


def _swept(words: list[str], job: list[str]) -> list[str]:
    """The arguments that differ between jobs; all of them if nothing is swept."""
    return [
        new
        for old, new in zip((w for w in words if not w.startswith("hydra")), job, strict=True)
        if old != new
    ] or job


def _report(rows: list[dict[str, Any]], folder: Path, swept: list[str], bits: bool) -> None:
    """Write and print the table, draw the plot over the first swept key, in bits/dim if `bits`."""
    import pandas as pd

    from flowrepro.pictures.style import save
    from flowrepro.pictures.sweeps import sweep_curve

    found = [row.pop("distances").assign(overrides=row["overrides"]) for row in rows if "distances" in row]
    table = pd.DataFrame(rows)
    if not table.get("val_non_finite", pd.Series(dtype=float)).any():
        table = table.drop(columns="val_non_finite", errors="ignore")
    measured = [c for c in table if str(c).startswith(MEASURED)]
    order = ["overrides", "state", *COLUMNS, *measured, "run", "error"]
    table = table.reindex(columns=[c for c in order if c in table])
    write_text(folder / "sweep.csv", table.to_csv(index=False))
    hidden = ("error", "train_se", "minutes", *(NATS if bits else ()))
    print(table[[c for c in table if c not in hidden]].to_string(index=False))
    print(f"table  {folder / 'sweep.csv'}")
    distances = pd.concat(found, ignore_index=True) if found else None
    if distances is not None:
        write_text(folder / "distances.csv", distances.to_csv(index=False))
        print(f"       {folder / 'distances.csv'}")
    key = swept[0].partition("=")[0] if swept else "overrides"
    done = table[table.state == "completed"].copy()
    if len(done) and "val_log_prob" in done:
        # values may hold spaces
        words = [[w.partition("=")[::2] for w in re.split(r" (?=[\w./+]+=)", o)] for o in done.overrides]
        done[key] = [dict(pairs).get(key, o) for pairs, o in zip(words, done.overrides, strict=True)]
        save(sweep_curve(done, key, bits, folder.name, distances), folder / "sweep.png")
    print(f"plot   {folder / 'sweep.png'}")
