"""The laws of layers. A new layer is one line in CATALOGUE."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import mpmath
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from flowrepro.errors import UsageError
from flowrepro.flows.activations import Asinh, Softplus
from flowrepro.flows.conv_nets import glow_net, plain_net, zero_conv
from flowrepro.flows.convolution import InvertibleConv, NormedConv
from flowrepro.flows.core import Chain, Layer
from flowrepro.flows.coupling import AdditiveCoupling, AffineCoupling, GlowCoupling
from flowrepro.flows.linear import Dense, Permutation, Rotation, orthogonal
from flowrepro.flows.moments import BinnedCoupling, QuadraticCoupling
from flowrepro.flows.nets import mlp
from flowrepro.flows.norm import ActNorm, BatchNorm, keeps_statistics, update_statistics
from flowrepro.flows.optimal import OptimalRotation
from flowrepro.flows.preprocess import Center, Logit, Rescale, Standardize
from flowrepro.flows.reshape import MultiScale, NoPrior, SplitPrior, Squeeze, latent_shapes
from flowrepro.flows.spline import Spline
from flowrepro.training.gradients import BACKWARDS

# torch's forward-mode differentiation scripts its own formulas when it is first used
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def dense(init: str) -> Callable[[int, torch.dtype], Layer]:
    return lambda dim, dtype: Dense(dim, init, seeded(dim), dtype=dtype)


def coupling(scale: str) -> Callable[[int, torch.dtype], Layer]:
    def make(dim: int, dtype: torch.dtype) -> Layer:
        net = mlp([dim // 2, 16, 2 * (dim - dim // 2)], seeded(dim), "tanh", dtype=dtype)
        return AffineCoupling(dim // 2, net, scale)

    return make


def everything(dim: int, dtype: torch.dtype) -> Layer:
    """All layers in a chain, one chain inside another."""
    inner = Chain(Dense(dim, "orthogonal", seeded(1), dtype=dtype), Softplus(), Center(dim, dtype))
    return Chain(
        Center(dim, dtype),
        Dense(dim, "glorot", seeded(2), dtype=dtype),
        Asinh(),
        Permutation.random(dim, seeded(3)),
        inner,
        Rotation.random(dim, seeded(4), dtype),
        BatchNorm(dim, dtype),
        coupling("soft_clamp")(dim, dtype),
        Dense(dim, "whitening", dtype=dtype),
    )


def conv(matrix: str, size: int = 1) -> Callable[[int, torch.dtype], Layer]:
    return lambda channels, dtype: InvertibleConv(channels, size, matrix, None, seeded(channels), dtype)


def image_coupling(kind: type[AffineCoupling], *scale: str) -> Callable[[int, torch.dtype], Layer]:
    def make(channels: int, dtype: torch.dtype) -> Layer:
        passive = channels // 2
        width_out = (channels - passive) * (2 if scale else 1)
        net = glow_net if kind is GlowCoupling else plain_net
        return kind(passive, net(passive, 5, width_out, seeded(channels), dtype), *scale)

    return make


def multi_scale(prior: bool) -> Callable[[int, torch.dtype], Layer]:
    """Two levels on images (C, 4, 4)."""

    def make(channels: int, dtype: torch.dtype) -> Layer:
        shapes = latent_shapes((channels, 4, 4), 2)
        levels = [
            Chain(Squeeze(), conv("lu")(width, dtype), image_coupling(GlowCoupling, "sigmoid")(width, dtype))
            for width in (4 * channels, 8 * channels)
        ]
        split = SplitPrior(zero_conv(2 * channels, 4 * channels, dtype)) if prior else NoPrior()
        return MultiScale(levels, [split], shapes)

    return make


class OnImages(Layer):
    """A layer on images (C, side, side), seen as one on vectors (B, C side^2)."""

    def __init__(self, layer: Layer, side: int) -> None:
        super().__init__()
        self.layer, self.side = layer, side

    def images(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, self.side, self.side))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, dlogp = self.layer(self.images(x))
        self.shape = z.shape[1:]
        return z.flatten(1), dlogp

    def inverse(self, z: Tensor) -> Tensor:
        return self.layer.inverse(z.unflatten(1, self.shape)).flatten(1)

    def forward_tangents(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z, dlogp, pushed = self.layer.forward_tangents(self.images(x), self.images(t))
        return z.flatten(1), dlogp, pushed.flatten(1, -2)

    def init_from(self, x: Tensor) -> None:
        self.layer.init_from(self.images(x))

    def trace(self, x: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
        return self.layer.trace(self.images(x))

    def prepared(self) -> Layer:
        ready = OnImages(self.layer.prepared(), self.side)
        ready.shape = self.shape
        return ready


@dataclass(frozen=True)
class Case:
    """A constructor (dim, dtype) -> layer, and the latents (low, high) that its inverse is defined for.

    With `side` the layer is on images of `dim` channels, at most two, and is seen as one on vectors; with `halves` it
    makes four channels of every 2x2 pixels.
    """

    make: Callable[[int, torch.dtype], Layer]
    low: float = -4.0
    high: float = 4.0
    onto: bool = True
    min_dim: int = 1
    side: int = 0
    halves: bool = False
    domain: Callable[[Tensor], Tensor] = lambda x: x

    def layer(self, dim: int, dtype: torch.dtype) -> Layer:
        return (
            OnImages(self.make(self.channels(dim), dtype), self.side) if self.side else self.make(dim, dtype)
        )

    def channels(self, dim: int) -> int:
        return max(self.min_dim, min(dim, 2))

    def size(self, dim: int) -> int:
        return self.channels(dim) * self.side**2 if self.side else dim

    def points(self, n: int, dim: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
        """Normal points (n, size) in the layer's domain."""
        return self.domain(points(n, self.size(dim), seed=seed, dtype=dtype))


