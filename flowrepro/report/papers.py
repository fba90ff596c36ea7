"""The papers: where to read them and what each claims, as conf/papers.yaml lists them."""

import functools
from dataclasses import dataclass

from flowrepro.config.reading import conf_dir
from flowrepro.figures.catalogue import keys


@dataclass(frozen=True)
class Paper:
    """A paper; `claims` is what it says in three sentences."""

    key: str
    title: str
    authors: str = ""
    year: int = 0
    link: str = ""
    claims: str = ""


def known() -> list[Paper]:
    """The listed papers in their order, then those of other folders of figures, which have their names only."""
    listed = _listed()
    others = sorted({key.split("/")[0] for key in keys()} - {paper.key for paper in listed})
    return [*listed, *(Paper(key, key.replace("_", " ")) for key in others)]


@functools.cache
def _listed() -> list[Paper]:
    from omegaconf import OmegaConf

    entries = OmegaConf.to_container(OmegaConf.load(conf_dir() / "papers.yaml"))
    assert isinstance(entries, dict)
    return [Paper(str(key), **entry) for key, entry in entries.items()]
