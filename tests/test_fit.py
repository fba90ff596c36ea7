"""`flowrepro.fit`: a flow from an array, a tensor or a DataFrame, the same as from the command line, and no files."""

import warnings

import lookalikes
import numpy as np
import pandas as pd
import pytest
import torch

import flowrepro as package
from flowrepro.errors import DataError, Diverged, Stopped, UsageError
from flowrepro.training.fitted import _finite
from flowrepro.training.layout import Layout

X = np.random.default_rng(0).normal(size=(60, 2)) @ np.array([[1.0, 0.5], [0.0, 0.3]])
SMALL = {"model.layers": 2, "model.hidden": [8], "threads": 1}


def fit(x, steps=3, **keys):
    small = {"threads": 1} if keys.get("model") in ("glow", "linear") else SMALL
    options = {**small, **keys.pop("options", {})}
    return package.fit(x, steps=steps, progress=False, options=options, **keys)


@pytest.fixture(autouse=True)
def empty(workdir, monkeypatch):
    """Folders of work and of temporary files of their own."""
    (workdir / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(workdir / "temporary"))
    return workdir


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    return fit(X)


def test_it_is_the_flow_of_the_command_line(flowrepro, workdir, fitted):
    np.save(workdir / "points.npy", X)
    words = ["model.layers=2", "model.hidden=[8]", "training.steps=3", "threads=1"]
    assert flowrepro("train", "dataset=array", "dataset.path=points.npy", "model=realnvp", *words).code == 0
    loaded = package.load("latest").flow
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), fitted.flow.parameters(), strict=True))
    assert np.array_equal(loaded.log_prob(X).numpy(), fitted.log_prob(X))


def test_arrays_give_arrays_and_tensors_give_tensors(fitted):
    for f in (fitted.log_prob, fitted.embed, fitted.reconstruct, lambda x: fitted.components(x).values):
        many, one, tensor = f(X), f(X[0]), f(torch.from_numpy(X))
        assert isinstance(many, np.ndarray) and isinstance(tensor, torch.Tensor)
        assert np.allclose(many, tensor.numpy()) and np.allclose(many[0], one)
    assert fitted.components(X).directions.shape == (60, 2, 2)
    assert fitted.sample(7, seed=1).shape == (7, 2)
    assert np.array_equal(fitted.sample(7, seed=1), fitted.sample(7, seed=1, finite=False))
    assert isinstance(fit(torch.from_numpy(X).float(), steps=1).sample(2), torch.Tensor)
    assert np.allclose(fitted.log_prob(X.tolist()), fitted.log_prob(X))


def test_parts_of_a_large_set_make_the_whole(fitted, monkeypatch):
    whole = fitted.components(X)
    monkeypatch.setattr("flowrepro.training.fitted.ROWS", 7)
    for name in ("values", "std", "directions"):
        assert np.allclose(getattr(fitted.components(X), name), getattr(whole, name))
    assert fitted.sample(15, finite=False).shape == fitted.sample(15).shape == (15, 2)
    assert fitted.log_prob(X[:0]).shape == (0,) and fitted.sample(0).shape == (0, 2)


def test_dataframes_keep_their_names_and_numbers():
    frame = pd.DataFrame(X, columns=[" height", "width, in\ncm"])
    flow = fit(frame)
    assert np.array_equal(flow.log_prob(frame), flow.log_prob(frame.iloc[:, ::-1]))
    assert flow.sample(3).columns.tolist() == frame.columns.tolist()
    assert np.array_equal(flow.log_prob(frame), fit(X).log_prob(X)), (
        "bit for bit, though it went through text"
    )
    assert isinstance(fit(pd.DataFrame(X), steps=1).sample(2), np.ndarray)


def test_nothing_is_left_and_nothing_printed_but_a_bar(workdir, capsys):
    package.fit(X, steps=2, options=SMALL)
    out, err = capsys.readouterr()
    # two steps may be over before the bar is drawn again
    assert out == "" and "/2 [" in err
    assert fit(X, steps=2).history.step.tolist() == [0, 2]
    assert capsys.readouterr() == ("", "")
    assert [p.name for p in workdir.rglob("*")] == ["temporary"]


def test_a_run_that_is_kept_can_be_evaluated(flowrepro, workdir):
    flow = fit(pd.DataFrame(X, columns=["a", "b"]), output_dir="outputs")
    answer = flowrepro("evaluate", "run=latest", "evaluation.n_samples=5")
    assert answer.code == 0, answer.err
    assert np.array_equal(package.load("latest").flow.log_prob(X), flow.log_prob(X))