CATALOGUE = {
    "dense_glorot": Case(dense("glorot")),
    "dense_orthogonal": Case(dense("orthogonal")),
    "dense_whitening": Case(dense("whitening")),
    "rotation": Case(lambda dim, dtype: Rotation.random(dim, seeded(dim), dtype)),
    "permutation": Case(lambda dim, dtype: Permutation.random(dim, seeded(dim))),
    "asinh": Case(lambda dim, dtype: Asinh()),
    "softplus": Case(lambda dim, dtype: Softplus(), low=1e-3),
    "center": Case(Center),
    "standardize": Case(Standardize),
    "binned_coupling": Case(lambda dim, dtype: BinnedCoupling(dim, dtype, bins=8), min_dim=2),
    "quadratic_coupling": Case(lambda dim, dtype: QuadraticCoupling(dim, dim // 2, dtype), min_dim=2),
    "optimal_rotation": Case(lambda dim, dtype: OptimalRotation(dim, 1, dim, dtype), min_dim=2),
    "coupling_exponential": Case(coupling("exponential"), min_dim=2),
    "coupling_soft_clamp": Case(coupling("soft_clamp"), min_dim=2),
    "batch_norm": Case(lambda dim, dtype: BatchNorm(dim, dtype)),
    "act_norm": Case(lambda dim, dtype: ActNorm(dim, dtype=dtype)),
    "rescale": Case(lambda dim, dtype: Rescale(256, 0.5)),
    "logit": Case(lambda dim, dtype: Logit(), low=-2.5, high=2.5, domain=torch.sigmoid),
    "spline": Case(lambda dim, dtype: Spline(dim, dtype=dtype)),
    "spline_exponential": Case(lambda dim, dtype: Spline(dim, 1.5, 3.0, 5, "exponential", dtype)),
    "chain": Case(everything, onto=False, min_dim=2),
    "image_rescale": Case(lambda channels, dtype: Rescale(256, 0.5), side=2),
    "image_logit": Case(lambda channels, dtype: Logit(), side=2, domain=torch.sigmoid),
    "image_asinh": Case(lambda channels, dtype: Asinh(), side=2),
    "image_softplus": Case(lambda channels, dtype: Softplus(), side=2),
    "image_act_norm": Case(lambda channels, dtype: ActNorm(channels, 3.0, dtype), side=2),
    "image_spline": Case(lambda channels, dtype: Spline(channels, dtype=dtype), side=2),
    "conv_plain": Case(conv("plain"), side=2),
    "conv_lu": Case(conv("lu"), side=2),
    "conv_normalised": Case(conv("normalised"), side=2),
    "conv_strided": Case(conv("plain", size=2), side=4, halves=True),
    "normed_conv": Case(lambda c, dtype: NormedConv(ActNorm(c, 3.0, dtype), conv("lu")(c, dtype)), side=2),
    "image_coupling_tanh": Case(image_coupling(AffineCoupling, "tanh"), min_dim=2, side=2),
    "image_coupling_glow": Case(image_coupling(GlowCoupling, "sigmoid"), min_dim=2, side=2),
    "image_coupling_additive": Case(image_coupling(AdditiveCoupling), min_dim=2, side=2),
    "squeeze": Case(lambda channels, dtype: Squeeze(), side=2, halves=True),
    "multi_scale": Case(multi_scale(prior=False), side=4),
    "multi_scale_prior": Case(multi_scale(prior=True), side=4),
}
each_layer = pytest.mark.parametrize("case", CATALOGUE.values(), ids=CATALOGUE.keys())
PARAMETRISED = {n: c for n, c in CATALOGUE.items() if list(c.layer(2, torch.float64).parameters())}
each_parametrised_layer = pytest.mark.parametrize("case", PARAMETRISED.values(), ids=PARAMETRISED.keys())
# what can stand in a level: logits are of pixels alone
IN_LEVELS = {
    n: c
    for n, c in CATALOGUE.items()
    if c.side and n not in ("multi_scale", "multi_scale_prior", "image_logit")
}
each_layer_in_levels = pytest.mark.parametrize("case", IN_LEVELS.values(), ids=IN_LEVELS.keys())
dims = st.integers(1, 8)
seeds = st.integers(0, 10_000)


def filled(case: Case, dim: int, dtype: torch.dtype = torch.float64) -> Layer:
    """The layer of a case, initialised by data and moved away from special values such as zero biases."""
    return started(case.layer(dim, dtype), case.points(200, dim, seed=7, dtype=dtype) + 0.5)


def started(layer: Layer, x: Tensor) -> Layer:
    """The layer in evaluation mode, initialised by x and moved away from special values."""
    layer.eval().init_from(x)
    update_statistics(layer, x)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.05 * points(*parameter.shape, seed=8, dtype=x.dtype))
    return layer


def points(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64).to(dtype)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-8) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def single(layer: Layer) -> Callable[[Tensor], Tensor]:
    return lambda x: layer(x[None])[0][0]


