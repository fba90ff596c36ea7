"""What is stored of a figure at a scale: picture, table, claims, provenance, and the arrays it is drawn from."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flowrepro.errors import UsageError
from flowrepro.figures.catalogue import SCALES
from flowrepro.figures.drawn import Arrays, compact
from flowrepro.writing import replacing, write_json, write_text


@dataclass
class Stored:
    """A figure's evaluation as it was stored."""

    table: pd.DataFrame
    claims: pd.DataFrame
    provenance: dict[str, Any]


def folder_of(outputs: Path, key: str, scale: str) -> Path:
    """outputs/figures/<paper>/<fig>/<scale>."""
    return outputs / "figures" / key / scale


def as_stored(table: pd.DataFrame) -> pd.DataFrame:
    """A table as read back from its file: claims are judged on those digits, so that anyone can repeat it."""
    return pd.read_csv(io.StringIO(csv(table)))


def save_evaluation(
    folder: Path, table: pd.DataFrame, claims: pd.DataFrame, arrays: Arrays, provenance: dict[str, Any]
) -> None:
    """Write table, claims, arrays and provenance; nothing is touched if all are the same as before.

    Results from uncommitted code are replaced by the same results from a clean tree.
    """
    new = {
        "table.csv": csv(table).encode(),
        "claims.csv": csv(claims).encode(),
        "arrays.npz": _npz({name: compact(array) for name, array in arrays.items()}),
    }
    same = all(_read(folder / name) == content for name, content in new.items())
    if same and not _cleaner(folder, provenance):
        return
    for name, content in new.items():
        with replacing(folder / name) as file:
            file.write(content)
    write_json(folder / "provenance.json", provenance)


def save_claims(folder: Path, claims: pd.DataFrame) -> None:
    """Write only the claims, judged from the stored table."""
    write_text(folder / "claims.csv", csv(claims))


def _npz(arrays: Arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _cleaner(folder: Path, provenance: dict[str, Any]) -> bool:
    """Whether the stored results came from uncommitted code, and these do not."""
    stored = json.loads(_read(folder / "provenance.json") or "{}")
    return bool(stored.get("git", {}).get("dirty")) and not provenance.get("git", {}).get("dirty")


def load_evaluation(folder: Path, key: str, scale: str) -> Stored:
    """What `evaluate` stored. Raises UsageError with the command if it is missing."""
    try:
        table, claims = (
            pd.read_csv(folder / "table.csv"),
            pd.read_csv(folder / "claims.csv", keep_default_na=False),
        )
        provenance = json.loads((folder / "provenance.json").read_text())
    except (OSError, ValueError) as error:
        raise UsageError(missing(folder, key, scale)) from error
    return Stored(table, claims, provenance)


def load_arrays(folder: Path, key: str, scale: str) -> Arrays:
    """The arrays to draw from. Raises UsageError with the command if they are missing."""
    try:
        with np.load(folder / "arrays.npz", allow_pickle=False) as found:
            return dict(found)
    except (OSError, ValueError) as error:
        raise UsageError(missing(folder, key, scale)) from error


def missing(folder: Path, key: str, scale: str) -> str:
    """The message that says how to create what is missing."""
    return f"no complete evaluation in {folder}; first: flowrepro evaluate figure={key} scale={scale}"


def scales_there(outputs: Path, key: str) -> list[str]:
    """The scales at which a figure was evaluated, largest first."""
    return [s for s in reversed(SCALES) if (folder_of(outputs, key, s) / "claims.csv").exists()]


def csv(table: pd.DataFrame) -> str:
    """The text of a table's file: ten digits."""
    text = io.StringIO()
    table.to_csv(text, index=False, float_format="%.10g")
    return text.getvalue()


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
