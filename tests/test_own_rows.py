"""What `evaluate` tells of each row of a user's own data, and what it advises."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from flowrepro import load
from flowrepro.data.vectors import Data
from flowrepro.training.large_vectors import large_vectors
from flowrepro.verbs import own_rows
from flowrepro.verbs.evaluate import _below_linear

SMALL = ("scale=smoke", "training.steps=3")


def table(n=60, seed=0):
    rng = np.random.default_rng(seed)
    height, noise = rng.normal(1.7, 0.1, n), rng.normal(size=n)
    return pd.DataFrame({"height": height, "income": np.exp(10 + 0.3 * noise), "crp": 0.01 * noise**2})


def test_each_row_of_a_table_has_its_log_prob_and_components(flowrepro, workdir):
    frame = table()
    frame.to_csv("p.csv")
    words = ("dataset=array", "dataset.path=p.csv", "model=linear", "regularizer=none", *SMALL)
    assert flowrepro("train", *words).code == 0
    answer = flowrepro("evaluate", "run=latest")
    folder = next(workdir.glob("outputs/runs/latest/measures/*"))
    told = next(line for line in answer.out.splitlines() if line.startswith("files "))
    assert set(told.split(maxsplit=1)[1].split(", ")) == {path.name for path in folder.iterdir()}
    rows, flow = pd.read_csv(folder / "log_prob.csv"), load("latest").flow
    # the file as it is, read by another reader
    found = flow.log_prob(pd.read_csv("p.csv", index_col=0)).detach().numpy()
    assert rows.row.tolist() == list(range(60)) and np.allclose(rows.log_prob, found)
    means = pd.read_csv(folder / "likelihood.csv").set_index(["model", "split"]).log_prob["linear"]
    assert np.allclose(rows.groupby("split").log_prob.mean(), means[["train", "val"]])
    parts = pd.read_csv(folder / "components.csv")
    assert set(parts.row) == set(rows.row[rows.split == "train"]) and len(parts) == 54
    values = flow.components(frame.loc[parts.row]).values.detach().abs().numpy()
    assert np.allclose(parts.filter(like="component").abs(), values)
    assert "component 3 runs along" in answer.out


def test_components_are_told_by_the_columns_that_they_run_along():
    # the first component along the second column, the others in the plane of the first and third
    turned = np.array([[0.0, 0.6, 0.8], [1.0, 0.0, 0.0], [0.0, -0.8, 0.6]])
    extracted = {"directions": np.stack([turned, -turned])}
    x = torch.tensor(table().to_numpy())
    data = Data("array", x, x, "p.csv", "", columns=("height", "income", "crp"))
    told = own_rows.components_told(data, extracted)
    along = ["income 100%", "crp 64%, height 36%", "height 64%, crp 36%"]
    assert [line.split(" runs along ")[1] for line in told[:3]] == along
    assert "large numbers come first" in told[3]
    alike = dataclasses.replace(data, train=x / x.std(0))
    assert len(own_rows.components_told(alike, extracted)) == 3
    assert not own_rows.components_told(dataclasses.replace(data, columns=()), extracted)


def test_each_image_of_a_folder_has_its_log_prob(flowrepro, workdir):
    rng = np.random.default_rng(0)
    (workdir / "own" / "more").mkdir(parents=True)
    for i in range(12):
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(workdir / "own" / f"{'more/' * (i % 2)}{i}.png")
    words = (
        "model=glow",
        "model.levels=1",
        "dataset=images",
        "dataset.path=own",
        "dataset.val_fraction=0.25",
    )
    assert flowrepro("train", *words, *SMALL).code == 0
    assert flowrepro("evaluate", "run=latest", "evaluation.n_samples=4").code == 0
    folder = next(workdir.glob("outputs/runs/latest/measures/*"))
    rows = pd.read_csv(folder / "log_prob.csv")
    assert set(rows.file) <= {f"{'more/' * (i % 2)}{i}.png" for i in range(12)} and rows.file.is_unique
    assert rows.split.value_counts().to_dict() == {"train": 3, "val": 3}
    assert np.allclose(rows.bits_per_dim, -rows.log_prob / (8 * 8 * 3 * np.log(2)))


@pytest.mark.parametrize(("shape", "noted"), [((8, 8), False), ((32, 32, 3), True)])
def test_large_images_as_vectors_are_advised_against(shape, noted):
    x = torch.zeros(2, int(np.prod(shape)))
    data = Data("images", x, x, "own", "", image_shape=shape)
    assert ("model=glow" in large_vectors(data, "dense_asinh")) == noted


def test_a_flow_below_the_linear_one_is_told():
    from flowrepro.config.compose import compose

    config = compose(["model=realnvp"])

    def told(flow):
        rows = [{"split": "val", "log_prob": flow, "se": 0.2}, {"split": "val", "log_prob": -22.0, "se": 0.2}]
        return _below_linear(pd.DataFrame(rows), config)

    assert "better by 6 nats" in told(-28.0)[0] and "model.standardize=true" in told(-28.0)[0]
    assert not told(-22.1) and not told(-21.0)