def tracked(layer: Layer, x: Tensor) -> list[Tensor]:
    """Gradients of all outputs of `forward` in x and in every parameter."""
    x = x.clone().requires_grad_()
    z, dlogp = layer(x)
    return list(torch.autograd.grad(z.sum() + dlogp.sum(), [x, *layer.parameters()]))


@each_layer
@settings(max_examples=15, deadline=None)
@given(dim=dims, seed=seeds)
def test_inverse_undoes_forward(case: Case, dim: int, seed: int) -> None:
    assume(dim >= case.min_dim)
    layer, x = filled(case, dim), case.points(5, dim, seed=seed)
    z, dlogp = layer(x)
    assert z.shape == x.shape and dlogp.shape == (5,)
    close(layer.inverse(z), x, 1e-7)


@each_layer
def test_prepared_is_the_same_map(case: Case) -> None:
    layer, x = filled(case, 4), case.points(5, 4)
    z, dlogp = layer(x)
    ready = layer.prepared()
    close(ready(x)[0], z)
    close(ready(x)[1], dlogp)
    close(ready.inverse(z), x, 1e-7)


@each_layer
def test_the_trace_adds_up(case: Case) -> None:
    layer, x = filled(case, 4), case.points(5, 4)
    names, outputs, changes = zip(*layer.trace(x), strict=True)
    close(torch.stack(changes).sum(0), layer(x)[1])
    assert len(set(names)) == len(names)
    # of several scales the latents of all levels come out, not the last alone
    last = torch.cat(
        [z.flatten(1) for n, z in zip(names, outputs, strict=True) if "leaves" in n] or [outputs[-1]], 1
    )
    close(last.flatten(1), layer(x)[0])


@each_layer
@pytest.mark.parametrize("how", ["checkpoint", "invert"])
def test_every_backward_pass_gives_the_gradients_of_plain_autograd(case: Case, how: str) -> None:
    layer, x = filled(case, 4), case.points(6, 4)
    if case.side:
        layer, x = layer.layer, layer.images(x)
    plain, other = tracked(Chain(layer), x), tracked(BACKWARDS[how](layer), x)
    for a, b in zip(plain, other, strict=True):
        close(a, b)


@each_layer_in_levels
@pytest.mark.parametrize("share", [1 / 2, 3 / 4])
def test_levels_of_any_layer_are_a_bijection_with_its_log_determinant(case: Case, share: float) -> None:
    shapes, widths = latent_shapes((1, 8, 8), 3, share), [1]
    for leaves, _, _ in shapes[:-1]:
        widths.append(4 * widths[-1] - leaves)
    levels = [
        Chain(case.make(c, torch.float64))
        if case.halves
        else Chain(Squeeze(), case.make(4 * c, torch.float64))
        for c in widths
    ]
    layer = started(MultiScale(levels, [NoPrior()] * 2, shapes), points(50, 1, 8, 8) + 0.5)
    x = points(2, 1, 8, 8)
    z, dlogp = layer(x)
    close(layer.inverse(z), x, 1e-7)
    jacobian = torch.autograd.functional.jacobian(lambda x: layer(x[None])[0][0], x[0]).view(64, 64)
    close(dlogp[0], torch.linalg.slogdet(jacobian)[1])
    close(torch.stack([change for _, _, change in layer.trace(x)]).sum(0), dlogp)
    assert [tuple(part.shape[1:]) for part in layer.split(z)] == shapes
    close(torch.cat([part.flatten(1) for part in layer.split(z)], 1), z)


