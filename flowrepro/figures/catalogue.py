"""The catalogue of figures: `conf/figure/<paper>/<fig>.yaml` of each, and the paper's runs in `conf/runs/<paper>.yaml`."""

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
    """One trained run of a figure: its case, and the command-line arguments that select it."""

    case: str
    words: list[str]
    seed: int

    @property
    def config(self) -> Config:
        """The config of these arguments; composed only once."""
        return _composed(tuple(self.words))


@functools.cache
def _composed(words: tuple[str, ...]) -> Config:
    return compose(list(words))


@dataclass
class FigureSpec:
    """One figure: its runs, and per scale its seeds, measures (options, if it has no runs) and expected minutes."""

    title: str
    key: str = ""
    # names of the paper's runs
    runs: list[str] = field(default_factory=list)
    # scale -> measure -> its options
    measures: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    seeds: dict[str, list[int]] = field(default_factory=dict)
    # runs with all words of one of these in their name are trained with the first seed only
    one_seed: list[str] = field(default_factory=list)
    # scale -> words of such names -> number of seeds, where draws are cheap and their spread decides
    more_seeds: dict[str, dict[str, int]] = field(default_factory=dict)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    minutes: dict[str, float] = field(default_factory=dict)
    # settings that the paper does not give, so that no scale is known to be its own
    unknown: str = ""
    # the papers do not use early stopping
    checkpoint: str = "last"

    @property
    def paper(self) -> str:
        """The paper's short name."""
        return self.key.split("/")[0]

    @property
    def module(self) -> Any:
        """The figure's module, with table, arrays, draw and CLAIMS, and measure if it has no runs."""
        return importlib.import_module("flowrepro.figures." + self.key.replace("/", "."))

    def planned(self, scale: str) -> list[PlannedRun]:
        """Every run at a scale, one seed after another; a case that sweeps is one case per value."""
        self.check(scale)
        cases = self._cases(scale)
        seeds = {name: self._seeds_of(name, scale) for name in cases}
        return [
            PlannedRun(name, [*words, f"seed={seed}", f"scale={scale}"], seed)
            for seed in sorted(set().union(*seeds.values()))
            for name, words in cases.items()
            if seed in seeds[name]
        ]

    def _seeds_of(self, name: str, scale: str) -> list[int]:
        """The seeds of a case: all, only the first, or more."""
        seeds, named = self.seeds[scale], set(name.split())
        if any(named.issuperset(words.split()) for words in self.one_seed):
            return seeds[:1]
        more = self.more_seeds.get(scale, {}).items()
        count = max((n for words, n in more if named.issuperset(words.split())), default=0)
        return sorted({*seeds, *range(count)})

    def _cases(self, scale: str) -> dict[str, list[str]]:
        cases, known = {}, paper_runs(self.paper)
        for name in self.runs:
            if name not in known:
                raise UsageError(
                    f"{self.key}: conf/runs/{self.paper}.yaml has no '{name}'{nearest(name, known)}"
                )
            words = known[name].words(scale)
            for job in expand(words):
                swept = [new for old, new in zip(words, job, strict=True) if old != new]
                cases[" ".join([name, *swept])] = job
        return cases

    def check(self, scale: str) -> None:
        """Raise UsageError if the figure has no such scale."""
        if scale not in self.seeds:
            raise UsageError(f"{self.key} has no scale '{scale}'; it has {', '.join(self.seeds)}")

    def reduced(self, scale: str) -> bool:
        """Whether the scale's resolved values differ from the paper's: seeds, measures, options, or a value of a run."""
        return self._resolved(scale) != self._resolved("paper")

    def _resolved(self, scale: str) -> Any:
        """What determines the numbers of a scale; runs of the first seed only, and only if the cases are the paper's."""
        if scale not in self.seeds:
            return None
        cases = list(self._cases(scale))
        same_cases = cases == list(self._cases("paper"))
        first = [p for p in self.planned(scale) if p.seed == self.seeds[scale][0]] if same_cases else []
        runs = [p.config.identity | {"scale": None} for p in first]
        seeds = self.seeds[scale], self.more_seeds.get(scale)
        return seeds, self.measures.get(scale), self.options.get(scale), cases, runs


@dataclass(frozen=True)
class RunWords:
    """The command-line arguments of one of a paper's runs: its own, and those of its group for `all` or single scales."""

    own: list[str]
    added: dict[str, list[str]]

    def words(self, scale: str) -> list[str]:
        """All arguments at a scale."""
        return [*self.own, *self.added.get("all", []), *self.added.get(scale, [])]


@functools.cache
def paper_runs(paper: str) -> dict[str, RunWords]:
    """Every run of a paper by name, as `conf/runs/<paper>.yaml` lists them.

    Raises:
        UsageError: two runs share a name, or the file has an unknown key.
    """
    from omegaconf import OmegaConf

    file = conf_dir() / "runs" / f"{paper}.yaml"
    found: dict[str, RunWords] = {}
    for name, group in (_plain(OmegaConf.load(file)) if file.exists() else {}).items():
        if unknown := [
            *(group.keys() - {"runs", "words"}),
            *(group.get("words", {}).keys() - {"all", *SCALES}),
        ]:
            raise UsageError(
                f"{file}: {name} has an unknown key '{unknown[0]}'; known: runs, words, all, {', '.join(SCALES)}"
            )
        if twice := group["runs"].keys() & found.keys():
            raise UsageError(f"{file}: two runs are called '{min(twice)}'")
        added = {scale: _flat(words) for scale, words in group.get("words", {}).items()}
        found |= {run: RunWords(_flat(words), added) for run, words in group["runs"].items()}
    return found


def _plain(node: Any) -> dict[str, Any]:
    from omegaconf import OmegaConf

    # ${seed} is resolved in the run's own config
    tree = OmegaConf.to_container(node, resolve=False)
    return {str(k): v for k, v in tree.items()} if isinstance(tree, dict) else {}


def _flat(words: list[Any]) -> list[str]:
    """Nested lists of arguments, flattened."""
    return [word for entry in words for word in (_flat(entry) if isinstance(entry, list) else [entry])]


def keys() -> list[str]:
    """The keys of all figures, papers in alphabetical order."""
    folder = conf_dir() / "figure"
    return sorted(f.relative_to(folder).with_suffix("").as_posix() for f in folder.glob("*/*.yaml"))


def load_spec(key: str) -> FigureSpec:
    """The spec of a figure. Raises UsageError for an unknown figure or an unknown key in its file."""
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
