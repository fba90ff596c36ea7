"""How exact the inverse of an image flow is: the numbers are those of layers whose faults are known."""

import math

import pytest
import torch
from torch import Tensor

from flowrepro.config.schema import GlowConfig, NFConfig, NIFConfig, RealNVPImagesConfig
from flowrepro.data import ImageData
from flowrepro.data.dequantised import Images
from flowrepro.flows.bases import StandardNormal
from flowrepro.flows.convolution import InvertibleConv
from flowrepro.flows.core import Chain, Flow
from flowrepro.flows.injective_bases import GaussianNIF, ImportanceWeighted
from flowrepro.flows.models import build
from flowrepro.flows.preprocess import Rescale
from flowrepro.flows.reshape import MultiScale
from flowrepro.measures import inverse_health
from flowrepro.training.gradients import inexact, set_backward


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def data(shape: tuple[int, int, int] = (8, 8, 3), n: int = 20) -> ImageData:
    images = Images(torch.randint(0, 256, (n, *shape), generator=seeded(), dtype=torch.uint8))
    return ImageData("noise", images, images, "noise", "")


class Off(Rescale):
    """Comes back half a grey level beside where it began; what began above 255 in the first pixel is lost."""

    def inverse(self, z: Tensor) -> Tensor:
        x = super().inverse(z) + 0.5
        return torch.where(x[:, :1, :1, :1] > 255.5, torch.nan, x)


def test_errors_and_losses_are_those_of_the_inverse() -> None:
    levels = MultiScale([Chain()], [], [(3, 8, 8)])
    flow = Flow(Chain(Off(256), levels), StandardNormal(192), (3, 8, 8))
    x = torch.full((4, 3, 8, 8), 100.0)
    x[3, 0, 0, 0] = 255.2
    found = inverse_health.round_trip(flow, x, size=3)
    assert found == {"max": pytest.approx(0.5, abs=1e-4), "mean": pytest.approx(0.5, abs=1e-4), "lost": 0.25}
    assert math.isnan(inverse_health.round_trip(flow, x[3:], size=3)["max"])


@pytest.mark.parametrize(
    "config", [GlowConfig("glow", 2, 1, 4), NIFConfig("nif", 2, 1, 4, latent_dim=2)], ids=["glow", "nif"]
)
def test_a_sound_inverse_is_told_to_be_exact(config) -> None:
    flow = build(config, (3, 8, 8), 256, seeded(), torch.float32).eval()
    flow.init_from(data().val[:])
    found = inverse_health.measure(flow, data(), n=10)
    assert found["exact"] and found["condition"] == pytest.approx(1, abs=1e-3)
    for kind in ("held_out", "samples", "noise"):
        assert 0 < found[f"{kind}_mean"] <= found[f"{kind}_max"] < 0.01 and found[f"{kind}_lost"] == 0
    assert inverse_health.measure(flow, data(), n=10) == found
    lines = inverse_health.told(found, 256)
    assert "of 256 grey levels: held-out images" in lines[0] and "condition number" in lines[1]
    assert len(lines) == (3 if config.name == "nif" else 2)


def test_the_worst_matrix_is_found_in_whatever_parametrisation() -> None:
    flow = build(NFConfig("nf", 2, 2, 4, conv="plain"), (3, 8, 8), 256, seeded(), torch.float32)
    conv = [m for m in flow.modules() if isinstance(m, InvertibleConv)][1]
    with torch.no_grad():
        conv.weight.matrix.copy_(conv.weight.matrix @ torch.diag(torch.tensor([*11 * [1.0], 500.0])))
    assert inverse_health.largest_condition(flow) == pytest.approx(500, rel=1e-4)
    none = build(RealNVPImagesConfig("realnvp_images", 2, 1, 4), (3, 8, 8), 256, seeded(), torch.float32)
    assert math.isnan(inverse_health.largest_condition(none))
    assert len(inverse_health.told(inverse_health.measure(none, data(), n=4), 256)) == 1


def test_the_manifolds_matrix_counts_the_noise() -> None:
    nif = GaussianNIF(40, 3, seeded(), dtype=torch.float64)
    deep = ImportanceWeighted(nif.injection, StandardNormal(3, torch.float64))
    with torch.no_grad():
        nif.injection.noise.log_var.copy_(torch.linspace(-4, 2, 40))
        columns = torch.linalg.qr(torch.randn(40, 3, generator=seeded(1), dtype=torch.float64)).Q
        stds = (0.5 * nif.injection.noise.log_var).exp()
        nif.injection.operator.weight.copy_(stds[:, None] * columns * torch.tensor([1.0, 5.0, 20.0]))
    for base in (nif, deep):
        assert inverse_health.manifold_condition(Flow(Chain(), base)) == pytest.approx(20)
    assert math.isnan(inverse_health.manifold_condition(Flow(Chain(), StandardNormal(4))))


def wild(amount: float) -> Flow:
    """The NF of 24 steps, its weights moved by a share of themselves."""
    flow = build(NFConfig("nf", 3, 8, 16), (3, 16, 16), 256, seeded(), torch.float64)
    flow.init_from(data((16, 16, 3)).val[:])
    with torch.no_grad():
        for parameter in flow.parameters():
            size = amount * parameter.abs().mean().clamp(min=0.05)
            parameter.add_(size * torch.randn(parameter.shape, generator=seeded(8), dtype=torch.float64))
    return flow.to(torch.float32)


@pytest.mark.parametrize(("amount", "exact"), [(0.3, True), (1.2, False)])
def test_gradients_by_inversion_are_right_where_it_says_so(amount: float, exact: bool) -> None:
    def gradients(how: str) -> Tensor:
        flow = wild(amount)
        set_backward(flow, how)
        found = torch.autograd.grad(-flow.log_prob(images.val[:]).mean(), list(flow.parameters()))
        return torch.cat([g.flatten().double() for g in found])

    images = data((16, 16, 3))
    found = inverse_health.measure(wild(amount), images, n=20)
    plain, inverted = gradients("plain"), gradients("invert")
    assert found["exact"] == exact == bool((inverted - plain).norm() < 1e-4 * plain.norm())
    assert ("training.backward=invert" in inverse_health.told(found, 256)[-1]) != exact
    assert bool(inexact(wild(amount), images.val[:], 256, 8)) != exact


def test_training_by_inversion_warns_where_it_resumes_and_validates(flowrepro, workdir, monkeypatch) -> None:
    words = ["train", "model=glow", "dataset=digits", "scale=smoke", "training.steps=4", "threads=1"]
    words += ["training.validate_every=2", "training.backward=invert"]
    assert "warning" not in flowrepro(*words, "training.max_minutes=0").out
    monkeypatch.setattr("flowrepro.metrics.inverse.EXACT", 0.0)
    answer = flowrepro(*words)
    assert answer.code == 0 and "resumes at step 1" in answer.out
    warning = "warning: gradients of training.backward=invert are wrong"
    assert answer.out.count(warning) == 1, "told once as long as it stays the same"
    logged = (workdir / "outputs/runs/latest/run.log").read_text()
    assert logged.count("gradients of training.backward=invert are wrong") == 3, "on resume, at steps 2 and 4"
    assert "warning" not in flowrepro(*words[:-1], "overwrite=true").out