@each_layer
@settings(max_examples=15, deadline=None)
@given(dim=dims, seed=seeds)
def test_forward_undoes_inverse(case: Case, dim: int, seed: int) -> None:
    assume(dim >= case.min_dim)
    layer = filled(case, dim)
    unit = torch.rand(5, case.size(dim), generator=seeded(seed), dtype=torch.float64)
    z = case.low + (case.high - case.low) * unit
    if case.side or not case.onto:
        z = layer(case.points(5, dim, seed=seed))[0]
    close(layer(layer.inverse(z))[0], z, 1e-7)


@each_layer
@settings(max_examples=15, deadline=None)
@given(dim=dims, seed=seeds)
def test_dlogp_is_the_log_determinant_of_the_autograd_jacobian(case: Case, dim: int, seed: int) -> None:
    assume(dim >= case.min_dim)
    layer, x = filled(case, dim), case.domain(2 * points(3, case.size(dim), seed=seed))
    jacobians = [torch.autograd.functional.jacobian(single(layer), row) for row in x]
    close(layer(x)[1], torch.stack([torch.linalg.slogdet(j)[1] for j in jacobians]))


@each_parametrised_layer
def test_gradient_reaches_every_parameter(case: Case) -> None:
    layer = filled(case, 4)
    z, dlogp = layer(case.points(20, 4))
    (z.square().sum() - dlogp.sum()).backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@each_layer
def test_forward_is_pure_under_torch_func(case: Case) -> None:
    layer, x, v = filled(case, 4), case.points(6, 4), points(6, case.size(4), seed=1)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    first = layer(x)
    jacobians = torch.func.vmap(torch.func.jacrev(single(layer)))(x)
    pushed = torch.func.jvp(lambda x: layer(x)[0], (x,), (v,))[1]
    close((jacobians @ v[..., None])[..., 0], pushed)
    torch.func.vmap(torch.func.grad(lambda x: layer(x[None])[1][0]))(x)
    for a, b in zip(first, layer(x), strict=True):
        assert torch.equal(a, b)
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name])


@each_layer
def test_forward_tangents_are_those_of_jvp(case: Case) -> None:
    layer, x, t = filled(case, 5), case.points(4, 5), points(4, case.size(5), 3, seed=1)
    z, dlogp, pushed = layer.forward_tangents(x, t)
    close(z, layer(x)[0])
    close(dlogp, layer(x)[1])
    columns = [torch.func.jvp(lambda x: layer(x)[0], (x,), (t[..., k],))[1] for k in range(3)]
    close(pushed, torch.stack(columns, -1))
    close(Layer.forward_tangents(layer, x, t)[2], pushed)


@each_parametrised_layer
def test_forward_tangents_have_the_parameter_gradients_of_the_jacobian(case: Case) -> None:
    layer, x = filled(case, 3), case.points(4, 3)
    eye = torch.eye(x.shape[1], dtype=x.dtype).expand(4, -1, -1)
    parameters = list(layer.parameters())
    by_hand = layer.forward_tangents(x, eye)[2].square().sum()
    by_autograd = torch.func.vmap(torch.func.jacrev(single(layer)))(x).square().sum()
    for a, b in zip(
        torch.autograd.grad(by_hand, parameters, allow_unused=True, materialize_grads=True),
        torch.autograd.grad(by_autograd, parameters, allow_unused=True, materialize_grads=True),
        strict=True,
    ):
        close(a, b)


@each_layer
@pytest.mark.parametrize(("dtype", "size"), [(torch.float64, 1e3), (torch.float32, 1e4)])
def test_finite_far_outside_the_bulk(case: Case, dtype: torch.dtype, size: float) -> None:
    layer = filled(case, 4, dtype)
    eye = torch.eye(case.size(4))
    x = case.domain(
        size * torch.cat([eye, -eye, torch.ones_like(eye[:1]), torch.zeros_like(eye[:1])]).to(dtype)
    )
    assert all(part.isfinite().all() for part in [*layer(x), *tracked(layer, x)])