def test_images_are_fitted_too():
    options = {"model.levels": 1, "model.steps": 1, "model.hidden": 4}
    images = lookalikes.noise(20, 8, 8, 1)
    flow = fit(images, model="glow", steps=1, options=options)
    assert flow.sample(2).shape == (2, 8, 8, 1) and np.allclose(flow.reconstruct(images), images, atol=1e-2)
    own = flow.flow.log_prob(np.moveaxis(images, -1, 1)).detach().numpy()
    assert np.allclose(flow.log_prob(images), own) and flow.log_prob(images[0]).shape == ()


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1), (1, 28, 28), (8, 6, 3), (3, 8, 6)])
def test_images_keep_the_layout_in_which_they_came(shape):
    border, own = (2, (1, 32, 32)) if 28 in shape else (0, (3, 8, 6))
    layout, x = Layout(shape, own), np.random.default_rng(0).random((5, *shape))
    held = layout.to_flow(x)
    assert held.shape == (5, *own) and layout.to_flow(x[0]).shape == own
    assert np.array_equal(layout.from_flow(held), x) and np.isclose(held.sum(), x.sum())
    assert not border or not held[..., :border, :].any()
    assert np.array_equal(layout.to_flow(held), held), "what is as the flow has it stays"


@pytest.mark.parametrize(
    ("x", "keys", "error", "told"),
    [
        (np.zeros(5), {}, DataError, r"x has shape \(5,\); rows must be samples"),
        (np.zeros((5, 2)), {}, DataError, r"x has shape \(5, 2\); at least 10 rows"),
        (
            np.where(np.arange(60)[:, None] == 7, np.nan, X),
            {},
            DataError,
            "x: row 7 .* not finite in column 1",
        ),
        (pd.DataFrame({"a": X[:, 0], "b": "no"}), {}, DataError, "x: column b holds"),
        (X, {"model": "glow"}, DataError, r"x has shape \(60, 2\); this model needs images of shape"),
        (X, {"model": "realnpv"}, UsageError, "Did you mean 'realnvp'"),
        (X, {"options": {"model.layres": 2}}, UsageError, "Did you mean 'model.layers'"),
        (X, {"options": {"training.lr": -1}}, UsageError, "training.lr=-1"),
    ],
)
def test_errors_say_what_is_wrong(workdir, x, keys, error, told):
    with pytest.raises(error, match=told):
        fit(x, **keys)
    assert [p.name for p in workdir.rglob("*")] == ["temporary"]


def test_points_of_another_shape_are_refused(fitted):
    with pytest.raises(UsageError, match=r"expected points of shape \(2,\) or \(N, 2\), not \(5, 3\)"):
        fitted.log_prob(np.zeros((5, 3)))


def test_what_a_caller_should_know_is_warned_of():
    with pytest.warns(UserWarning, match="standard deviations"):
        fit(X * 1e6, steps=1)
    with pytest.raises(Diverged, match="^diverged at step") as error:
        fit(X, model="linear", steps=9, options={"training.lr": 1e300})
    assert "checkpoint" not in str(error.value)


def test_ctrl_c_is_one_in_python_too(monkeypatch, workdir):
    def stopped(config, bar):
        raise Stopped("stopped at step 1; saved in a folder that is not kept", 130)

    monkeypatch.setattr("flowrepro.training.fit.train", stopped)
    with pytest.raises(KeyboardInterrupt, match="nothing is kept"):
        fit(X)
    with pytest.raises(Stopped, match="saved"):
        fit(X, output_dir="outputs")


def test_samples_that_are_not_finite_are_drawn_again_and_counted():
    source = torch.Generator().manual_seed(0)

    def draw(n):
        x = torch.randn(n, 2, generator=source)
        return torch.where(x[:, :1] > 1, torch.inf, x)

    with pytest.warns(UserWarning, match=r"\d+ of \d+ samples were not finite and have been drawn again"):
        found = _finite(draw, 300)
    assert found.shape == (300, 2) and found.isfinite().all() and found[:, 0].max() <= 1
    with pytest.raises(Diverged, match="samples are not finite"):
        _finite(lambda n: torch.full((n, 2), torch.nan), 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _finite(lambda n: torch.zeros(n, 2), 2_500).shape == (2_500, 2)


def test_dir_shows_what_there_is():
    assert {"fit", "load"} <= set(dir(package)) and all(hasattr(package, name) for name in dir(package))
