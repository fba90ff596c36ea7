"""Eqs. 8 and 13 of jacobian_determinant: bounds against Jacobians and gradients that are known or from autograd."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from flowrepro.analysis.jacobian import jacobian
from flowrepro.analysis.lipschitz import gradient_bounds, hadamard
from flowrepro.config.schema import DenseConfig, GlowConfig, LinearConfig, NFConfig, RealNVPConfig
from flowrepro.data import Data, ImageData
from flowrepro.data.dequantised import Images
from flowrepro.flows.bases import StandardNormal
from flowrepro.flows.core import Chain, Flow
from flowrepro.flows.linear import Dense
from flowrepro.flows.models import build
from flowrepro.measures import jacobian_bounds

# functional_call of some layers scripts their parametrisations
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

VECTOR_MODELS = {
    "linear": LinearConfig("linear"),
    "dense_asinh": DenseConfig("dense_asinh", layers=3),
    "realnvp": RealNVPConfig("realnvp", layers=3, hidden=[8]),
}


def points(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@torch.no_grad()
def shaken(flow: Flow, size: float) -> Flow:
    """The flow with noise in all its parameters: nothing is zero or the identity."""
    for i, parameter in enumerate(flow.parameters()):
        parameter.add_(size * points(*parameter.shape, seed=i).to(parameter))
    return flow


def vectors(config, dim: int = 3) -> tuple[Flow, Data]:
    x = points(50, dim)
    flow = build(config, (dim,), None, torch.Generator().manual_seed(0), torch.float64).eval()
    flow.init_from(x)
    return shaken(flow, 0.2), Data("noise", x, x, "noise", "")


def pictures(config) -> tuple[Flow, ImageData]:
    grey = torch.randint(0, 256, (20, 8, 8, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    data = ImageData("noise", Images(grey), Images(grey), "noise", "")
    flow = build(config, (3, 8, 8), 256, torch.Generator().manual_seed(0), torch.float32).eval()
    flow.init_from(data.val[:])
    return shaken(flow, 0.02), data


def test_hadamard_is_the_product_of_the_columns_lengths() -> None:
    j = torch.tensor([[[3.0, 0, 0], [4, 2, 0], [0, 0, 1]]])
    assert float(hadamard(j)) == pytest.approx(float(torch.tensor(5.0 * 2 * 1).log()))
    wild = points(200, 6, 6)
    det, most = torch.linalg.slogdet(wild).logabsdet, 6 * torch.linalg.matrix_norm(wild, 2).log()
    assert (det <= hadamard(wild)).all() and (hadamard(wild) <= most).all()
    turned = torch.linalg.qr(wild).Q
    torch.testing.assert_close(hadamard(turned), torch.zeros(200, dtype=wild.dtype), rtol=0, atol=1e-12)


def test_the_bound_of_one_linear_layer_is_its_closed_form() -> None:
    """Of z = W (x - b): |x - b| |z| + |W^-T| for W, and with b all parameters are one vector."""
    layer, x = Dense(4, dtype=torch.float64), points(7, 4)
    layer.bias.requires_grad_(False)
    found = gradient_bounds([layer], StandardNormal(4, x.dtype).log_prob, x)
    z = layer(x)[0]
    # dz/dtheta = [x (x) I, -W]: its square is |x|^2 I + W W^T
    w = layer.weight.detach()
    steep = [
        torch.linalg.matrix_norm(len_ * torch.eye(4, dtype=x.dtype) + w @ w.mT, 2).sqrt()
        for len_ in x.square().sum(1)
    ]
    expected = torch.stack(steep) * z.norm(dim=1) + torch.linalg.inv(w).norm()
    torch.testing.assert_close(found[0], expected.detach())


def test_in_one_dimension_the_recursion_is_exact_where_all_terms_have_one_sign() -> None:
    """log p = a b x with base log_prob z: d/da = b x, d/db = a x, and the log-determinants add 1/a and 1/b."""

    class Times(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.tensor(factor, dtype=torch.float64))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.factor * x, self.factor.log().expand(len(x))

    x = torch.tensor([[0.5], [3.0]], dtype=torch.float64)
    found = gradient_bounds([Times(2.0), Times(5.0)], lambda z: z.sum(1), x)
    torch.testing.assert_close(found, torch.stack([5 * x[:, 0] + 1 / 2, 2 * x[:, 0] + 1 / 5]))


@pytest.mark.parametrize("name", VECTOR_MODELS)
def test_bounds_hold_on_flows_of_vectors(name: str) -> None:
    flow, data = vectors(VECTOR_MODELS[name])
    found = jacobian_bounds.measure(flow, data, n=11, size=4)
    j = jacobian(partial(flow_of, flow), data.val[:11]).detach()
    s = torch.linalg.svdvals(j)
    torch.testing.assert_close(found["log_det"], torch.linalg.slogdet(j).logabsdet, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(torch.stack([found["largest"], found["smallest"]]), s[:, [0, -1]].mT)
    torch.testing.assert_close(found["hadamard"], hadamard(j))
    assert (found["log_det"] <= found["hadamard"] + 1e-9).all()
    assert (found["hadamard"] <= 3 * found["largest"].log() + 1e-9).all()
    assert (found["log_det"] >= 3 * found["smallest"].log() - 1e-9).all()
    assert found["layer_log_det"].shape == (len(flow.chain), 11) == found["gradient"].shape
    torch.testing.assert_close(found["layer_log_det"].sum(0), found["log_det"])
    assert (found["layer_log_det"] <= 3 * found["layer_largest"].log() + 1e-6).all()
    # a product of norms is at least the norm of the product
    assert (found["largest"] <= found["layer_largest"].prod(0) * (1 + 1e-6)).all()


def flow_of(flow: Flow, x: Tensor) -> Tensor:
    return flow.chain(x)[0]


@pytest.mark.parametrize("name", VECTOR_MODELS)
def test_gradients_are_those_of_autograd_and_below_their_bounds(name: str) -> None:
    flow, data = vectors(VECTOR_MODELS[name])
    found = jacobian_bounds.measure(flow, data, n=5)
    for i in range(5):
        flow.zero_grad()
        flow(data.val[i : i + 1]).sum().backward()
        norms = [
            sum((p.grad.square().sum() for p in layer.parameters()), torch.zeros(())).sqrt()
            for layer in flow.chain
        ]
        torch.testing.assert_close(
            found["gradient"][:, i], torch.stack(norms).double(), rtol=1e-8, atol=1e-10
        )
    assert (found["gradient"] <= found["gradient_bound"] * (1 + 1e-9)).all()
    trained = torch.tensor([any(True for _ in layer.parameters()) for layer in flow.chain])
    assert torch.equal(found["gradient_bound"].gt(0).all(1), trained)


@pytest.mark.parametrize("config", [GlowConfig("glow", 2, 1, 4), NFConfig("nf", 1, 1, 4)], ids=["glow", "nf"])
def test_without_forming_jacobians_of_images_the_values_are_the_same(
    config, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, data = pictures(config)
    whole = jacobian_bounds.measure(flow, data, n_images=2)
    monkeypatch.setattr(jacobian_bounds, "EXACT", 1)
    found = jacobian_bounds.measure(flow, data, n_images=2)
    for name in ("log_det", "largest", "smallest"):
        torch.testing.assert_close(found[name], whole[name], rtol=1e-4, atol=1e-6)
    assert (found["log_det"] <= whole["hadamard"]).all()
    assert (whole["hadamard"] <= found["dim"] * found["largest"].log()).all()
    assert found["hadamard"].isnan().all() and found["gradient"].isnan().all()
    assert found["layer_log_det"].shape == found["layer_largest"].shape == found["gradient"].shape


def test_a_multiple_of_the_identity_meets_every_bound() -> None:
    layer = Dense(5, init="whitening", gain=3.0, dtype=torch.float64)
    flow = Flow(Chain(layer), StandardNormal(5, torch.float64))
    x = points(4, 5)
    found = jacobian_bounds.measure(flow, Data("noise", x, x, "noise", ""), n=4)
    full = torch.full((4,), 5 * torch.tensor(3.0, dtype=torch.float64).log().item(), dtype=torch.float64)
    for bound in (
        found["log_det"],
        found["hadamard"],
        5 * found["largest"].log(),
        5 * found["smallest"].log(),
    ):
        torch.testing.assert_close(bound.detach(), full)