@each_layer
def test_keeps_the_dtype(case: Case) -> None:
    layer, x = filled(case, 3, torch.float32), case.points(4, 3, dtype=torch.float32)
    z, dlogp = layer(x)
    assert z.dtype == dlogp.dtype == layer.inverse(z).dtype == torch.float32


def extremes(dtype: torch.dtype) -> Tensor:
    """Numbers (N, 1) of both signs from 1e-30 to the largest of a dtype, and those around 2^30 one by one."""
    info = torch.finfo(dtype)
    steps = torch.arange(-30, math.log10(info.max), 0.25, dtype=torch.float64)
    around = 2.0**30 * (1 + info.eps * torch.arange(-3, 4, dtype=torch.float64))
    h = torch.cat([10**steps, around, torch.tensor([0.0, info.max], dtype=torch.float64)]).to(dtype)
    return torch.cat([h, -h])[:, None]


def exactly(formula: Callable[[Any], Any], h: Tensor) -> Tensor:
    """A formula in 60 digits at every number of h, (N, 1) of its dtype; what underflows is 0."""
    with mpmath.workdps(60):
        found = [float(formula(mpmath.mpf(v))) for v in h.double().flatten().tolist()]
    return torch.tensor(found, dtype=torch.float64).to(h.dtype)[:, None]


def slope(h: Any) -> Any:
    return 1 / mpmath.sqrt(1 + h**2)


def bend(h: Any) -> Any:
    return -h / mpmath.sqrt(1 + h**2) ** 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
class TestAsinhAtAllSizes:
    """Squares overflow from 1e19 on in float32 and 1e154 in float64; nothing here may notice."""

    def same(
        self, found: Tensor, formula: Callable[[Any], Any], h: Tensor, atol: float | None = None
    ) -> None:
        info = torch.finfo(h.dtype)
        atol = 4 * info.tiny if atol is None else atol
        # e^s has a relative error of |s| times that of s
        rtol = 4 * info.eps * math.log(info.max)
        torch.testing.assert_close(found, exactly(formula, h), rtol=rtol, atol=atol)

    def test_value_and_log_derivative(self, dtype: torch.dtype) -> None:
        h = extremes(dtype)
        z, dlogp = Asinh()(h)
        self.same(z, mpmath.asinh, h)
        # a term of log p: near h = 0 its error is that of one
        self.same(dlogp[:, None], lambda h: mpmath.log(slope(h)), h, atol=torch.finfo(dtype).eps)

    def test_derivatives_by_every_route(self, dtype: torch.dtype) -> None:
        h, one = extremes(dtype), torch.ones_like(extremes(dtype))
        value = Asinh().value
        found = [
            torch.func.vjp(value, h)[1](one)[0],
            torch.func.jvp(value, (h,), (one,))[1],
            torch.func.vmap(torch.func.jacrev(value))(h)[..., 0],
            torch.autograd.functional.jacobian(lambda h: value(h).sum(0), h)[0],
            Asinh().forward_tangents(h, one[..., None])[2][..., 0],
        ]
        for derivative in found:
            self.same(derivative, slope, h)

    def test_second_derivatives_of_value_and_tangents(self, dtype: torch.dtype) -> None:
        h, one = extremes(dtype), torch.ones_like(extremes(dtype))

        def once(h: Tensor) -> Tensor:
            return torch.func.vjp(Asinh().value, h)[1](one)[0]

        def tangents(h: Tensor) -> Tensor:
            return Asinh().forward_tangents(h, one[..., None])[2][..., 0]

        for derivative in (once, tangents):
            for second in (
                torch.func.vjp(derivative, h)[1](one)[0],
                torch.func.jvp(derivative, (h,), (one,))[1],
            ):
                self.same(second, bend, h)

    def test_gradients_of_training(self, dtype: torch.dtype) -> None:
        h = extremes(dtype).requires_grad_()
        gradient = torch.autograd.grad(Asinh()(h)[1].sum(), h)[0]
        self.same(gradient, lambda h: -h / (1 + h**2), h.detach())
        term = 0.5 * Asinh().forward_tangents(h, torch.ones_like(h)[..., None])[2].square().sum()
        self.same(torch.autograd.grad(term, h)[0], lambda h: slope(h) * bend(h), h.detach())

    def test_infinity_stays_itself(self, dtype: torch.dtype) -> None:
        h = torch.tensor([[math.inf], [-math.inf], [math.nan]], dtype=dtype)
        z, dlogp = Asinh()(h)
        assert z[:2].flatten().tolist() == [math.inf, -math.inf] and z[2].isnan()
        assert dlogp[:2].tolist() == [-math.inf, -math.inf] and dlogp[2].isnan()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32, torch.float64])
