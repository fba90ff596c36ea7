"""The user's own points: every format, and every kind of bad table named by its row."""

import pickle

import numpy as np
import pytest
import torch

from flowrepro.config.compose import compose
from flowrepro.data import check, load
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
        ("1,2\n" * 12 + "1,2,3\n", "row 12 (counted from 0) has 3 columns"),
        ("1,2\n" * 12 + "1,abc\n", "row 12 (counted from 0) holds 'abc'"),
        ("1,2\n" * 12 + "1,inf\n", "row 12 (counted from 0) is not finite"),
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


def test_a_missing_path_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="dataset.path=points.npy"):
        load(compose(["dataset=array"]).dataset, torch.float64)
    with pytest.raises(DataError, match="no such file"):
        points_from(tmp_path / "none.npy")
