"""The catalogue of figures: what `conf/figure/<paper>/<fig>.yaml` says of each."""

import functools
import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowrepro.config.compose import compose, expand
from flowrepro.config.reading import conf_dir
from flowrepro.config.schema import Config
from flowrepro.errors import UsageError, nearest

SCALES = ("smoke", "demo", "cpu", "paper")


@dataclass(frozen=True)
class PlannedRun:
    """One trained run of a figure: the case it stands for, and the command-line words that name it."""

    case: str
    words: list[str]
    seed: int

    @property
    def config(self) -> Config:
        """What the words compose to; composed once."""
        return _composed(tuple(self.words))


@functools.cache
def _composed(words: tuple[str, ...]) -> Config:
    return compose(list(words))


@dataclass
class FigureSpec:
    """One figure: its runs, and for each scale its seeds, options and expected minutes."""

    title: str
    key: str = ""
    runs: dict[str, list[str]] = field(default_factory=dict)
    # words added to every run at a scale
    words: dict[str, list[str]] = field(default_factory=dict)
    seeds: dict[str, list[int]] = field(default_factory=dict)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    minutes: dict[str, float] = field(default_factory=dict)
    # the papers know no early stopping
    checkpoint: str = "last"

    @property
    def paper(self) -> str:
        """The paper's short name."""
        return self.key.split("/")[0]

    @property
    def module(self) -> Any:
        """The figure's module, with measure, table, draw and CLAIMS."""
        return importlib.import_module("flowrepro.figures." + self.key.replace("/", "."))

    def planned(self, scale: str) -> list[PlannedRun]:
        """Every run at a scale, one seed after the other; a case whose words sweep is one case for each value."""
        self.check(scale)
        cases = self._cases(self.words.get(scale, []))
        return [
            PlannedRun(name, [*words, f"seed={seed}", f"scale={scale}"], seed)
            for seed in self.seeds[scale]
            for name, words in cases.items()
        ]

    def _cases(self, added: list[str]) -> dict[str, list[str]]:
        cases = {}
        for name, own in self.runs.items():
            words = [*own, *added]
            for job in expand(words):
                swept = [new for old, new in zip(words, job, strict=True) if old != new]
                cases[" ".join([name, *swept])] = job
        return cases

    def check(self, scale: str) -> None:
        """Raises UsageError where the figure has no such scale."""
        if scale not in self.seeds:
            raise UsageError(f"{self.key} has no scale '{scale}'; it has {', '.join(self.seeds)}")

    def reduced(self, scale: str) -> bool:
        """Whether the scale's resolved values differ from the paper's: seeds, options, or a value of a run."""
        return self._resolved(scale) != self._resolved("paper")

    def _resolved(self, scale: str) -> Any:
        """What makes the numbers of a scale; of the runs only the first seed's, and only if the cases are the paper's."""
        if scale not in self.seeds:
            return None
        cases = self._cases(self.words.get(scale, []))
        same_cases = cases.keys() == self._cases(self.words.get("paper", [])).keys()
        first = [p for p in self.planned(scale) if p.seed == self.seeds[scale][0]] if same_cases else []
        runs = [p.config.identity | {"scale": None} for p in first]
        return self.seeds[scale], self.options.get(scale), list(cases), runs


def keys() -> list[str]:
    """The keys of all figures, papers in alphabetical order."""
    folder = conf_dir() / "figure"
    return sorted(f.relative_to(folder).with_suffix("").as_posix() for f in folder.glob("*/*.yaml"))


def load_spec(key: str) -> FigureSpec:
    """The spec of a figure. Raises UsageError for an unknown key or an unknown word in its file."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if key not in keys():
        raise UsageError(f"figure '{key}' is unknown{nearest(key, keys())}")
    file: Path = conf_dir() / "figure" / f"{key}.yaml"
    try:
        merged = OmegaConf.merge(OmegaConf.structured(FigureSpec(title="")), OmegaConf.load(file))
    except OmegaConfBaseException as error:
        raise UsageError(f"{file}: {str(error).splitlines()[0]}") from error
    spec = OmegaConf.to_object(merged)
    assert isinstance(spec, FigureSpec)
    spec.key = key
    return spec