def test_rescale_takes_grey_levels_in_any_dtype(dtype: torch.dtype) -> None:
    x = torch.randint(0, 256, (5, 3, 8, 8), generator=seeded()).to(dtype)
    z, dlogp = Rescale(256, 0.5)(x)
    close(z.double(), x.double() / 256 - 0.5, 1e-7)
    close(dlogp.double(), torch.full((5,), -192 * math.log(256), dtype=torch.float64), 1e-6)


def test_softplus_has_no_inverse_outside_its_range_and_does_not_raise() -> None:
    inverse = Softplus().inverse(torch.tensor([[-1.0, 0.0, 1e-6, 2.0, 100.0]], dtype=torch.float64))
    assert inverse[0, :2].isnan().all() and inverse[0, 2:].isfinite().all()


def test_asinh_overflows_to_inf_in_the_inverse() -> None:
    assert Asinh().inverse(torch.tensor([[800.0, -800.0]])).isinf().all()


@pytest.mark.parametrize("value", [-30.0, -1.0, 0.0, 1.0, 25.0, 45.0])
def test_softplus_is_that_of_torch_distributions(value: float) -> None:
    theirs, h = torch.distributions.transforms.SoftplusTransform(), torch.full((1, 2), value).double()
    z, dlogp = Softplus()(h)
    # torch's own threshold of 20 costs it 2e-9
    close(z, theirs(h), 1e-8)
    close(dlogp, theirs.log_abs_det_jacobian(h, z).sum(1))


@pytest.mark.parametrize("value", [19.0, 21.0, 30.0, 39.0, 41.0])
def test_softplus_is_exact_around_the_thresholds(value: float) -> None:
    h = torch.tensor([[value], [-value]], dtype=torch.float64)
    expected = value + math.log1p(math.exp(-value))
    close(Softplus().value(h)[0, 0], torch.tensor(expected, dtype=h.dtype), 1e-15)
    close(Softplus().log_derivative(h)[1, 0], torch.tensor(-expected, dtype=h.dtype), 1e-15)


def test_glorot_is_uniform_with_the_authors_bound() -> None:
    weight = Dense(300, "glorot", seeded(), dtype=torch.float64).weight.detach()
    bound = math.sqrt(3 / 300)
    assert weight.abs().max() <= bound and weight.abs().max() > 0.999 * bound
    assert abs(float(weight.var() * 300) - 1) < 0.02


def test_orthogonal_is_orthogonal_and_of_both_orientations() -> None:
    matrices = [orthogonal(4, seeded(seed)) for seed in range(40)]
    for q in matrices:
        close(q @ q.mT, torch.eye(4, dtype=torch.float64), 1e-12)
    assert 10 < sum(float(torch.linalg.det(q)) > 0 for q in matrices) < 30


@pytest.mark.parametrize("init", ["glorot", "orthogonal"])
def test_a_seed_gives_the_same_weights_in_both_dtypes(init: str) -> None:
    double, single = (Dense(5, init, seeded(3), dtype=d).weight for d in (torch.float64, torch.float32))
    close(double.float(), single, 0)


def test_whitening_whitens_its_batch_with_gain_and_shrinkage() -> None:
    x = points(1000, 4) @ points(4, 4, seed=1) + 3
    layer = Dense(4, "whitening", gain=0.5, shrinkage=0.1, dtype=torch.float64)
    layer.init_from(x)
    covariance = torch.cov(x.mT, correction=0)
    precision = torch.linalg.inv(covariance + 0.1 * torch.eye(4, dtype=x.dtype))
    close(layer.weight.mT @ layer.weight, 0.25 * precision, 1e-9)
    close(layer.weight, layer.weight.mT, 1e-9)
    close(layer(x)[0].mean(0), torch.zeros(4, dtype=x.dtype), 1e-9)


def test_whitening_of_constant_pixels_is_finite_in_float32() -> None:
    x = torch.cat([points(50, 3), torch.ones(50, 2)], 1).float()
    layer = Dense(5, "whitening", dtype=torch.float32)
    layer.init_from(x)
    close(torch.linalg.svdvals(layer.weight)[:2], torch.full((2,), 5e-5**-0.5), 1e-3)


def test_init_from_leaves_other_inits_alone() -> None:
    layer = Dense(3, "orthogonal", seeded(), dtype=torch.float64)
    before = layer.weight.clone()
    layer.init_from(points(10, 3))
    assert torch.equal(layer.weight, before)


