"""Tables of numbers as people have them: .csv, .tsv, .parquet and DataFrames, with the names of their columns.

What a file leaves open (encoding, header, index) is decided by rules. What they decide is told in `notes`; where a row
could be names, or a column an index, the user is asked. No row is lost, and nothing but a plain number is read as one.
"""

import codecs
import io
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from flowrepro.config.schema import ArrayConfig
from flowrepro.data.reading import reading
from flowrepro.errors import DataError

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "space": r"\s+"}
USUAL = {".csv": "comma", ".tsv": "tab", ".txt": "space"}
NUMBERS = {
    "point": re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII),
    "comma": re.compile(r"[+-]?(\d+,?\d*|,\d+)([eE][+-]?\d+)?", re.ASCII),
}
MISSING = {"", "na", "n/a", "#n/a", "nan", "null", "none", "-", "?"}
BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
# of a column without a name, as pandas writes it and as it reads that again
NAMELESS = ("", "Unnamed: 0")
SHOWN = 6

Rows = list[list[str]]


class NotNumbers(DataError):
    """Cells or rows that might read well with another separator or decimal sign."""


class Table(NamedTuple):
    """Numbers (n, D) in float64, the names of the columns (none, or D), and what was decided in reading them."""

    values: np.ndarray
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_text(path: Path, config: ArrayConfig) -> Table:
    """The table in a .csv, .tsv or .txt file.

    Raises:
        DataError: a cell that is not a number or missing, with its row and column; rows of different lengths; a header
            or an index that only the user can decide on.
    """
    text, notes = _decoded(path)
    usual = USUAL[path.suffix.lower()]
    separator = usual if config.separator == "auto" else config.separator
    try:
        found = _table(_rows(path, text, separator), config, str(path))
    except NotNumbers as error:
        if way := _another_way(path, text, (separator, config.decimal)):
            raise DataError(f"{error}; it can be read with {way}") from error
        raise
    return found._replace(notes=(*notes, *found.notes))


def read_parquet(path: Path, config: ArrayConfig) -> Table:
    """The table in a .parquet file. Raises DataError as `of_frame` does, or where pandas has no engine for it."""
    try:
        with reading(path, ".parquet"):
            return of_frame(pd.read_parquet(path), str(path), config.index)
    except DataError as error:
        if isinstance(error.__cause__, ImportError):
            raise DataError(f"{path}: pandas needs pyarrow to read .parquet; pip install pyarrow") from error
        raise


def of_frame(frame: pd.DataFrame, path: str = "the DataFrame", index: bool | None = None) -> Table:
    """The numbers of a DataFrame, without its index.

    Args:
        index: whether the first column is an index (None: decided as in files).

    Raises:
        DataError: a column that does not hold numbers, a missing value, an index that only the user can decide on.
    """
    columns = tuple(str(c) for c in frame.columns)
    plain = columns == tuple(map(str, range(len(columns))))
    notes: tuple[str, ...] = ()
    if len(columns) > 1:
        name = "a number" if plain else columns[0]
        left_out, notes = _leaves_out_first(name, list(map(str, frame.iloc[:, 0])), index, path)
        frame, columns = frame.iloc[:, int(left_out) :], columns[int(left_out) :]
    if not isinstance(frame.index, pd.RangeIndex):
        notes = (*notes, f"the index of {path} is left out")
    for name, (_, column) in zip(columns, frame.items(), strict=True):
        if not (pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column)):
            raise DataError(f"{path}: column {name} holds {column.dtype}, not numbers; leave it out")
    values = frame.to_numpy(np.float64, na_value=np.nan)
    missing = np.argwhere(frame.isna().to_numpy())
    if len(missing):
        raise DataError(_missing(path, int(missing[0, 0]), columns[missing[0, 1]], len(missing)))
    return Table(values, () if plain else columns, notes)


def _decoded(path: Path) -> tuple[str, tuple[str, ...]]:
    """The text of a file, and how it was decoded if that is not UTF-8."""
    with reading(path, "a table"):
        content = path.read_bytes()
    encoding = next((name for bom, name in BOMS.items() if content.startswith(bom)), "utf-8")
    try:
        text, notes = content.decode(encoding), ()
    except UnicodeDecodeError:
        text = content.decode("latin-1")
        return _textual(path, text), (f"{path.name} is not UTF-8, and was read as Latin-1",)
    return _textual(path, text), notes


def _textual(path: Path, text: str) -> str:
    if "\0" in text:
        raise DataError(f"{path} is not a text file; a table has one row a line and its numbers in columns")
    return text


def _rows(path: Path, text: str, separator: str) -> Rows:
    """The cells of every row that is not blank, all rows equally long, without a last column that is empty."""
    options: dict[str, Any] = {"sep": SEPARATORS[separator], "header": None, "dtype": str, "na_filter": False}
    try:
        frame = pd.read_csv(io.StringIO(text), skipinitialspace=separator != "tab", **options)
    except pd.errors.EmptyDataError:
        return []
    except pd.errors.ParserError as error:
        raise NotNumbers(f"{path}: {_parser_told(str(error))}") from error
    columns = [[str(c).strip() for c in frame[j].fillna("")] for j in frame]
    # what a separator at the end of every line leaves
    if len(columns) > 1 and not any(columns[-1]):
        columns = columns[:-1]
    return [list(row) for row in zip(*columns, strict=True)]


