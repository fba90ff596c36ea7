"""Distances of samples beside the likelihood: in sweeps of injective flows, and in `evaluate` where asked for."""

import json

import pandas as pd
import pytest
import torch
from torch import nn

from flowrepro.config.compose import compose
from flowrepro.errors import UsageError
from flowrepro.features import networks
from flowrepro.features.network import FeatureNetwork
from flowrepro.figures.catalogue import keys, load_spec
from flowrepro.verbs import distances

DIGITS = ("dataset=digits", "scale=smoke", "training.steps=6", "training.validate_every=3", "threads=1")
DRY = ("evaluation.distances=lite0", "dry_run=true")


class Pooled(nn.Module):
    """Means of 2x2 pixels of the first channel."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(images[:, :1] / 255, 2).flatten(1)


@pytest.fixture(autouse=True)
def small(monkeypatch) -> None:
    """A quick network in the place of lite0, at hand whatever is installed."""
    network = FeatureNetwork("lite0", Pooled(), 16, "0" * 64, "none")
    monkeypatch.setitem(networks.NETWORKS, "lite0", lambda config: network)
    monkeypatch.setattr(distances, "find_spec", lambda name: True)


def test_a_sweep_over_the_latent_dimensions_is_one_table_of_bits_and_distances(flowrepro, workdir) -> None:
    words = ("train", "-m", "model=nif", "model.latent_dim=0,4,8", *DIGITS)
    answer = flowrepro(*words)
    assert answer.code == 0, answer.err
    (folder,) = workdir.glob("outputs/sweeps/*")
    table, every = (pd.read_csv(folder / name) for name in ("sweep.csv", "distances.csv"))
    assert list(table.overrides) == [f"model.latent_dim={m}" for m in (0, 4, 8)]
    assert table.val_bits_per_dim.notna().all() and (folder / "sweep.png").exists()
    frechet = every[every.kind == "frechet"]
    for row in table.itertuples():
        these = frechet[frechet.overrides == row.overrides]
        train, test = (
            {r.at: r.value for r in these[these.split == k].itertuples()} for k in ("train", "test")
        )
        over, _, best = row.tuned_lite0.partition("=")
        assert over == ("t" if row.overrides.endswith("=0") else "s")
        assert set(train) == set(test) == ({0.3, 1} if over == "t" else {0, 1})
        assert float(best) == min(train, key=train.__getitem__)
        assert row.frechet_lite0 == pytest.approx(test[float(best)])
        assert row.floor_lite0 > 0
    assert "frechet_lite0" in answer.out and "val_log_prob" not in answer.out
    again = flowrepro(*words)
    assert again.code == 0 and again.out.count("already finished") == 3
    pd.testing.assert_frame_equal(pd.read_csv(folder / "sweep.csv"), table)


def test_a_network_that_is_not_there_loses_no_training(flowrepro, workdir, monkeypatch) -> None:
    monkeypatch.delenv("FLOWREPRO_INCEPTION", raising=False)
    words = ("model=glow", "seed=0,1", *DIGITS)
    answer = flowrepro("train", "-m", *words, "evaluation.distances=inception")
    assert answer.code == 0 and "no distances: FID needs Inception's weights" in answer.out
    table = pd.read_csv(next(workdir.glob("outputs/sweeps/*/sweep.csv")))
    assert (table.state == "completed").all() and table.error.str.contains("FLOWREPRO_INCEPTION").all()
    assert not list(workdir.glob("outputs/sweeps/*/distances.csv"))


def test_evaluate_tells_distances_where_a_network_is_named(flowrepro, workdir) -> None:
    flowrepro("train", "model=nif", *DIGITS)
    assert "Fréchet" not in flowrepro("evaluate", "run=latest").out
    assert "distances on lite0" in flowrepro("evaluate", "run=latest", *DRY).out
    answer = flowrepro("evaluate", "run=latest", "evaluation.distances=lite0")
    assert answer.code == 0 and "the best on training images; floor" in answer.out
    path = next(workdir.glob("outputs/runs/latest/measures/*/measures.json"))
    rows = pd.DataFrame(json.loads(path.read_text())["distances"])
    chosen = rows[rows.tuned & (rows.split == "test") & (rows.kind == "frechet")].iloc[0]
    assert f"Fréchet (lite0): {chosen.value:.4g} " in answer.out
    assert set(rows.deviation) == {0, 1} and set(rows.n_fake) == {24}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("model=nif dataset=fashion_mnist", ["lite0", "classifier"]),
        # where there are no labels the measure leaves out the classifier
        ("model=nif dataset=faces64", ["lite0", "classifier"]),
        ("model=nif_deep dataset=fashion_mnist scale=smoke", ["lite0"]),
        ("model=nf dataset=fashion_mnist", []),
        ("model=nf dataset=fashion_mnist evaluation.distances=classifier", ["classifier"]),
        ("model=nif dataset=fashion_mnist evaluation.distances=none", []),
        ("model=linear dataset=sine evaluation.distances=lite0", []),
    ],
)
def test_which_networks(words: str, found: list[str]) -> None:
    assert distances.networks(compose(words.split())) == found
    named = compose([*words.split(), "evaluation.distances=inception"])
    assert named.run_name == compose(words.split()).run_name


def test_without_labels_or_another_network_there_is_no_classifier(monkeypatch) -> None:
    named = compose(["model=nif", "dataset=faces64", "evaluation.distances=classifier"])
    with pytest.raises(UsageError, match="needs labels; dataset=faces64 has none"):
        distances.networks(named)
    monkeypatch.setattr(distances, "find_spec", lambda name: None)
    assert distances.networks(compose(["model=nif", "dataset=faces64"])) == []
    assert distances.networks(compose(["model=nif", "dataset=cifar10"])) == ["classifier"]


def test_figures_and_sweeps_share_what_they_measure() -> None:
    specs = [load_spec(key) for key in keys() if key.startswith("across_dimensions/")]
    for scale in ("smoke", "cpu"):
        wanted = [m for spec in specs if (m := spec.measures.get(scale, {}).get("sample_distances"))]
        config = compose(["model=nif", "dataset=fashion_mnist", f"scale={scale}"])
        assert distances.options(config) in wanted