def test_unknown_init_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="glorot, orthogonal, whitening"):
        Dense(3, "xavier")


def test_chain_slices_share_layers_and_traces_add_up() -> None:
    chain, x = everything(3, torch.float64), points(6, 3)
    assert isinstance(chain, Chain)
    head, tail = chain[:3], chain[3:]
    assert isinstance(head, Chain) and head[1] is chain[1]
    middle, first = head(x)
    z, second = tail(middle)
    close(z, chain(x)[0])
    close(first + second, chain(x)[1])
    trace = list(chain.trace(x))
    assert [name for name, _, _ in trace][:3] == ["0.Center", "1.Dense", "2.Asinh"]
    close(trace[-1][1], z)
    close(torch.stack([dlogp for _, _, dlogp in trace]).sum(0), chain(x)[1])


def test_chain_initialises_each_layer_by_what_reaches_it() -> None:
    x = points(500, 3) @ points(3, 3, seed=1) + 2
    chain = Chain(
        Center(3, torch.float64), Dense(3, "whitening", shrinkage=0.0, dtype=torch.float64), Asinh()
    )
    chain.init_from(x)
    close(chain[0].mean, x.mean(0))
    close(torch.cov(chain[:2](x)[0].mT, correction=0), torch.eye(3, dtype=x.dtype))


def test_an_empty_chain_is_the_identity() -> None:
    z, dlogp = Chain()(points(4, 2))
    assert torch.equal(z, points(4, 2)) and torch.equal(dlogp, torch.zeros(4, dtype=z.dtype))


def test_batch_norm_takes_the_batchs_statistics_in_training_alone() -> None:
    layer, x = BatchNorm(3, torch.float64), 3 * points(50, 3) + 2
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    z, dlogp = layer(x)
    close(z.mean(0), torch.zeros(3, dtype=x.dtype))
    close(z.var(0, correction=0), torch.ones(3, dtype=x.dtype), 1e-5)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    layer.eval()
    close(layer(x)[0], x / math.sqrt(1 + 1e-5))
    update_statistics(layer, x)
    close(layer(x)[0], z)
    close(layer(x)[1], dlogp)


@pytest.mark.parametrize("nested", [False, True])
def test_each_batch_norm_of_a_chain_stores_the_statistics_of_what_reaches_it(nested: bool) -> None:
    x = points(300, 2) * 4
    chain = Chain(BatchNorm(2, x.dtype), Asinh(), BatchNorm(2, x.dtype), Asinh()).eval()
    whole = Chain(chain, Asinh()).eval() if nested else chain
    assert keeps_statistics(whole) and not keeps_statistics(Chain(Asinh()))
    update_statistics(whole, x)
    z = chain[:3](x)[0]
    close(z.mean(0), torch.zeros(2, dtype=x.dtype))
    close(z.var(0, correction=0), torch.ones(2, dtype=x.dtype), 1e-4)
    stored = chain[0].mean.clone()
    whole(x + 1)
    assert torch.equal(chain[0].mean, stored)


def test_a_net_is_glorot_uniform_and_can_start_at_zero() -> None:
    net = mlp([300, 200, 2], seeded(), dtype=torch.float64)
    weight = net[0].weight.detach()
    assert 0.999 * math.sqrt(6 / 500) < weight.abs().max() <= math.sqrt(6 / 500)
    assert not net[0].bias.any()
    assert not mlp([3, 5, 2], seeded(), zero_last=True)(torch.ones(1, 3)).any()


def test_a_net_can_start_as_torchs_own() -> None:
    net = mlp([4, 5000, 1], seeded(), dtype=torch.float64, init="fan_in")
    for values in (net[0].weight.detach(), net[0].bias.detach()):
        assert 0.49 < values.abs().max() <= 0.5
        assert abs(float(values.mean())) < 0.02


