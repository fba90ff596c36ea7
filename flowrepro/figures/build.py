"""A figure from its runs: measured, tabulated, judged and stored; then drawn from what was stored."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flowrepro.config.identity import flatten
from flowrepro.config.quoting import place_of
from flowrepro.config.reading import to_tree
from flowrepro.config.schema import Config
from flowrepro.errors import UsageError
from flowrepro.figures import curves, store
from flowrepro.figures.catalogue import FigureSpec, PlannedRun, load_spec
from flowrepro.figures.claims import judge
from flowrepro.figures.drawn import Measures
from flowrepro.figures.settings import reductions
from flowrepro.pictures.style import footer, save
from flowrepro.runs.folder import Run, run_of
from flowrepro.runs.manifest import git_state, hardware, trained_on, versions
from flowrepro.runs.traces import layer_traces
from flowrepro.writing import remove_leftovers

# the parts of a measure's record that a figure's provenance repeats
RECORDED = ("name", "options", "code", "device", "gpu", "processor", "threads")

# bytes of a pdf; larger ones consist of images, which a pdf does not make sharper
MAX_VECTORS = 120_000


def evaluate_figure(config: Config) -> None:
    """Measure a figure's runs, tabulate them, judge its claims and store everything."""
    from flowrepro.device import choose_device

    spec, scale = load_spec(config.figure), config.scale.name
    spec.check(scale)
    device, began = choose_device(config.device, config.threads), time.monotonic()
    measures = measure_runs(spec, config, device) if spec.runs else _measure_seeds(spec, scale)
    table = store.as_stored(spec.module.table(measures))
    claims = judge(spec.module.CLAIMS, table, scale)
    shown = shown_seed(spec, scale, table)
    arrays = spec.module.arrays([m for m in measures if m["seed"] == shown])
    folder = store.folder_of(Path(config.output_dir), spec.key, scale)
    remove_leftovers(folder)
    provenance = _provenance(spec, scale, measures, time.monotonic() - began, device)
    store.save_evaluation(folder, table, claims, arrays, provenance)
    curves.keep(folder, curves.collected(spec.planned(scale), Path(config.output_dir)))
    print(table.to_string(index=False, float_format=lambda v: f"{v:.4g}"))
    _print_claims(claims)
    next_step = f"flowrepro plot figure={spec.key} scale={scale}{place_of(config.output_dir)}"
    print(f"table, claims  {folder}\nnext           {next_step}")


def _measure_seeds(spec: FigureSpec, scale: str) -> Measures:
    """The measures of a figure without trained runs, for every seed."""
    options = spec.options.get(scale, {})
    return [{"seed": seed, **spec.module.measure(seed=seed, **options)} for seed in spec.seeds[scale]]


def measure_runs(spec: FigureSpec, config: Config, device: str = "cpu") -> Measures:
    """The measures of every run of a figure; each is kept with its run.

    Raises:
        UsageError: runs are not trained; the message gives the command.
    """
    scale = config.scale.name
    if absent := missing_runs(spec, config):
        raise UsageError(
            f"{spec.key}: {len(absent)} of its runs still to be trained; "
            f"first: flowrepro train figure={spec.key} scale={scale}{place_of(config.output_dir)}"
        )
    return [_measure_run(spec, planned, config, device) for planned in spec.planned(scale)]


def missing_runs(spec: FigureSpec, config: Config) -> list[PlannedRun]:
    """The runs that have not ended."""
    return [p for p in spec.planned(config.scale.name) if not run_of(p.config, config.output_dir).ended]


def _measure_run(spec: FigureSpec, planned: PlannedRun, config: Config, device: str) -> dict[str, Any]:
    """The measures of one run, the facts from its folder, and the records of the measures."""
    from flowrepro.measures.kept import measured

    run = run_of(planned.config, config.output_dir)
    found = measured(run, spec.checkpoint, spec.measures.get(config.scale.name, {}), device)
    values = {name: value for one in found.values() for name, value in one.values.items()}
    assert len(values) == sum(len(one.values) for one in found.values()), "two measures share a name"
    told = {"case": planned.case, "seed": planned.seed, **_told(run)}
    return {
        **told,
        **values,
        **_last_gains(told["history"]),
        "records": [one.record for one in found.values()],
    }


def _told(run: Run) -> dict[str, Any]:
    """state, step, result, config (flat), history (columns), traces of a run, and the hardware of its sessions."""
    status, history = run.status, run.history()
    scalars = [k for k, v in history[0].items() if isinstance(v, int | float) or v is None]
    return {
        "run": run.name,
        "trained_on": trained_on(run),
        "state": status["state"],
        "step": status["step"],
        "result": status.get("result") or {},
        # of a run that diverged: its layers as they were then
        "broken_layers": status.get("layers", []),
        "config": flatten(to_tree(run.config)),
        "history": {k: np.array([record[k] for record in history], dtype=float) for k in scalars},
        **layer_traces(history),
    }