def _parser_told(error: str) -> str:
    if found := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", error):
        expected, line, saw = found.groups()
        return f"line {line} has {saw} columns, the first line has {expected}"
    if "EOF inside string" in error:
        return "a quotation mark is opened and never closed; remove it"
    return error.splitlines()[0].strip()


def _table(rows: Rows, config: ArrayConfig, path: str) -> Table:
    header = bool(rows) and _begins_with_names(rows, config.header, path)
    names = [cell.lstrip("# ") for cell in rows[0]] if header else []
    body = rows[int(header) :]
    notes: tuple[str, ...] = ()
    if body and len(body[0]) > 1:
        first = names[0] if names else "a number"
        left_out, notes = _leaves_out_first(first, [row[0] for row in body], config.index, path)
        if left_out:
            names, body = names[1:], [row[1:] for row in body]
    names = [name or f"column {j + 1}" for j, name in enumerate(names)]
    return Table(_numbers(body, names, NUMBERS[config.decimal], path), tuple(names), notes)


def _begins_with_names(rows: Rows, told: bool | None, path: str) -> bool:
    """Whether the first row holds names: if told nothing, where it has no number and no gap."""
    if told is not None:
        return told
    first, *others = rows
    shown = shortened(first)
    ask = "say dataset.header=true if it names the columns, dataset.header=false if it is a point"
    numbers = [any(number.fullmatch(cell) for number in NUMBERS.values()) for cell in first]
    if all(numbers):
        if _could_be_names(first, others):
            raise DataError(f"{path}: the first row ({shown}) could be names of columns or a point; {ask}")
        return False
    # the corner above an index has no name
    gaps = [cell.lower() in MISSING for cell in first[1:]]
    if any(numbers) or (any(gaps) and len(first) > 1):
        raise DataError(f"{path}: the first row ({shown}) holds names and numbers or gaps; {ask}")
    return first[0] == "" or first[0].lower() not in MISSING or len(first) > 1


def _could_be_names(first: list[str], others: Rows) -> bool:
    """Whether whole numbers are names of columns: counted as pandas counts them, or the only row of whole numbers."""
    if not all(cell.isdecimal() for cell in first) or len(set(first)) < len(first) or first in others:
        return False
    counted = [str(start + i) for start in (0, 1) for i in range(len(first))]
    if first in (counted[: len(first)], counted[len(first) :]):
        return True
    return bool(others) and not any(all(cell.lstrip("+-").isdecimal() for cell in row) for row in others)


def _leaves_out_first(
    name: str, cells: list[str], told: bool | None, path: str
) -> tuple[bool, tuple[str, ...]]:
    """Whether the first column is an index, with a note if that was decided here; asks where it only may be one."""
    if told is not None:
        return told, ()
    whole = all(cell.isdecimal() for cell in cells)
    if name in NAMELESS and whole and len(set(cells)) == len(cells):
        return True, (
            "the first column, which has no name, is taken as an index and left out (dataset.index=false keeps it)",
        )
    counted = whole and [int(cell) for cell in cells] in (
        list(range(len(cells))),
        list(range(1, len(cells) + 1)),
    )
    if name in NAMELESS or (counted and len(cells) > 1):
        why = "has no name" if name in NAMELESS else "counts the rows"
        raise DataError(
            f"{path}: the first column {why}; say dataset.index=true to leave it out as an index, "
            "dataset.index=false to keep it as data"
        )
    return False, ()


def _numbers(body: Rows, names: list[str], number: re.Pattern[str], path: str) -> np.ndarray:
    """The cells as float64 (n, D). Raises DataError for the first that is missing or no number."""
    for i, row in enumerate(body):
        for j, cell in enumerate(row):
            if not number.fullmatch(cell):
                name = names[j] if names else f"{j + 1}"
                if cell.lower() in MISSING:
                    raise DataError(_missing(path, i, name))
                raise NotNumbers(
                    f"{path}: row {i} (counted from 0) holds '{cell[:40]}' in column {name}, which is not a number"
                )
    plain = [[cell.replace(",", ".") for cell in row] for row in body]
    return np.array(plain, dtype=np.float64).reshape(len(body), len(body[0]) if body else 0)


def _missing(path: str, row: int, column: str, total: int = 0) -> str:
    others = f" ({total} are missing in total)" if total > 1 else ""
    return (
        f"{path}: row {row} (counted from 0) has no value in column {column}{others}; "
        "fill it in, or remove the row or the column"
    )


def _another_way(path: Path, text: str, tried: tuple[str, str]) -> str:
    """The keys with which every row but a header reads as numbers; empty if there are none."""
    for separator in SEPARATORS:
        try:
            body = _rows(path, text, separator)[1:]
        except DataError:
            continue
        for decimal, number in NUMBERS.items():
            if (separator, decimal) == tried or not body:
                continue
            if all(number.fullmatch(cell) for row in body for cell in row):
                return f"dataset.separator={separator} dataset.decimal={decimal}"
    return ""


def shortened(names: list[str] | tuple[str, ...]) -> str:
    """The first few names, separated by commas."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
