"""The verbs `evaluate` and `plot` for figures."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flowrepro.config.schema import Config
from flowrepro.errors import UsageError
from flowrepro.figures import store
from flowrepro.figures.catalogue import FigureSpec, keys, load_spec
from flowrepro.figures.claims import judge
from flowrepro.pictures.style import footer, save
from flowrepro.runs.manifest import git_state, versions

Measures = list[dict[str, Any]]


def evaluate_figure(config: Config) -> None:
    """Measure a figure's runs, tabulate, judge its claims, store all."""
    spec, scale = load_spec(config.figure), config.scale.name
    spec.check(scale)
    began = time.monotonic()
    measures = _measure_runs(spec, config) if spec.runs else _measure_seeds(spec, scale)
    table = spec.module.table(measures)
    claims = judge(spec.module.CLAIMS, table, scale)
    arrays = _arrays(measures, spec.seeds[scale][0])
    folder = store.folder_of(Path(config.output_dir), spec.key, scale)
    store.save_evaluation(
        folder, table, claims, arrays, _provenance(spec, scale, measures, time.monotonic() - began)
    )
    print(table.to_string(index=False, float_format=lambda v: f"{v:.4g}"))
    _print_claims(claims)
    print(f"table, claims  {folder}\nnext           flowrepro plot figure={spec.key} scale={scale}")


def _measure_seeds(spec: FigureSpec, scale: str) -> Measures:
    """The measures of a figure without trained runs, for every seed."""
    options = spec.options.get(scale, {})
    return [{"seed": seed, **spec.module.measure(seed=seed, **options)} for seed in spec.seeds[scale]]


def _measure_runs(spec: FigureSpec, config: Config) -> Measures:
    """The measures of every run of a figure; each is kept with its run. Lists the commands of runs not trained."""
    from flowrepro.measures.kept import measure_run, missing_runs

    scale = config.scale.name
    if absent := missing_runs(spec, config):
        raise UsageError(
            f"{spec.key}: {len(absent)} runs are not trained; first: flowrepro train figure={spec.key} scale={scale}"
        )
    return [measure_run(spec, planned, config) for planned in spec.planned(scale)]


def _arrays(measures: Measures, seed: int) -> dict[str, np.ndarray]:
    """What pictures are drawn from: the arrays of the first seed, under `case/name` where a figure has cases."""
    arrays: dict[str, np.ndarray] = {}
    for measure in (m for m in measures if m["seed"] == seed):
        prefix = f"{measure['case']}/" if "case" in measure else ""
        found = measure | {f"history_{k}": v for k, v in measure.get("history", {}).items()}
        arrays |= {prefix + k: v for k, v in found.items() if isinstance(v, np.ndarray)}
    return arrays


def plot_figure(config: Config) -> None:
    """Draw a figure from what was stored; `figure=all` draws every one at its largest scale and writes the report."""
    outputs = Path(config.output_dir)
    if config.figure != "all":
        print(f"picture  {draw(outputs, config.figure, config.scale.name)}")
        return
    from flowrepro.report import page, readme

    for key in keys():
        for scale in store.scales_there(outputs, key):
            if (store.folder_of(outputs, key, scale) / "arrays.npz").exists():
                print(f"picture  {draw(outputs, key, scale)}")
    print(f"report   {page.build(outputs)}")
    if (written := readme.write(outputs)) is not None:
        print(f"index    {written}")


def draw(outputs: Path, key: str, scale: str) -> Path:
    """Draw one figure at one scale; the picture's path. Raises UsageError where it was not evaluated."""
    spec = load_spec(key)
    folder = store.folder_of(outputs, key, scale)
    stored = store.load_evaluation(folder, key, scale)
    figure = spec.module.draw(stored.table, store.load_arrays(folder, key, scale))
    footer(figure, label(spec, scale, stored.table))
    save(figure, folder / "figure.png")
    return folder / "figure.png"


def label(spec: FigureSpec, scale: str, table: pd.DataFrame) -> str:
    """What stands under the picture: key, scale, whether it is reduced, seeds."""
    seeds = sorted(table.seed.unique()) if "seed" in table else []
    mark = " · reduced: not the paper's settings" if spec.reduced(scale) else ""
    measured = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    single = f"; where one flow is drawn, it is that of seed {seeds[0]}" if len(seeds) > 1 else ""
    return f"{spec.key} · scale {scale}{mark} · {measured}{single}"


def _provenance(spec: FigureSpec, scale: str, measures: Measures, seconds: float) -> dict[str, Any]:
    return {
        "key": spec.key,
        "scale": scale,
        "reduced": spec.reduced(scale),
        "seeds": spec.seeds[scale],
        "options": spec.options.get(scale, {}),
        "runs": [m["run"] for m in measures if "run" in m],
        "measured": time.strftime("%Y-%m-%d"),
        "seconds": round(seconds, 1),
        "versions": versions(),
        "git": git_state(),
    }


def _print_claims(claims: pd.DataFrame) -> None:
    for row in claims.itertuples():
        mark = f" ({row.mark})" if row.mark else ""
        print(f"{row.verdict + mark:<26} {row.says}")
        if row.seeds:
            print(
                f"{'':<26} {row.measured}: {row.our_value:.4g} {row.unit}".rstrip()
                + f" (passes if {row.threshold})"
            )
        if row.told:
            print(f"{'':<26} {row.told}")
