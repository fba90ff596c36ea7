"""The data a run was trained on, wherever the user's file or folder is now: it is known by its content."""

import dataclasses
from pathlib import Path
from typing import Any

from flowrepro.config.identity import content, image_files
from flowrepro.config.schema import Config, ImagesConfig
from flowrepro.data import Data, ImageData, load_data
from flowrepro.errors import DataError
from flowrepro.runs.folder import Run, read_json
from flowrepro.runs.manifest import check_data, manifest
from flowrepro.writing import write_json


def data_of(run: Run, path: str = "") -> Data | ImageData:
    """The data of a run.

    Args:
        path: where they are now; by default they are searched for (`dataset_of`).

    Raises:
        DataError: they are missing or damaged, or differ from those the run was trained on.
    """
    config, dataset = run.config, dataset_of(run, path)
    data = load_data(dataset, config.dtype, config.seed, config.model.takes_images)
    check_data(run, data.fingerprint)
    remember(run, dataset)
    return data


def dataset_of(run: Run, path: str = "") -> Any:
    """The dataset config of a run, with the path at which its data are found now.

    A file, or a folder of images, of the recorded content is taken at the path given or typed, at the absolute path
    recorded, or, renamed, in the same folder as before.

    Raises:
        DataError: it is at none of these places.
    """
    dataset = run.config.dataset
    if not getattr(dataset, "path", ""):
        return dataset
    record = manifest(run).get("file", {})
    places = [path] if path else [dataset.path, record.get("path", dataset.path)]
    held = {place: content(place) for place in places}
    there = [place for place in places if held[place] != "missing"]
    same = [place for place in there if held[place] == record.get("content")]
    known = path or same or not record
    images = isinstance(dataset, ImagesConfig)
    if found := next(iter([*same, *there]), None) if known else _renamed(record, images):
        return dataclasses.replace(dataset, path=found)
    looked = ", ".join(dict.fromkeys(str(Path(place).expanduser().absolute()) for place in places))
    raise DataError(
        f"the data of {run.name} are not at {looked}; dataset.path=... says where they are now"
        if not there
        else f"{looked} holds other data than {run.name} was trained on; dataset.path=... says where those are"
    )


def _renamed(record: dict[str, Any], images: bool) -> str | None:
    """A file of the same kind, or a folder of images, of the same size and content in the folder where the data were."""
    before = Path(record["path"])
    beside = sorted(before.parent.glob("[!.]*" if images else f"*{before.suffix}"))
    alike = (p for p in beside if (p.is_dir() if images else p.is_file()) and _size(p) == record.get("size"))
    return next((str(p) for p in alike if content(str(p)) == record["content"]), None)


def _size(place: Path) -> int:
    """Bytes of a file, or images of a folder."""
    return len(image_files(place)) if place.is_dir() else place.stat().st_size


def remember(run: Run, dataset: Any) -> None:
    """Keep in the run's manifest where the user's data are, as an absolute path, and what they hold."""
    if not getattr(dataset, "path", ""):
        return
    place = Path(dataset.path).expanduser().absolute()
    kept = {"path": str(place), "content": content(dataset.path), "size": _size(place)}
    tree = read_json(run.path / "manifest.json")
    if tree and tree.get("file") != kept:
        write_json(run.path / "manifest.json", {**tree, "file": kept})


def found_config(run: Run, path: str = "") -> Config:
    """The run's config, with the path at which its data are found now (see `dataset_of`)."""
    return dataclasses.replace(run.config, dataset=dataset_of(run, path))
