"""`train -m`: one run per combination of values, one table and one plot; finished runs are left alone."""

import hashlib
import json
import re
import traceback
from pathlib import Path
from typing import Any

from flowrepro.config.compose import check_words, compose, expand, hydra_at, search_path
from flowrepro.config.reading import from_tree
from flowrepro.config.schema import Config
from flowrepro.errors import FlowreproError, Stopped, SweepFailed
from flowrepro.runs.folder import run_of
from flowrepro.writing import write_text

COLUMNS = [
    "train_log_prob",
    "train_se",
    "val_log_prob",
    "val_se",
    "train_bits_per_dim",
    "val_bits_per_dim",
    "best_val_log_prob",
    "step",
    "minutes",
]
# of the samples, by feature network
MEASURED = ("frechet_", "tuned_", "floor_")
# not printed for images, whose bits/dim tell the same
NATS = ("train_log_prob", "val_log_prob", "val_se", "best_val_log_prob")


def sweep(words: list[str], config_dirs: list[Path]) -> int:
    """Train every job of a sweep and write `outputs/sweeps/<hash>/{sweep.csv,sweep.png}`.

    All jobs are composed before the first is trained, so that a typo costs nothing. A failed job is reported at
    once and the others continue; afterwards SweepFailed (exit code 6) counts the failures.
    """
    jobs = expand([w for w in words if not w.startswith("hydra")], config_dirs)
    configs = [compose(job, config_dirs) for job in jobs]
    folder = Path(configs[0].output_dir) / "sweeps" / _name(configs)
    if configs[0].dry_run:
        print(f"{len(jobs)} jobs, table and plot in {folder}")
        for job in jobs:
            print("  " + " ".join(job))
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{len(jobs)} jobs, table and plot in {folder}")
    rows = _launch(words, config_dirs, folder)
    rows = [{"overrides": " ".join(_swept(words, job)), **row} for job, row in zip(jobs, rows, strict=False)]
    _report(rows, folder, _swept(words, jobs[0]), bits=all(c.model.takes_images for c in configs))
    failed = [row for row in rows if row["state"] not in ("completed", "paused")]
    if failed or len(rows) < len(jobs):
        raise SweepFailed(
            f"{len(failed)} of {len(jobs)} jobs failed or diverged; "
            "rerun without overwrite=true to retry those that failed"
        )
    return 0


def _launch(words: list[str], config_dirs: list[Path], folder: Path) -> list[dict[str, Any]]:
    """Hydra's sweeper and launcher (basic, joblib, submitit) run `job` once per combination."""
    overrides = [
        *search_path(config_dirs),
        *check_words(words, config_dirs),
        f"hydra.sweep.dir={folder}",
        "hydra.sweep.subdir=.",
        "hydra.output_subdir=null",
        "hydra/job_logging=none",
        "hydra/hydra_logging=none",
    ]
    with hydra_at() as hydra:
        batches = hydra.multirun("config", job, overrides, with_log_configuration=False)
    return [job_return.return_value for batch in batches for job_return in batch]


def job(tree: Any) -> dict[str, Any]:
    """One job: train, and return a row of the table; its `distances`, if any, are a table of their own.

    A failure is a row too; only a signal ends the sweep.
    """
    from omegaconf import OmegaConf

    from flowrepro.training.loop import train

    plain = OmegaConf.to_container(tree, resolve=True)
    assert isinstance(plain, dict)
    config = from_tree({str(k): v for k, v in plain.items()})
    try:
        row = train(config)
        return row | _distances(config) if row["state"] == "completed" else row
    except Stopped as stop:
        print(f"flowrepro: {stop}")
        raise SystemExit(stop.code) from stop
    except FlowreproError as error:
        print(f"FAILED: {error}", flush=True)
        return {"state": "diverged" if error.code == 5 else "failed", "error": str(error)}
    except Exception as error:
        traceback.print_exc()
        return {"state": "failed", "error": f"{type(error).__name__}: {error}"}


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
