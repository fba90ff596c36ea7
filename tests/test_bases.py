"""What the rest hands to a base: a manifold to project onto, noise for a bound, temperature and deviation."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from flowrepro.config.compose import compose
from flowrepro.config.schema import Config, GlowConfig, LinearConfig, TikhonovConfig
from flowrepro.data import load
from flowrepro.errors import Stopped
from flowrepro.flows import models
from flowrepro.flows.bases import StandardNormal
from flowrepro.flows.core import Flow
from flowrepro.flows.models import build
from flowrepro.measures import image_flow
from flowrepro.metrics.likelihood import log_prob_of, log_probs
from flowrepro.runs.folder import find
from flowrepro.training import loop, regularizers
from flowrepro.verbs import evaluate


class Line(StandardNormal):
    """Around the first axis: `deviation` scales the distance from it."""

    def embed(self, z: Tensor, by: str = "pseudo_inverse") -> Tensor:
        return z[:, :1]

    def project(self, z: Tensor, by: str = "pseudo_inverse") -> Tensor:
        return torch.cat([z[:, :1], torch.zeros_like(z[:, 1:])], 1)

    def sample(self, n, temperature=1.0, deviation=1.0, generator=None) -> Tensor:
        z = super().sample(n, temperature, deviation, generator)
        return torch.cat([z[:, :1], deviation * z[:, 1:]], 1)


class Bound(StandardNormal):
    """A bound of the standard normal, with noise that must come from a generator."""

    def log_prob(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        assert generator is not None
        return super().log_prob(z) - torch.rand(len(z), generator=generator, dtype=z.dtype)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def on_vectors(base: type[StandardNormal]) -> Flow:
    flow = build(LinearConfig("linear"), (3,), None, seeded(), torch.float64)
    return Flow(flow.chain, base(3, torch.float64), flow.shape).eval()


def on_images(base: type[StandardNormal]) -> Flow:
    flow = build(GlowConfig("glow", 1, 1, 4), (1, 4, 4), 256, seeded(), torch.float64)
    return Flow(flow.chain, base(16, torch.float64), flow.shape).eval()


def test_a_square_flow_embeds_and_projects_by_the_identity() -> None:
    flow, x = on_vectors(StandardNormal), points(5, 3)
    assert torch.equal(flow.embed(x), flow.latents(x)) and torch.equal(flow.base.project(x), x)


def test_what_is_reconstructed_lies_on_the_manifold() -> None:
    flow, x = on_vectors(Line), points(5, 3)
    assert torch.equal(flow.embed(x), flow.latents(x)[:, :1])
    torch.testing.assert_close(flow.latents(flow.reconstruct(x)), flow.base.project(flow.latents(x)))


def test_interpolations_lie_on_the_manifold() -> None:
    flow, x = on_images(Line), 256 * torch.rand(2, 1, 4, 4, generator=seeded(), dtype=torch.float64)
    z = flow.latents(image_flow.interpolate(flow, x, points=5, size=2))
    ends = flow.embed(x)
    torch.testing.assert_close(
        z[:, :1], torch.lerp(ends[:1], ends[1:], torch.linspace(0, 1, 5)[:, None].double())
    )
    torch.testing.assert_close(z[:, 1:], torch.zeros_like(z[:, 1:]))


def test_temperature_and_deviation_reach_samples_of_images() -> None:
    flow = on_images(Line)
    away, near, cold = (
        flow.latents(image_flow.sample(flow, 6, temperature, 0, 4, "cpu", deviation))
        for temperature, deviation in ((1.0, 1.0), (1.0, 0.25), (0.0, 1.0))
    )
    torch.testing.assert_close(near[:, :1], away[:, :1])
    torch.testing.assert_close(near[:, 1:], 0.25 * away[:, 1:])
    torch.testing.assert_close(cold, torch.zeros_like(cold))


def test_temperature_and_deviation_reach_samples_of_vectors() -> None:
    flow, config = on_vectors(Line), compose(["dataset=sine", "evaluation.n_samples=6"])

    def latents(**settings: float) -> Tensor:
        wanted = replace(config, evaluation=replace(config.evaluation, **settings))
        return flow.latents(torch.from_numpy(evaluate.sample(flow, wanted, "cpu")))

    away, near, warm = latents(), latents(deviation=0.0), latents(temperature=2.0)
    torch.testing.assert_close(near, flow.base.project(away))
    torch.testing.assert_close(warm, 2 * away)


@pytest.mark.parametrize("estimator", ["exact", "hutchinson"])
def test_the_noise_of_a_bound_comes_from_the_generator_of_the_step(estimator: str) -> None:
    square, bound, x = on_vectors(StandardNormal), on_vectors(Bound), points(7, 3)
    for regularizer in (
        regularizers.NoRegularizer(),
        regularizers.build(TikhonovConfig("tikhonov", estimator=estimator)),
    ):
        exact, term = regularizer(square, x, seeded(1))
        noisy, same = regularizer(bound, x, seeded(1))
        again, _ = regularizer(bound, x, seeded(1))
        assert torch.equal(noisy, again) and torch.equal(term, same)
        assert ((exact - noisy) > 0).all() and ((exact - noisy) < 1).all()
        assert not torch.equal(regularizer(bound, x, seeded(2))[0], noisy)


def test_a_bound_has_the_same_noise_in_every_pass_over_a_set() -> None:
    flow, x = on_vectors(Bound), points(50, 3)
    first, again = (log_probs(log_prob_of(flow, 0), x, 20) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(log_probs(log_prob_of(flow, 0, draw=1), x, 20), first)
    assert not torch.equal(log_probs(log_prob_of(flow, 1), x, 20), first)


@pytest.fixture
def noisy_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """`model=linear` has a base that gives a bound."""
    linear = models.MODELS["linear"]

    def noisy(config, shape, grey_levels, generator, dtype) -> Flow:
        return Flow(linear(config, shape, grey_levels, generator, dtype).chain, Bound(*shape, dtype))

    monkeypatch.setitem(models.MODELS, "linear", noisy)


def quick(*words: str) -> Config:
    return compose(
        [
            *("dataset=sine", "model=linear", "scale=smoke", "dataset.n_train=200", "dataset.n_val=50"),
            *("training.steps=9", "training.validate_every=3", "threads=1", *words),
        ]
    )


def weights(folder: Path) -> dict[str, Tensor]:
    return torch.load(find("latest", folder / "runs").checkpoint("last"), weights_only=True)["training"]


@pytest.mark.parametrize("regularizer", ["none", "tikhonov"])
def test_a_model_with_a_bound_is_trained_resumed_and_evaluated_with_the_same_noise(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, noisy_model: None, regularizer: str
) -> None:
    words = [f"regularizer={regularizer}"]
    undisturbed = loop.train(quick(*words, "output_dir=undisturbed"))
    take_step = loop._take_step

    def stop(run, session, *rest) -> None:
        take_step(run, session, *rest)
        if session.counters.step == 4:
            raise Stopped("here", 130)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(loop, "_take_step", stop)
        loop.train(quick(*words, "training.checkpoint_seconds=0"))
    resumed = loop.train(quick(*words))
    assert resumed["val_log_prob"] == undisturbed["val_log_prob"]
    whole, parts = weights(workdir / "undisturbed"), weights(workdir / "outputs")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    config = quick(*words)
    flow, data = on_vectors(Bound), load(config.dataset, torch.float64)
    scores = [evaluate.scores_of(flow, data, config, "cpu") for _ in range(2)]
    tables = [evaluate.likelihood_table(found, data, config) for found in scores]
    pd.testing.assert_frame_equal(*tables)
