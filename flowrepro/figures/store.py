"""What is kept of a figure at a scale: picture, table, claims, provenance; and the arrays to draw it from."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flowrepro.errors import UsageError
from flowrepro.figures.catalogue import SCALES
from flowrepro.writing import replacing, write_json, write_text

Arrays = dict[str, np.ndarray]


@dataclass
class Stored:
    """A figure's evaluation as it was stored."""

    table: pd.DataFrame
    claims: pd.DataFrame
    provenance: dict[str, Any]


def folder_of(outputs: Path, key: str, scale: str) -> Path:
    """outputs/figures/<paper>/<fig>/<scale>."""
    return outputs / "figures" / key / scale


def save_evaluation(
    folder: Path, table: pd.DataFrame, claims: pd.DataFrame, arrays: Arrays, provenance: dict[str, Any]
) -> None:
    """Write table, claims, arrays and provenance; nothing is touched where the numbers are the same as before.

    Numbers of a source tree with uncommitted changes give way to the same ones of a clean tree.
    """
    table_text, claims_text = _csv(table), _csv(claims)
    same = (folder / "arrays.npz").exists() and _read(folder / "table.csv") == table_text
    if same and _read(folder / "claims.csv") == claims_text and not _cleaner(folder, provenance):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "arrays.npz") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    write_text(folder / "table.csv", table_text)
    write_text(folder / "claims.csv", claims_text)
    write_json(folder / "provenance.json", provenance)


def _cleaner(folder: Path, provenance: dict[str, Any]) -> bool:
    """Whether what is stored came from uncommitted changes, and this does not."""
    stored = json.loads(_read(folder / "provenance.json") or "{}")
    return bool(stored.get("git", {}).get("dirty")) and not provenance.get("git", {}).get("dirty")


def load_evaluation(folder: Path, key: str, scale: str) -> Stored:
    """What `evaluate` stored. Raises UsageError with the command where it is not there."""
    try:
        table, claims = (
            pd.read_csv(folder / "table.csv"),
            pd.read_csv(folder / "claims.csv", keep_default_na=False),
        )
        provenance = json.loads((folder / "provenance.json").read_text())
    except (OSError, ValueError) as error:
        raise UsageError(missing(key, scale)) from error
    return Stored(table, claims, provenance)


def load_arrays(folder: Path, key: str, scale: str) -> Arrays:
    """The arrays to draw from. Raises UsageError with the command where they are not there."""
    try:
        with np.load(folder / "arrays.npz", allow_pickle=False) as found:
            return dict(found)
    except (OSError, ValueError) as error:
        raise UsageError(missing(key, scale)) from error


def missing(key: str, scale: str) -> str:
    """The line that says how to make what is missing."""
    return f"{key} was not evaluated at scale {scale}; first: flowrepro evaluate figure={key} scale={scale}"


def scales_there(outputs: Path, key: str) -> list[str]:
    """The scales at which a figure was evaluated, the largest first."""
    return [s for s in reversed(SCALES) if (folder_of(outputs, key, s) / "claims.csv").exists()]


def _csv(table: pd.DataFrame) -> str:
    text = io.StringIO()
    table.to_csv(text, index=False, float_format="%.10g")
    return text.getvalue()


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""
