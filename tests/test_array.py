"""The user's own points: every format, and every kind of bad table named by its row."""

import csv
import pickle
import struct
import tokenize
import zipfile
import zlib

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, UnidentifiedImageError

from flowrepro.config.compose import compose
from flowrepro.data import check, load
from flowrepro.data.reading import reading
from flowrepro.errors import DataError

POINTS = np.random.default_rng(0).normal(size=(40, 3))


def points_from(path, *words):
    return load(compose(["dataset=array", f"dataset.path={path}", *words]).dataset, torch.float64)


@pytest.fixture(params=["npy", "npz", "csv", "csv with a header"])
def file(request, tmp_path):
    path = tmp_path / f"points.{request.param[:3]}"
    if path.suffix == ".npy":
        np.save(path, POINTS)
    elif path.suffix == ".npz":
        np.savez(path, POINTS)
    else:
        np.savetxt(
            path, POINTS, delimiter=",", header="a,b,c" if "header" in request.param else "", comments=""
        )
    return path


def test_every_format_gives_the_same_split(file):
    data = points_from(file)
    assert (data.train.shape, data.val.shape) == ((36, 3), (4, 3))
    rows = np.sort(np.concatenate([data.train.numpy(), data.val.numpy()])[:, 0])
    assert np.allclose(rows, np.sort(POINTS[:, 0]))
    assert torch.equal(points_from(file).train, data.train)
    assert not torch.equal(points_from(file, "dataset.seed=1").val, data.val)
    assert len(points_from(file, "dataset.val_fraction=0.5").val) == 20
    assert "(40, 3)" in check(compose(["dataset=array", f"dataset.path={file}"]).dataset)


def test_an_array_of_several_is_chosen_by_key(tmp_path):
    np.savez(tmp_path / "a.npz", x=POINTS, y=POINTS[:20])
    assert len(points_from(tmp_path / "a.npz", "dataset.key=y").train) == 18
    with pytest.raises(DataError, match=r"x, y.*dataset.key"):
        points_from(tmp_path / "a.npz")


def bad(rows):
    points = POINTS.copy()
    for row in rows:
        points[row, 1] = np.nan
    return points


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (bad([7, 9]), ["row 7", "2 such rows"]),
        (POINTS[:, :, None], ["(40, 3, 1)", "reshape"]),
        (POINTS[:3], ["at least 10"]),
        (POINTS.astype(str), ["not numbers"]),
    ],
)
def test_bad_arrays_are_named(tmp_path, array, words):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError) as error:
        points_from(tmp_path / "a.npy")
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("1,2\n" * 12 + "1,2,3\n", "line 13 has 3 columns, the first line has 2"),
        ("1,2\n" * 12 + "1,abc\n", "row 12 (counted from 0) holds 'abc' in column 2"),
        ("1,2\n" * 12 + "1,inf\n", "row 12 (counted from 0) holds 'inf' in column 2"),
        ("1,2\n" * 12 + "1,1e999\n", "row 12 (counted from 0) is not finite in column 2"),
        ("x,y\n" + "1,2\n" * 12 + "1,\n", "row 12 (counted from 0) has no value in column y"),
        ("x,y\n" + "1,2\n" * 12 + "1\n", "row 12 (counted from 0) has no value in column y"),
        ("x,y\n" + "NA,2\n" + "1,2\n" * 12, "row 0 (counted from 0) has no value in column x"),
        ("1,2\n" * 12 + "1_0,2\n", "holds '1_0' in column 1, which is not a number"),
        ("1,2\n" * 12 + "0x1,2\n", "holds '0x1'"),
        ("1,2\n" * 12 + "\u0661,2\n", "holds '\u0661'"),
        ("1,2\n" * 12 + "True,2\n", "holds 'True'"),
        ('1,2\n"3' + ",4\n" * 12, "never closed"),
        ("1,2\n\0" * 12, "not a text file"),
        ("", "at least 10"),
    ],
)
def test_bad_tables_are_named_by_row(tmp_path, text, word):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError) as error:
        points_from(tmp_path / "a.csv")
    assert word in str(error.value)


def test_broken_and_hostile_files_are_refused(tmp_path):
    for name, content in {
        "a.npy": b"nonsense",
        "b.npz": b"PK nonsense",
        "c.npy": pickle.dumps([1]),
        "d.txt": b"1",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            points_from(tmp_path / name)
    np.save(tmp_path / "e.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"e\.npy"):
        points_from(tmp_path / "e.npy")


def damaged(tmp_path):
    """(name, content, a word of the sentence) of files that are not what they are called."""
    np.save(tmp_path / "points.npy", POINTS)
    np.savez_compressed(tmp_path / "points.npz", POINTS)
    npy, npz = ((tmp_path / f"points.{kind}").read_bytes() for kind in ("npy", "npz"))
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("points.csv", "1,2")
    middle = len(npz) // 2
    return [
        ("a.npy", npz, "an .npz archive; rename it"),
        ("a.npz", npy, "not an .npz archive"),
        ("b.npz", npz[:middle] + bytes(40) + npz[middle + 40 :], "cannot be read as .npz"),
        ("c.npz", (tmp_path / "text.npz").read_bytes(), "not an array"),
        ("b.npy", npy[:40], "cannot be read as .npy"),
        (
            "c.npy",
            npy.replace(b"(40, 3)", b"(40000000000000, 3)").replace(b" " * 12 + b"\n", b"\n"),
            "memory",
        ),
        ("d.npy", npy[:-8], "cannot be read as .npy"),
    ]


@pytest.mark.parametrize("number", range(7))
def test_damaged_and_misnamed_files_are_told_in_a_sentence(tmp_path, number):
    name, content, word = damaged(tmp_path)[number]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name) as error:
        points_from(tmp_path / name)
    assert word in str(error.value) and len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "error",
    [
        zipfile.BadZipFile("File is not a zip file"),
        zlib.error("Error -3 while decompressing data"),
        csv.Error("field larger than field limit"),
        pd.errors.ParserError("Error tokenizing data"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        UnidentifiedImageError("cannot identify image file"),
        Image.DecompressionBombError("Image size exceeds limit"),
        pickle.UnpicklingError("invalid load key"),
        tokenize.TokenError("EOF in multi-line statement", (2, 0)),
        struct.error("unpack requires a buffer of 4 bytes"),
        PermissionError(13, "Permission denied"),
        MemoryError("Unable to allocate 582. TiB"),
        NotImplementedError("That compression method is not supported"),
        EOFError(),
        KeyError("data"),
        ImportError("Missing optional dependency"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_reader_raises_becomes_one_sentence_with_the_file(error):
    with pytest.raises(DataError, match=r"points\.xyz") as found, reading("points.xyz", "a table"):
        raise error
    assert len(str(found.value).splitlines()) == 1 and found.value.__cause__ is error


def test_a_missing_path_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="dataset.path=points.npy"):
        load(compose(["dataset=array"]).dataset, torch.float64)
    with pytest.raises(DataError, match="no such file"):
        points_from(tmp_path / "none.npy")
