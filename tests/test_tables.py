"""Tables as people have them: encodings, names, indices, separators; nothing lost and nothing guessed in silence."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrepro.config.schema import ArrayConfig
from flowrepro.data.array import load_array, read
from flowrepro.data.remarks import scale_remark
from flowrepro.data.table import of_frame
from flowrepro.errors import DataError

POINTS = np.random.default_rng(0).normal(size=(12, 2)).round(3)
FRAME = pd.DataFrame(POINTS, columns=["x", "y"])


def table(tmp_path, content, name="points.csv", **keys):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read(ArrayConfig("array", path=str(path), **keys))


def csv(frame=FRAME, **options):
    return frame.to_csv(**{"index": False, **options})


@pytest.mark.parametrize(
    ("content", "name", "keys"),
    [
        (csv(), "a.csv", {}),
        (csv().encode("utf-8-sig"), "a.csv", {}),
        (csv().encode("utf-16"), "a.csv", {}),
        (csv().replace("\n", "\r\n"), "a.CSV", {}),
        (csv().replace("\n", "\n\n"), "a.csv", {}),
        (csv(quoting=1), "a.csv", {}),
        (csv().replace(",", " , "), "a.csv", {}),
        (csv().replace("\n", ",\n"), "a.csv", {}),
        ("# " + csv(), "a.csv", {}),
        (csv(sep="\t"), "a.tsv", {}),
        (csv(sep=" "), "a.txt", {}),
        (csv(sep=";"), "a.csv", {"separator": "semicolon"}),
        (csv(sep=";", decimal=","), "a.csv", {"separator": "semicolon", "decimal": "comma"}),
        (csv(index=True), "a.csv", {}),
        (csv(FRAME.rename_axis("day"), index=True), "a.csv", {"index": True}),
        (csv(FRAME.set_axis(pd.date_range("2020", periods=12)), index=True), "a.csv", {"index": True}),
    ],
)
def test_the_same_table_is_read_from_whatever_holds_it(tmp_path, content, name, keys):
    found = table(tmp_path, content, name, **keys)
    assert np.array_equal(found.values, POINTS) and found.columns == ("x", "y")


def test_what_was_decided_is_told(tmp_path):
    assert "index" in table(tmp_path, csv(index=True)).notes[0]
    assert "Latin-1" in table(tmp_path, csv().replace("x", "größe").encode("latin-1")).notes[0]
    assert table(tmp_path, csv(), header=True).notes == ()


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("first", [[0, 1], [1, 2], [2019, 2024]])
def test_whole_numbers_above_other_numbers_are_asked_about(tmp_path, first, named):
    content = csv(FRAME.set_axis(first, axis=1))
    with pytest.raises(DataError, match=r"dataset\.header=true.*dataset\.header=false"):
        table(tmp_path, content)
    found = table(tmp_path, content, header=named)
    assert found.values.shape == ((12, 2) if named else (13, 2))
    assert found.columns == (tuple(map(str, first)) if named else ())


def test_numbers_that_repeat_or_have_decimals_are_points(tmp_path):
    assert table(tmp_path, csv(header=False)).values.shape == (12, 2)
    assert table(tmp_path, "0,1\n1,1\n" * 6 + "0,0\n").values.shape == (13, 2)
    with pytest.raises(DataError, match="names and numbers"):
        table(tmp_path, "x,2\n" + csv(header=False))
    with pytest.raises(DataError, match="row 0 .* holds 'x'"):
        table(tmp_path, "x,2\n" + csv(header=False), header=False)
    with pytest.raises(DataError, match="gaps"):
        table(tmp_path, "nan,nan\n" + csv(header=False))


@pytest.mark.parametrize("start", [0, 1])
def test_a_column_that_counts_the_rows_is_asked_about(tmp_path, start):
    content = csv(FRAME.assign(t=range(start, 12 + start))[["t", "x", "y"]])
    with pytest.raises(DataError, match=r"counts the rows.*dataset\.index=true.*dataset\.index=false"):
        table(tmp_path, content)
    assert table(tmp_path, content, index=False).columns == ("t", "x", "y")
    assert table(tmp_path, content, index=True).values.shape == (12, 2)


@pytest.mark.parametrize(
    ("content", "way"),
    [
        (csv(sep=";"), "dataset.separator=semicolon dataset.decimal=point"),
        (csv(sep=";", decimal=","), "dataset.separator=semicolon dataset.decimal=comma"),
        (csv(sep="\t", header=False), "dataset.separator=tab dataset.decimal=point"),
        (csv(sep=" "), "dataset.separator=space dataset.decimal=point"),
        (csv(decimal=",", quoting=1), "dataset.separator=comma dataset.decimal=comma"),
    ],
)
def test_another_separator_is_offered_where_it_would_do(tmp_path, content, way):
    with pytest.raises(DataError, match=way):
        table(tmp_path, content)
    keys = dict(word.removeprefix("dataset.").split("=") for word in way.split())
    assert np.array_equal(table(tmp_path, content, **keys).values, POINTS)


numbers = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.tuples(numbers, numbers), min_size=2, max_size=20), header=st.booleans())
def test_every_number_comes_back_as_it_was(tmp_path_factory, rows, header):
    """The decimals that Python writes are read back bit for bit."""
    content = "x,y\n" * header + "".join(f"{a!r},{b!r}\n" for a, b in rows)
    found = table(tmp_path_factory.mktemp("t"), content, header=header, index=False)
    assert np.array_equal(found.values, np.array(rows))


def test_dataframes_give_numbers_and_names():
    found = of_frame(FRAME)
    assert np.array_equal(found.values, POINTS) and found.columns == ("x", "y")
    assert of_frame(pd.DataFrame(POINTS)).columns == ()
    with pytest.raises(DataError, match="column z holds"):
        of_frame(FRAME.assign(z="a"))
    with pytest.raises(DataError, match="row 3 .* no value in column y"):
        of_frame(FRAME.mask((FRAME.index == 3)[:, None] & (FRAME.columns == "y")))


def test_parquet_is_read_by_pandas_or_its_engine_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(pd, "read_parquet", lambda path: FRAME)
    assert table(tmp_path, b"", "a.parquet").columns == ("x", "y")

    def without(path):
        raise ImportError("Unable to find a usable engine")

    monkeypatch.setattr(pd, "read_parquet", without)
    with pytest.raises(DataError, match="pip install pyarrow"):
        table(tmp_path, b"", "a.parquet")


def test_the_data_tell_rows_columns_and_names_and_what_is_odd(tmp_path):
    frame = FRAME.assign(flat=1, again=FRAME.x)
    path = tmp_path / "a.csv"
    path.write_text(csv(frame))
    found = load_array(ArrayConfig("array", path=str(path)))
    assert "12 rows of 4 columns (x, y, flat, again)" in found.source
    assert found.columns == ("x", "y", "flat", "again")
    assert "column flat" in found.notes[0] and "again equals x" in found.notes[1]


@pytest.mark.parametrize(("size", "told"), [(1.0, False), (1e5, True), (1e-5, True), (50.0, False)])
def test_data_far_from_one_are_remarked_on(size, told):
    points = torch.as_tensor(size * POINTS)
    flat = torch.cat([points, torch.full((12, 1), 7.0)], 1)
    assert bool(scale_remark(points)) == bool(scale_remark(flat)) == told


@pytest.mark.parametrize(
    ("name", "keys"),
    [("a.npy", {"header": True}), ("a.parquet", {"separator": "tab"}), ("a.csv", {"key": "x"})],
)
def test_keys_of_other_files_are_refused(tmp_path, name, keys):
    with pytest.raises(DataError, match=f"dataset.{next(iter(keys))}= has no effect on"):
        table(tmp_path, b"", name, **keys)
