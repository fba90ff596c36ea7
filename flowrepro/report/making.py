"""What it takes to make a figure again, or otherwise: command, files to change, how many times its time, data."""

import functools

from flowrepro.config.schema import SCHEMAS, ImageConfig
from flowrepro.figures.catalogue import FigureSpec, PlannedRun, load_spec
from flowrepro.figures.claims import ENOUGH_SEEDS


def command(spec: FigureSpec, scale: str) -> str:
    """What makes a figure at a scale."""
    return f"make {spec.key} SCALE={scale}"


def with_seeds(spec: FigureSpec, scale: str, seeds: int) -> tuple[float, str]:
    """How many times as long a figure takes with all seeds of a refutation where it has `seeds`; what to change for it."""
    file, there, runs = f"`conf/figure/{spec.key}.yaml`", len(spec.seeds[scale]), planned(spec.key, scale)
    if there < ENOUGH_SEEDS:
        return ENOUGH_SEEDS / there, f"`{scale}: {list(range(ENOUGH_SEEDS))}` among the `seeds` of {file}"
    if seeds < there and spec.one_seed:
        return len({run.case for run in runs}) * there / len(runs), f"no `one_seed` in {file}"
    return 1, ""


def trained_twice_as_long(spec: FigureSpec, scale: str) -> tuple[float, str]:
    """How many times as long a figure then takes; what to change for it."""
    words = {word.partition("=")[0] for run in planned(spec.key, scale) for word in run.words}
    steps = "steps_per_layer" if "training.steps_per_layer" in words else "steps"
    file = f"conf/runs/{spec.paper}.yaml" if spec.runs else f"conf/figure/{spec.key}.yaml"
    return 2, f"twice the `training.{steps}` in `{file}`"


def datasets(spec: FigureSpec, scale: str) -> list[str]:
    """The data sets of a figure's runs at a scale."""
    words = (word.partition("=") for run in planned(spec.key, scale) for word in run.words)
    return list(dict.fromkeys(value for name, _, value in words if name == "dataset"))


def other_datasets(spec: FigureSpec, shown: str, scale: str) -> tuple[str, ...]:
    """Those of a scale that the shown one does not have."""
    return tuple(name for name in datasets(spec, scale) if name not in datasets(spec, shown))


def other_networks(spec: FigureSpec, shown: str, scale: str) -> tuple[str, ...]:
    """The feature networks of a scale that the shown one does not have."""
    here, there = (
        [name for options in spec.measures.get(s, {}).values() for name in options.get("networks", [])]
        for s in (shown, scale)
    )
    return tuple(dict.fromkeys(name for name in there if name not in here))


def has_images(spec: FigureSpec, scale: str) -> bool:
    """Whether a figure's runs at a scale are trained on images."""
    return any(issubclass(SCHEMAS["dataset"].get(n, object), ImageConfig) for n in datasets(spec, scale))


@functools.cache
def planned(key: str, scale: str) -> list[PlannedRun]:
    """The runs of a figure at a scale; none if it has no such scale."""
    spec = load_spec(key)
    return spec.planned(scale) if scale in spec.seeds else []


def hours(time: float) -> str:
    """A time in words.

    >>> hours(2.46), hours(1), hours(0.02)
    ('about 2.5 hours', 'about 1 hour', 'minutes')
    """
    if time < 0.1:
        return "minutes"
    number = f"{time:.1f}".removesuffix(".0") if time < 9.95 else f"{time:.0f}"
    return f"about {number} hour{'s' * (number != '1')}"
