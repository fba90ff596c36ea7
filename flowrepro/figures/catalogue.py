"""The catalogue of figures: what `conf/figure/<paper>/<fig>.yaml` says of each."""

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowrepro.config import conf_dir, nearest
from flowrepro.errors import UsageError

SCALES = ("smoke", "demo", "cpu", "paper")


@dataclass
class FigureSpec:
    """One figure: its runs, and for each scale its seeds, options and expected minutes."""

    title: str
    key: str = ""
    runs: list[list[str]] = field(default_factory=list)
    seeds: dict[str, list[int]] = field(default_factory=dict)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    minutes: dict[str, float] = field(default_factory=dict)

    @property
    def paper(self) -> str:
        """The paper's short name."""
        return self.key.split("/")[0]

    @property
    def module(self) -> Any:
        """The figure's module, with measure, table, draw and CLAIMS."""
        return importlib.import_module("flowrepro.figures." + self.key.replace("/", "."))

    def words(self, scale: str) -> list[list[str]]:
        """The command-line words of every run at a scale, one for each seed."""
        self.check(scale)
        return [[*run, f"seed={seed}", f"scale={scale}"] for run in self.runs for seed in self.seeds[scale]]

    def check(self, scale: str) -> None:
        """Raises UsageError where the figure has no such scale."""
        if scale not in self.seeds:
            raise UsageError(f"{self.key} has no scale '{scale}'; it has {', '.join(self.seeds)}")

    def reduced(self, scale: str) -> bool:
        """Whether the scale's values differ from the paper's."""
        same = self.seeds.get(scale) == self.seeds.get("paper") and self.options.get(
            scale
        ) == self.options.get("paper")
        return not same


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