class TestOracles:
    """The same layers in zuko and nflows."""

    @pytest.mark.parametrize("scale", ["exponential", "soft_clamp"])
    def test_zuko_affine_coupling(self, scale: str) -> None:
        transforms = pytest.importorskip("zuko.transforms")
        net = mlp([2, 16, 4], seeded(), "tanh", dtype=torch.float64)
        ours, x = AffineCoupling(2, net, scale), points(5, 4)

        def affine(passive: Tensor) -> torch.distributions.Transform:
            raw, shift = net(passive).chunk(2, -1)
            factor = raw.exp() if scale == "exponential" else (2 * torch.tanh(raw / 2)).exp()
            return transforms.DependentTransform(
                torch.distributions.AffineTransform(shift, factor), reinterpreted=1
            )

        theirs = transforms.CouplingTransform(affine, torch.tensor([True, True, False, False]))
        close(ours(x)[0], theirs(x))
        close(ours(x)[1], theirs.log_abs_det_jacobian(x, theirs(x)))
        close(ours.inverse(x), theirs.inv(x))

    def test_torch_batch_norm(self) -> None:
        theirs, ours = torch.nn.BatchNorm1d(3, dtype=torch.float64), BatchNorm(3, torch.float64)
        x = 2 * points(40, 3) + 1
        with torch.no_grad():
            theirs.weight.copy_(points(3).exp())
            theirs.bias.copy_(points(3, seed=1))
            ours.gain.copy_(points(3))
            ours.shift.copy_(points(3, seed=1))
        close(ours(x)[0], theirs(x))

    def test_zuko_lu_linear(self) -> None:
        transforms = pytest.importorskip("zuko.transforms")
        theirs = transforms.LULinearTransform(points(4, 4, seed=2) + 2 * torch.eye(4))
        ours = Dense(4, dtype=torch.float64)
        with torch.no_grad():
            ours.weight.copy_(theirs(torch.eye(4, dtype=torch.float64)).mT)
        x = points(5, 4)
        close(ours(x)[0], theirs(x))
        close(ours(x)[1], theirs.log_abs_det_jacobian(x, theirs(x)))
        close(ours.inverse(x), theirs.inv(x))

    def test_zuko_rotation(self) -> None:
        transforms = pytest.importorskip("zuko.transforms")
        theirs = transforms.RotationTransform(points(4, 4, seed=2))
        ours, x = Rotation(theirs.R), points(5, 4)
        close(ours(x)[0], theirs(x))
        close(ours(x)[1], theirs.log_abs_det_jacobian(x, theirs(x)))
        close(ours.inverse(x), theirs.inv(x))

    def test_zuko_permutation(self) -> None:
        transforms = pytest.importorskip("zuko.transforms")
        order = torch.tensor([2, 0, 3, 1])
        theirs, x = transforms.PermutationTransform(order), points(5, 4)
        close(Permutation(order)(x)[0], theirs(x))
        close(Permutation(order).inverse(x), theirs.inv(x))

    def test_nflows_naive_linear(self) -> None:
        linear = pytest.importorskip("nflows.transforms.linear")
        torch.manual_seed(0)
        theirs = linear.NaiveLinear(4, orthogonal_initialization=False).double()
        ours = Dense(4, dtype=torch.float64)
        with torch.no_grad():
            theirs.bias.copy_(points(4))
            ours.weight.copy_(theirs.weight())
            ours.bias.copy_(-torch.linalg.solve(ours.weight, theirs.bias))
        for a, b in zip(ours(points(5, 4)), theirs(points(5, 4)), strict=True):
            close(a, b)

    def test_nflows_permutation(self) -> None:
        permutations = pytest.importorskip("nflows.transforms.permutations")
        order = torch.tensor([2, 0, 3, 1])
        for a, b in zip(
            Permutation(order)(points(5, 4)), permutations.Permutation(order)(points(5, 4)), strict=True
        ):
            close(a, b)

    def test_nflows_affine_is_center(self) -> None:
        standard = pytest.importorskip("nflows.transforms.standard")
        ours, x = filled(CATALOGUE["center"], 4), points(5, 4)
        z, dlogp = standard.PointwiseAffineTransform(shift=-ours.mean)(x)
        close(ours(x)[0], z)
        close(ours(x)[1], dlogp.double())


def test_the_authors_log_det_is_too_large_by_what_its_docstring_says() -> None:
    ours, theirs = (
        Dense(4, "glorot", seeded(), log_det=d, dtype=torch.float64) for d in ("slogdet", "cholesky")
    )
    s = torch.linalg.svdvals(ours.weight)
    bias = 0.5 * (1 + 1e-5 / s.square()).log().sum()
    x = points(3, 4)
    close(theirs(x)[1], ours(x)[1] + bias, 1e-12)


def test_the_authors_log_det_is_nan_where_their_cholesky_fails() -> None:
    layer = Dense(3, log_det="cholesky", dtype=torch.float32)
    with torch.no_grad():
        # W^T W + 1e-5 I rounds to a matrix of rank one
        layer.weight.copy_(torch.full((3, 3), 1e5) + torch.eye(3))
    assert layer(points(2, 3).float())[1].isnan().all()
    with pytest.raises(UsageError, match="slogdet, cholesky"):
        Dense(3, log_det="lu")