def _last_gains(history: dict[str, np.ndarray]) -> dict[str, float]:
    """What both log-likelihoods gained over the last fifth of the steps, in nats; negative where they fell."""
    step = history["step"]
    # a flow that broke has lost all density: -inf minus -inf is not a number
    with np.errstate(invalid="ignore"):
        gains = {
            split: float(
                history[f"{split}_log_prob"][-1]
                - np.interp(0.8 * step[-1], step, history[f"{split}_log_prob"])
            )
            for split in ("val", "train")
        }
    return {"last_fifth_gain": gains["val"], "train_last_fifth_gain": gains["train"]}


def draw(outputs: Path, key: str, scale: str, *forms: str) -> list[Path]:
    """Draw one figure at one scale as png, svg or pdf; the pictures' paths. Raises UsageError if not evaluated."""
    spec = load_spec(key)
    folder = store.folder_of(outputs, key, scale)
    stored = store.load_evaluation(folder, key, scale)
    figure = spec.module.draw(stored.table, store.load_arrays(folder, key, scale))
    footer(figure, label(spec, scale, stored.table))
    remove_leftovers(folder)
    curves.complete(outputs, spec, scale, folder, stored.provenance["runs"])
    if forms == ("png",) and (folder / "figure.pdf").exists():
        forms = ("png", "pdf")  # or it would show something else
    paths = [folder / f"figure.{form}" for form in forms]
    for path in paths:
        save(figure, path)
    return paths


def draw_for_report(outputs: Path, key: str, scale: str) -> Path:
    """Draw one figure as png, with a pdf beside it unless that is large; the path of the png."""
    picture, vectors = draw(outputs, key, scale, "png", "pdf")
    if vectors.stat().st_size > MAX_VECTORS:
        vectors.unlink()
    return picture


def shown_seed(spec: FigureSpec, scale: str, table: pd.DataFrame) -> int:
    """The seed whose flows are drawn: the first, or what the figure's own `shown_seed(table)` chooses."""
    choose = getattr(spec.module, "shown_seed", None)
    return int(choose(table)) if choose else spec.seeds[scale][0]


def label(spec: FigureSpec, scale: str, table: pd.DataFrame) -> str:
    """The line under the picture: key, scale, whether it is reduced, seeds."""
    more = spec.more_seeds.get(scale, {})
    found = sorted(table.seed.unique()) if "seed" in table else []
    seeds = spec.seeds[scale] if more else found
    mark = " · reduced: not the paper's settings" if spec.reduced(scale) else ""
    mark += f" · the paper does not give {spec.unknown}" if spec.unknown else ""
    measured = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    measured += "".join(f" ({words}: {count} seeds)" for words, count in more.items())
    single = f"; single flows are those of seed {shown_seed(spec, scale, table)}" if len(seeds) > 1 else ""
    return f"{spec.key} · scale {scale}{mark} · {measured}{single}"


def _provenance(
    spec: FigureSpec, scale: str, measures: Measures, seconds: float, device: str
) -> dict[str, Any]:
    return {
        "key": spec.key,
        "scale": scale,
        "reduced": reductions(spec, scale),
        "seeds": spec.seeds[scale],
        "options": spec.options.get(scale, {}),
        "runs": [m["run"] for m in measures if "run" in m],
        "measures": _recorded(measures),
        "measured": time.strftime("%Y-%m-%d"),
        "seconds": round(seconds, 1),
        "versions": versions(),
        "git": git_state(),
        "hardware": hardware(device),
        # the hardware of all sessions of all runs, each once
        "trained_on": list({str(h): h for m in measures for h in m.get("trained_on", [])}.values()),
    }


def _recorded(measures: Measures) -> list[dict[str, Any]]:
    """The measures of a figure's runs with options, code and machine, each combination once."""
    found: list[dict[str, Any]] = []
    for record in (r for m in measures for r in m.get("records", [])):
        told = {k: record[k] for k in RECORDED if k in record}
        if told not in found:
            found.append(told)
    return found


def _print_claims(claims: pd.DataFrame) -> None:
    for row in claims.itertuples():
        mark = f" ({row.mark})" if row.mark else ""
        print(f"{row.verdict + mark:<26} {row.says}")
        if row.seeds:
            print(
                f"{'':<26} {row.measured}: {row.our_value:.4g} {row.unit}".rstrip()
                + f" (passes if {row.threshold})"
            )
        # a mean may pass where single values do not
        if row.seeds > 1:
            print(f"{'':<26} {row.values}")
        if row.told:
            print(f"{'':<26} {row.told}")
