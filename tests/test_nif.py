"""Noisy injective flows from the command line: trained, resumed, evaluated, drawn; presets of each data set."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import flowrepro as package
from flowrepro.config.compose import compose
from flowrepro.config.schema import NFConfig, NIFConfig
from flowrepro.errors import Stopped
from flowrepro.flows.models import build
from flowrepro.runs.folder import find
from flowrepro.training import loop

MODELS = ("nif", "nif_deep")
DIGITS = ("dataset=digits", "scale=smoke", "training.steps=6", "training.validate_every=3", "threads=1")
each_model = pytest.mark.parametrize("model", MODELS)


def weights(folder: Path) -> dict[str, Tensor]:
    return torch.load(find("latest", folder / "runs").checkpoint("last"), weights_only=True)["training"]


@each_model
def test_a_run_is_trained_evaluated_and_drawn(flowrepro, workdir, model) -> None:
    for words in (
        ("train", f"model={model}", *DIGITS),
        ("evaluate", "run=latest", "evaluation.deviations=[0,0.5,1]"),
        ("plot", "run=latest"),
    ):
        answer = flowrepro(*words)
        assert answer.code == 0, answer.err
        if words[0] == "evaluate":
            assert "manifold    of 8 dimensions" in answer.out and "inverse     largest error" in answer.out
    run = workdir / "outputs/runs/latest"
    measures = json.loads(next(run.glob("measures/*/measures.json")).read_text())
    assert measures["latent_dim"] == 8 and measures["deviations"] == [0, 0.5, 1]
    assert measures["inverse"]["exact"] and measures["inverse"]["held_out_max"] < 1e-3
    # from the manifold, not by the inverse
    assert measures["reconstruction_mean"] > 0.1
    arrays = np.load(next(run.glob("measures/*/samples.npz")))
    assert all(len(arrays[f"deviation_{s}"]) == 64 for s in ("0", "0.5", "1"))
    names = {p.stem for p in run.glob("plots/*.png")}
    assert names == {"training", "layers", "samples", "interpolation", "reconstruction", "deviations"}


@torch.no_grad()
def test_without_a_and_with_unit_noise_it_is_the_nf() -> None:
    x = 256 * torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    nf, nif = (
        build(config, (1, 16, 16), 256, torch.Generator().manual_seed(0), torch.float32)
        for config in (NFConfig("nf", 2, 2, 8), NIFConfig("nif", 2, 2, 8, latent_dim=12))
    )
    for flow in (nf, nif):
        flow.init_from(x)
    bits = {"at first": (nif(x) - nf(x)).abs() / (256 * math.log(2))}
    nif.base.injection.operator.weight.zero_()
    bits["A = 0"] = (nif(x) - nf(x)).abs() / (256 * math.log(2))
    assert bits["A = 0"].max() < 1e-5 < bits["at first"].min()


def test_a_square_flow_has_no_deviations(flowrepro, workdir) -> None:
    flowrepro("train", "model=nif", "model.latent_dim=0", *DIGITS)
    answer = flowrepro("evaluate", "run=latest")
    assert answer.code == 0 and "manifold" not in answer.out and "inverse     largest error" in answer.out
    assert flowrepro("plot", "run=latest").code == 0
    assert not list(workdir.glob("outputs/runs/latest/plots/deviations.png"))


@each_model
def test_resumed_training_is_bit_for_bit_that_without_interruption(workdir, monkeypatch, model) -> None:
    words = [f"model={model}", *DIGITS, "training.ema=0.9"]
    undisturbed = loop.train(compose([*words, "output_dir=undisturbed"]))
    take_step = loop._take_step

    def stop(run, session, *rest) -> None:
        take_step(run, session, *rest)
        if session.counters.step == 4:
            raise Stopped("here", 130)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(loop, "_take_step", stop)
        loop.train(compose([*words, "training.checkpoint_seconds=0"]))
    resumed = loop.train(compose(words))
    assert resumed["val_log_prob"] == undisturbed["val_log_prob"]
    whole, parts = weights(workdir / "undisturbed"), weights(workdir / "outputs")
    assert whole.keys() == parts.keys() and all(torch.equal(whole[name], parts[name]) for name in whole)


@each_model
def test_a_loaded_flow_reconstructs_and_embeds(flowrepro, workdir, model) -> None:
    flowrepro("train", f"model={model}", *DIGITS)
    flow, config = package.load("latest")
    x = np.full((3, 1, 8, 8), 9, np.uint8)
    assert config.model.latent_dim == 8 == flow.base.latent_dim
    assert flow.embed(x).shape == (3, 8) and flow.reconstruct(x).shape == (3, 1, 8, 8)
    assert flow.embed(x[0]).shape == (8,) and flow.reconstruct(x[0]).shape == (1, 8, 8)
    on_manifold = flow.reconstruct(x)
    # 9.0 of 17 grey levels, there and back once more
    assert (flow.reconstruct(on_manifold) - on_manifold).abs().max() < 0.05 < (on_manifold - 9).abs().max()
    torch.testing.assert_close(
        flow.embed(flow.reconstruct(x)),
        flow.embed(x),
        rtol=1e-2,
        atol=1e-2 * float(flow.embed(x).abs().max()),
    )


def test_temperature_and_deviation_scale_stds_or_variances(flowrepro, workdir) -> None:
    flowrepro("train", "model=nif", *DIGITS)

    def samples(t: float, s: float, scaling: str) -> np.ndarray:
        keys = {"temperature": t, "deviation": s, "scaling": scaling, "temperatures": f"[{t}]"}
        assert (
            flowrepro("evaluate", "run=latest", *(f"evaluation.{k}={v}" for k, v in keys.items())).code == 0
        )
        arrays = np.load(next(workdir.glob("outputs/runs/latest/measures/*/samples.npz")))
        return np.concatenate([arrays["samples"], arrays[f"temperature_{t:g}"]])

    by_std, by_variance = samples(0.5, 0.3, "std"), samples(0.25, 0.09, "variance")
    assert (np.abs(by_std.astype(int) - by_variance) <= 1).all()
    assert (by_std != samples(0.5, 0.3, "variance")).any()


def test_samples_may_have_the_unit_noise_of_the_authors_code(flowrepro, workdir) -> None:
    flowrepro("train", "model=nif", *DIGITS, "training.lr=0.1")
    found = {}
    for noise in ("learned", "identity"):
        words = ("evaluation.checkpoint=last", f"evaluation.sample_noise={noise}")
        assert flowrepro("evaluate", "run=latest", *words).code == 0
        folder = next(workdir.glob("outputs/runs/latest/measures/*"))
        assert json.loads((folder / "measures.json").read_text())["sample_noise"] == noise
        found[noise] = dict(np.load(folder / "samples.npz"))
    same = {name: (found["learned"][name] == found["identity"][name]).all() for name in found["learned"]}
    assert same.pop("reference") and same.pop("reconstructed") and same.pop("interpolated")
    assert same.pop("deviation_0") and not any(same.values())


def test_the_posterior_mean_is_for_closed_forms(flowrepro, workdir) -> None:
    found = {}
    for model in MODELS:
        flowrepro("train", f"model={model}", *DIGITS)
        for by in ("pseudo_inverse", "posterior_mean"):
            answer = flowrepro("evaluate", "run=latest", f"evaluation.embedding={by}")
            path = next(workdir.glob("outputs/runs/latest/measures/*/samples.npz"))
            found[model, by] = answer.code, np.load(path)["reconstructed"]
    assert (found["nif", "pseudo_inverse"][1] != found["nif", "posterior_mean"][1]).any()
    assert found["nif", "posterior_mean"][0] == 0 and found["nif_deep", "posterior_mean"][0] == 2


@pytest.mark.parametrize("scale", ["cpu", "paper"])
@pytest.mark.parametrize(
    ("dataset", "bits"), [("fashion_mnist", 4), ("cifar10", 3), ("celeba", 3), ("faces64", 3), ("mnist", 8)]
)
def test_nf_and_nif_have_the_bit_depth_of_the_data_set(scale: str, dataset: str, bits: int) -> None:
    for model in ("nf", *MODELS):
        words = [f"dataset={dataset}", f"model={model}", f"scale={scale}"]
        assert compose(words).dataset.bits == bits
        assert compose([*words, "dataset.bits=5"]).dataset.bits == 5
    for model in ("glow", "realnvp_images"):
        assert compose([f"dataset={dataset}", f"model={model}", f"scale={scale}"]).dataset.bits == 8


@pytest.mark.parametrize("scale", ["smoke", "demo", "cpu", "paper"])
def test_nf_and_nif_are_trained_alike(scale: str) -> None:
    nf, *others = (
        compose(["dataset=cifar10", f"model={model}", f"scale={scale}"]) for model in ("nf", *MODELS)
    )
    for other in others:
        assert other.training == nf.training and other.dataset == nf.dataset
        assert (other.model.levels, other.model.steps) == (nf.model.levels, nf.model.steps)
        assert other.regularizer.name == "none"
        wider = 2 if (scale, other.model.name) == ("paper", "nif_deep") else 1
        assert other.model.hidden == wider * nf.model.hidden


def test_the_paper_scale_is_that_of_the_paper() -> None:
    nif = compose(["dataset=celeba", "model=nif", "scale=paper"])
    assert (nif.model.levels, nif.model.steps, nif.model.hidden, nif.model.latent_dim) == (5, 16, 256, 128)
    assert (nif.training.lr, nif.training.warmup, nif.training.clip, nif.training.steps) == (
        1e-4,
        1e4,
        5,
        1e5,
    )
    deep = compose(["dataset=celeba", "model=nif_deep", "scale=paper"]).model
    assert (deep.hidden, deep.latent_dim, deep.latent_couplings, deep.importance_samples) == (
        512,
        128,
        10,
        32,
    )
    assert deep.latent_hidden == 4 * [1024]


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("model=nif model.latent_dim=-1", "model.latent_dim=-1"),
        ("model=nif_deep model.latent_dim=1", "model.latent_dim=1"),
        ("model=nif_deep model.latent_couplings=0", "model.latent_couplings=0"),
        ("model=nif_deep model.latent_hidden=[8,0]", "model.latent_hidden"),
        ("model=nif_deep model.importance_samples=0", "model.importance_samples=0"),
        ("model=nif model.latent_couplings=2", "model=nif has no key 'latent_couplings'"),
        ("model=nif evaluation.deviations=[0,-1]", "evaluation.deviations"),
        ("model=nif evaluation.scaling=var", "evaluation.scaling=var"),
        ("model=nif evaluation.embedding=mean", "evaluation.embedding=mean"),
    ],
)
def test_wrong_values_are_refused(word: str, told: str) -> None:
    with pytest.raises(Exception, match=told):
        compose(["dataset=digits", *word.split()])


def test_the_importance_weighted_bound_stays_below_and_rises_with_its_samples(flowrepro, workdir) -> None:
    """On a trained run: K = 4 of the smoke sizes, K = 64, K = 512."""
    flowrepro("train", "model=nif_deep", *DIGITS)
    flow, _ = package.load("latest")
    x = 17 * torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = []
    for samples in (4, 64, 512):
        flow.base.samples = samples
        values = torch.stack([flow.log_prob(x, torch.Generator().manual_seed(i)) for i in range(5)])
        found.append(float(values.mean()))
    assert found[0] < found[1] < found[2] and not math.isnan(found[2])
