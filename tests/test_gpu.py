"""What runs on a CPU runs on a GPU and gives the same: flows, backward passes, training, resuming, measures.

Skipped where torch sees no GPU; FLOWREPRO_TEST_DEVICE=cpu tries the tests themselves.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from flowrepro.config.schema import (
    GlowConfig,
    NFConfig,
    NIFConfig,
    NIFDeepConfig,
    QLFConfig,
    QLFVectorsConfig,
    RealNVPImagesConfig,
)
from flowrepro.flows.conv_nets import set_bf16, to_channels_last
from flowrepro.flows.core import Flow
from flowrepro.flows.models import build
from flowrepro.runs.folder import find
from flowrepro.training.gradients import set_backward

DEVICE = os.environ.get("FLOWREPRO_TEST_DEVICE", "cuda")
pytestmark = pytest.mark.skipif(
    DEVICE == "cuda" and not torch.cuda.is_available(), reason="torch sees no GPU here"
)

IMAGES = {
    "glow": GlowConfig("glow", levels=2, steps=3, hidden=16),
    "nf": NFConfig("nf", levels=2, steps=3, hidden=16),
    "realnvp_images": RealNVPImagesConfig("realnvp_images", levels=2, steps=3, hidden=16),
    "qlf": QLFConfig("qlf", levels=2, steps=3, hidden=16, bottleneck=8, squeezed=2),
    "nif": NIFConfig("nif", levels=2, steps=3, hidden=16, latent_dim=7),
}
DEEP = NIFDeepConfig(
    *("nif_deep", 2, 2, 6), latent_dim=3, latent_couplings=2, latent_hidden=[6], importance_samples=4
)
each_image_model = pytest.mark.parametrize("name", IMAGES)


@pytest.fixture(autouse=True)
def exact() -> None:
    torch.backends.cudnn.allow_tf32 = False


def grey(n: int, seed: int = 1) -> Tensor:
    return 256 * torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(name: str, dtype: torch.dtype = torch.float64) -> Flow:
    """A flow on the CPU whose networks no longer start at zero."""
    generator = torch.Generator().manual_seed(0)
    flow = build(IMAGES[name], (3, 8, 8), 256, generator, dtype)
    flow.init_from(grey(50).to(dtype))
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator, dtype=dtype))
    return flow


def on_device(flow: Flow) -> Flow:
    flow = flow.to(DEVICE)
    to_channels_last(flow)
    return flow


@each_image_model
def test_log_probs_latents_and_samples_are_those_of_the_cpu(name: str) -> None:
    here, there, x = made(name).eval(), on_device(made(name)).eval(), grey(9)
    with torch.no_grad():
        torch.testing.assert_close(there.log_prob(x.to(DEVICE)).cpu(), here.log_prob(x), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(there.latents(x.to(DEVICE)).cpu(), here.latents(x), rtol=0, atol=1e-8)
        drawn = [f.sample(9, generator=torch.Generator().manual_seed(0)).cpu() for f in (here, there)]
        torch.testing.assert_close(*drawn, rtol=1e-6, atol=1e-6)


@each_image_model
def test_inverses_are_exact_in_float32(name: str) -> None:
    flow, x = on_device(made(name, torch.float32)).eval(), grey(9).float().to(DEVICE)
    with torch.no_grad():
        back = flow.chain.inverse(flow.latents(x))
    assert (back.reshape(x.shape) - x).abs().max() <= 256 * 1e-5


@each_image_model
@pytest.mark.parametrize("how", ["plain", "checkpoint", "invert"])
def test_gradients_are_those_of_the_cpu(name: str, how: str) -> None:
    def gradients(flow: Flow, x: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(-flow.log_prob(x).mean(), [*flow.parameters()]))

    there = on_device(made(name))
    set_backward(there, how)
    for a, b in zip(gradients(made(name), grey(6)), gradients(there, grey(6).to(DEVICE)), strict=True):
        assert (a - b.cpu()).abs().max() <= 1e-8 * (1 + a.abs().max())


@each_image_model
def test_networks_in_bfloat16_move_the_likelihood_little(name: str) -> None:
    flow, x = on_device(made(name, torch.float32)).train(), grey(20).float().to(DEVICE)
    full = flow.log_prob(x)
    set_bf16(flow, True)
    half = flow.log_prob(x)
    assert half.dtype == torch.float32
    # of 192 dimensions
    assert (half - full).abs().mean() <= 0.02 * 192


def test_the_spline_and_its_gradient_on_vectors() -> None:
    flow = build(
        QLFVectorsConfig("qlf_vectors", layers=3, hidden=[8]),
        (2,),
        None,
        torch.Generator().manual_seed(0),
        torch.float64,
    )
    x = 3 * torch.randn(200, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    flow.init_from(x)
    parameters = list(flow.parameters())
    here = torch.autograd.grad(flow.log_prob(x).mean(), parameters)
    there = torch.autograd.grad(flow.to(DEVICE).log_prob(x.to(DEVICE)).mean(), list(flow.parameters()))
    for a, b in zip(here, there, strict=True):
        torch.testing.assert_close(a, b.cpu(), rtol=1e-8, atol=1e-10)


def test_the_bound_of_the_deep_nif_is_finite() -> None:
    flow = build(DEEP, (3, 8, 8), 256, torch.Generator().manual_seed(0), torch.float32)
    flow.init_from(grey(50).float())
    flow = on_device(flow).eval()
    x = grey(5).float().to(DEVICE)
    bound = flow.log_prob(x, torch.Generator(DEVICE).manual_seed(0))
    assert bound.isfinite().all()
    assert flow.sample(3, generator=torch.Generator(DEVICE).manual_seed(0)).isfinite().all()


WORDS = [
    "dataset=digits", "scale=smoke", "training.steps=12", "training.validate_every=4",
    "training.checkpoint_seconds=0", "training.ema=0.9",
]  # fmt: skip


@pytest.mark.parametrize("more", [[], ["training.bf16=true"]])
@pytest.mark.parametrize("model", [*IMAGES, "nif_deep"])
def test_training_resuming_and_measuring(flowrepro, model: str, more: list[str]) -> None:
    words = ["train", f"model={model}", *WORDS, *more]
    assert flowrepro(*words, f"device={DEVICE}").code == 0
    run = find("latest", Path("outputs/runs"))
    longer = flowrepro(*words, "training.steps=16", f"device={DEVICE}")
    assert longer.code == 0, longer.err
    values = []
    for device in (DEVICE, "cpu"):
        answer = flowrepro("evaluate", f"run={run.name}", f"device={device}", "evaluation.n_samples=8")
        assert answer.code == 0, answer.err
        files = sorted(run.path.glob("measures/*/likelihood.csv"))
        values.append(pd.read_csv(files[-1]))
    assert flowrepro("plot", f"run={run.name}").code == 0
    for column in values[0].select_dtypes("number"):
        a, b = values[0][column].to_numpy(), values[1][column].to_numpy()
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3, err_msg=str(column))


@pytest.mark.parametrize("model", ["realnvp", "dense_asinh", "linear", "qlf_vectors", "coupling"])
def test_vector_models_train_and_are_measured(flowrepro, model: str) -> None:
    words = [f"model={model}", "dataset=sine", "scale=smoke", f"device={DEVICE}"]
    assert flowrepro("train", *words).code == 0
    answer = flowrepro("evaluate", "run=latest", f"device={DEVICE}")
    assert answer.code == 0, answer.err
    assert flowrepro("plot", "run=latest").code == 0


@pytest.mark.parametrize("model", [*IMAGES, "realnvp", "qlf_vectors", "dense_asinh"])
def test_recorded_steps_are_those_of_python(flowrepro, model: str) -> None:
    """Not on a CPU, where the option has no effect."""
    data = (
        WORDS
        if model in IMAGES
        else ["dataset=sine", "scale=smoke", "training.steps=12", "training.validate_every=4"]
    )
    found = []
    for recorded in ("false", "true"):
        words = [f"model={model}", *data, f"device={DEVICE}", f"output_dir=outputs/{recorded}"]
        answer = flowrepro("train", *words, f"training.cuda_graph={recorded}")
        assert answer.code == 0, answer.err
        run = find("latest", Path(f"outputs/{recorded}/runs"))
        found.append([record["val_log_prob"] for record in run.history()])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)
