"""Image flows as densities: bits per dimension, multi-scale, the models, and the same layers in other libraries."""

import functools
import itertools
import math

import pytest
import torch
from torch import Tensor

from flowrepro.config.schema import (
    SCHEMAS,
    GlowConfig,
    NFConfig,
    NIFConfig,
    NIFDeepConfig,
    QLFConfig,
    RealNVPConfig,
    RealNVPImagesConfig,
)
from flowrepro.data import ImageData
from flowrepro.data.dequantised import Images
from flowrepro.errors import UsageError
from flowrepro.flows.bases import Base, StandardNormal
from flowrepro.flows.conv_nets import ConvNet, glow_net, zero_conv
from flowrepro.flows.convolution import InvertibleConv, LUMatrix, NormalisedMatrix, NormedConv, PlainMatrix
from flowrepro.flows.core import Chain, Flow, Layer
from flowrepro.flows.coupling import AffineCoupling, GlowCoupling, sigmoid
from flowrepro.flows.linear import orthogonal
from flowrepro.flows.models import build
from flowrepro.flows.models.images import multi_scale
from flowrepro.flows.norm import ActNorm
from flowrepro.flows.preprocess import Logit, Rescale
from flowrepro.flows.reshape import MultiScale, SplitPrior, Squeeze, latent_shapes
from flowrepro.measures.image_flow import bits, faults, interpolate
from flowrepro.metrics.likelihood import bits_per_dim, log_probs, summary
from flowrepro.training.gradients import set_backward

CONFIGS = {
    "glow": GlowConfig("glow", levels=2, steps=2, hidden=6),
    "nf": NFConfig("nf", levels=2, steps=2, hidden=6),
    "realnvp_images": RealNVPImagesConfig("realnvp_images", levels=2, steps=2, hidden=6),
    "qlf": QLFConfig("qlf", levels=2, steps=1, hidden=6, bottleneck=4, squeezed=2),
    "nif": NIFConfig("nif", levels=2, steps=2, hidden=6, latent_dim=3),
    "nif_deep": NIFDeepConfig(
        *("nif_deep", 2, 2, 6), latent_dim=3, latent_couplings=2, latent_hidden=[6], importance_samples=4
    ),
}
each_model = pytest.mark.parametrize("name", CONFIGS)
# nif_deep gives a bound, whose noise depends on the batch
each_closed_model = pytest.mark.parametrize("name", [name for name in CONFIGS if name != "nif_deep"])
each_square_model = pytest.mark.parametrize("name", [name for name in CONFIGS if "nif" not in name])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def grey(n: int, channels: int = 1, side: int = 4, seed: int = 0) -> Tensor:
    """n images in grey levels from 0 to 256."""
    return 256 * torch.rand(n, channels, side, side, generator=seeded(seed), dtype=torch.float64)


def made(name: str, channels: int = 1, side: int = 4) -> Flow:
    """An initialised flow whose networks no longer start at zero."""
    flow = build(CONFIGS[name], (channels, side, side), 256, seeded(), torch.float64).eval()
    flow.init_from(grey(100, channels, side, seed=5))
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.05 * points(*parameter.shape, seed=8))
    return flow


# Bits per dimension


class Uniform(Base):
    """Uniform on the unit cube."""

    def log_prob(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        inside = ((z >= 0) & (z < 1)).all(1)
        return torch.where(inside, 0.0, -math.inf).to(z)


class Flat(Squeeze):
    """Images as vectors."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.flatten(1), x.new_zeros(len(x))


@pytest.mark.parametrize("bits", [1, 3, 5, 8])
def test_uniform_noise_of_b_bits_costs_b_bits_per_dimension(bits: int) -> None:
    levels = 2**bits
    pixels = torch.randint(0, levels, (20, 6, 5, 3), generator=seeded(), dtype=torch.uint8)
    flow = Flow(Chain(Rescale(levels), Flat()), Uniform(90), (3, 6, 5))
    values = log_probs(flow.log_prob, Images(pixels, levels), batch_size=7)
    assert bits_per_dim(summary(values)["log_prob"], 90) == pytest.approx(bits, abs=1e-6)


def test_an_identity_flow_has_its_closed_form() -> None:
    x = grey(50, 3, 8)
    flow = Flow(Chain(Rescale(256, 0.5), Flat()), StandardNormal(192, torch.float64), (3, 8, 8))
    y = x / 256 - 0.5
    expected = 8 + (0.5 * math.log(2 * math.pi) + 0.5 * float(y.square().mean())) / math.log(2)
    assert bits_per_dim(float(flow.log_prob(x).mean()), 192) == pytest.approx(expected, abs=1e-10)


def test_the_density_of_a_logit_flow_integrates_to_one_but_for_its_tails() -> None:
    flow = Flow(Chain(Rescale(256), Logit(), Flat()), StandardNormal(1, torch.float64), (1, 1, 1))
    margin = 0.05 / 0.9 * 256
    x = torch.linspace(-margin, 256 + margin, 200_003, dtype=torch.float64)[1:-1].view(-1, 1, 1, 1)
    mass = float(flow.log_prob(x).exp().sum()) * float(x[1] - x[0])
    assert mass == pytest.approx(1, abs=1e-4)


@each_closed_model
def test_bits_per_dim_are_the_same_whatever_the_batch(name: str) -> None:
    pixels = torch.randint(0, 256, (23, 8, 8, 3), generator=seeded(), dtype=torch.uint8)
    flow = build(CONFIGS[name], (3, 8, 8), 256, seeded(), torch.float32).eval()
    flow.init_from(Images(pixels)[:])
    found = [
        bits_per_dim(summary(log_probs(flow.log_prob, Images(pixels), size))["log_prob"], 192)
        for size in (1, 4, 23)
    ]
    assert max(found) - min(found) < 1e-5


def test_a_faulty_sample_is_counted_once() -> None:
    drawn = grey(5, seed=1)
    drawn[0, 0, 0, :2] = torch.tensor([math.inf, 1e6])
    drawn[1, 0, 0, 0] = math.nan
    drawn[2, 0, 0, :2] = torch.tensor([-257.0, 513.0])
    drawn[3, 0, 0, 0] = 511.0
    assert faults(drawn, 256) == {"n_samples": 5, "non_finite_samples": 2, "runaway_samples": 1}


@pytest.mark.parametrize("n", [1, 2, 7])
def test_few_images_are_interpolated(n: int) -> None:
    flow, x = made("glow"), grey(n, seed=1)
    ways = interpolate(flow, x, 5, 3).unflatten(0, (-1, 5))
    assert len(ways) == max(1, n // 2)
    torch.testing.assert_close(ways[:, 0], x[: len(ways)], atol=1e-6, rtol=0)
    torch.testing.assert_close(ways[:, -1], x[-len(ways) :], atol=1e-6, rtol=0)


def test_padding_is_left_out_of_the_denominator() -> None:
    pixels = torch.randint(0, 256, (6, 28, 28, 1), generator=seeded(), dtype=torch.uint8)
    images = Images(pixels, border=2)
    data = ImageData("mnist", images, images, "", "")
    flow = Flow(Chain(Rescale(256), Flat()), Uniform(1024), (1, 32, 32))
    row = bits(flow, images, data, draws=2, size=250)
    assert row["bits_per_dim"] == pytest.approx(8 * 1024 / 784)
    assert row["bits_per_padded_dim"] == pytest.approx(8) and row["bits_se_draws"] == pytest.approx(0)


# The door


@each_model
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float16, torch.float32, torch.float64])
def test_grey_levels_in_any_dtype_have_their_value(name: str, dtype: torch.dtype) -> None:
    flow = build(CONFIGS[name], (3, 8, 8), 256, seeded(), torch.float32).eval()
    x = torch.randint(0, 256, (5, 3, 8, 8), generator=seeded())
    flow.init_from(x)
    expected = flow.log_prob(x.float(), seeded(1))
    torch.testing.assert_close(flow.log_prob(x.to(dtype), seeded(1)), expected, rtol=0, atol=0)
    torch.testing.assert_close(flow.log_prob(x.to(dtype).numpy(), seeded(1)), expected, rtol=0, atol=0)


@each_model
@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 3, 4, 4), (2, 16), (16,), (4, 4), (8, 4, 4), ()])
def test_images_of_another_shape_are_refused(name: str, shape: tuple[int, ...]) -> None:
    flow = made(name)
    for call in (flow.log_prob, flow.latents, flow.reconstruct, flow.components, flow.init_from):
        with pytest.raises(UsageError, match=r"shape \(1, 4, 4\) or \(N, 1, 4, 4\), not \("):
            call(torch.zeros(shape))


@each_model
def test_one_image_and_no_image(name: str) -> None:
    flow, x = made(name), grey(3, seed=1)
    close = functools.partial(torch.testing.assert_close, rtol=1e-9, atol=1e-9)
    if name != "nif_deep":
        close(flow.log_prob(x[1]), flow.log_prob(x)[1])
    close(flow.latents(x[1]), flow.latents(x)[1])
    close(flow.embed(x[1]), flow.embed(x)[1])
    close(flow.reconstruct(x[1]), flow.reconstruct(x)[1])
    close(flow.components(x[1]).std, flow.components(x).std[1])
    assert flow.log_prob(x[:0]).shape == (0,) and flow.latents(x[:0]).shape == (0, 16)
    assert flow.embed(x[:0]).shape == (0, flow.base.latent_dim)
    assert flow.reconstruct(x[:0]).shape == flow.sample(0).shape == (0, 1, 4, 4)
    assert flow.components(x[:0], 2).directions.shape == (0, 16, 2)


@each_model
@pytest.mark.parametrize("method", ["exact", "matrix_free"])
def test_components_of_images_are_those_of_their_pixels(name: str, method: str) -> None:
    flow, x = made(name), grey(3, seed=1)
    found = flow.components(x, 2, method)
    for i, image in enumerate(x):
        jacobian = torch.autograd.functional.jacobian(lambda x: flow.latents(x[None])[0], image).view(16, 16)
        u, s, vh = torch.linalg.svd(jacobian)
        torch.testing.assert_close(found.std[i], s.flip(0)[:2].reciprocal())
        overlap = (found.directions[i] * vh.flip(0)[:2].mT).sum(0)
        torch.testing.assert_close(overlap.abs(), torch.ones(2, dtype=x.dtype))
        torch.testing.assert_close(
            found.values[i].abs(), (found.std[i] * (u.flip(1)[:, :2].mT @ flow.latents(image))).abs()
        )


# The models


def test_every_image_model_is_tested() -> None:
    assert set(CONFIGS) == {name for name, schema in SCHEMAS["model"].items() if schema.takes_images}


@each_model
def test_a_model_is_a_bijection_with_the_log_determinant_of_its_jacobian(name: str) -> None:
    flow, x = made(name), grey(2, seed=1)
    z, dlogp = flow.chain(x)
    assert z.shape == (2, 16)
    torch.testing.assert_close(flow.chain.inverse(z), x, rtol=1e-9, atol=1e-9)
    for image, value in zip(x, dlogp, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda x: flow.latents(x[None])[0], image).view(16, 16)
        torch.testing.assert_close(value, torch.linalg.slogdet(jacobian)[1])


# qlf starts as the pixels themselves
@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "qlf"])
def test_a_model_can_start_at_the_data_with_unit_variance(name: str) -> None:
    flow = build(CONFIGS[name], (3, 8, 8), 256, seeded(), torch.float64)
    x = grey(200, 3, 8)
    flow.init_from(x)
    assert 0.5 < flow.latents(x).var().item() < 2


@each_model
def test_a_seed_gives_the_same_images(name: str) -> None:
    first, second = (made(name).sample(3, generator=seeded(1)) for _ in range(2))
    assert first.shape == (3, 1, 4, 4) and torch.equal(first, second)
    one, other = made(name).sample(2, temperature=0, deviation=0)
    assert torch.equal(one, other)


@each_model
def test_the_trace_adds_up(name: str) -> None:
    flow, x = made(name), grey(3)
    steps = list(flow.chain.trace(x))
    torch.testing.assert_close(torch.stack([d for _, _, d in steps]).sum(0), flow.chain(x)[1])
    names = [n for n, _, _ in steps]
    assert len(set(names)) == len(names) and sum(n.endswith("leaves") for n in names) == 2


@each_model
@pytest.mark.parametrize("how", ["checkpoint", "invert"])
def test_every_backward_pass_gives_the_gradients_of_plain_autograd(name: str, how: str) -> None:
    def gradients(flow: Flow) -> tuple[Tensor, ...]:
        x = grey(5, seed=1).requires_grad_()
        return torch.autograd.grad(-flow.log_prob(x, seeded(2)).mean(), [x, *flow.parameters()])

    plain, other = made(name), made(name)
    set_backward(other, how)
    assert list(other.state_dict()) == list(plain.state_dict())
    for a, b in zip(gradients(plain), gradients(other), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


@each_model
def test_a_prepared_flow_gives_the_same_samples(name: str) -> None:
    flow = made(name)
    expected, found = (f.sample(3, generator=seeded(1)) for f in (flow, flow.prepared()))
    torch.testing.assert_close(found, expected)


@each_square_model
def test_a_square_model_reconstructs_images(name: str) -> None:
    flow, x = made(name), grey(2, seed=1)
    torch.testing.assert_close(flow.reconstruct(x), x, rtol=1e-9, atol=1e-9)
    assert torch.equal(flow.embed(x), flow.latents(x))


@pytest.mark.parametrize("name", ["nif", "nif_deep"])
def test_an_injective_model_reconstructs_from_its_manifold(name: str) -> None:
    flow, x = made(name), grey(5, seed=1)
    again = flow.reconstruct(x)
    assert flow.embed(x).shape == (5, 3) and (again - x).abs().max() > 1
    torch.testing.assert_close(flow.reconstruct(again), again, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(flow.embed(again), flow.embed(x), rtol=1e-6, atol=1e-6)
    # samples without deviation are on it too
    drawn = flow.sample(5, deviation=0, generator=seeded())
    torch.testing.assert_close(flow.reconstruct(drawn), drawn, rtol=1e-6, atol=1e-6)
    assert (flow.sample(5, generator=seeded()) - drawn).abs().max() > 1


def test_a_nif_without_noise_of_its_own_is_the_nf() -> None:
    """A = 0 and Σ = I, b = 0: the same layers from the same seed, and the same likelihood (across_dimensions A.8)."""
    x = grey(20, 3, 8)
    nf, nif, diagonal = (
        build(config, (3, 8, 8), 256, seeded(), torch.float32).eval()
        for config in (CONFIGS["nf"], CONFIGS["nif"], NIFConfig("nif", 2, 2, 6, latent_dim=0))
    )
    for flow in (nf, nif, diagonal):
        flow.init_from(x)
    expected = nf.log_prob(x)
    assert (nif.log_prob(x) - expected).abs().min() > 1e-3
    with torch.no_grad():
        nif.base.injection.operator.weight.zero_()
    for flow in (nif, diagonal):
        assert (flow.log_prob(x) - expected).abs().max() / (192 * math.log(2)) < 1e-5
    assert torch.equal(diagonal.embed(x), nf.latents(x))


def test_a_manifold_of_more_dimensions_than_the_images_is_refused() -> None:
    for name, schema in (("nif", NIFConfig), ("nif_deep", NIFDeepConfig)):
        with pytest.raises(UsageError, match="model.latent_dim=17 must be at most 16"):
            build(schema(name, 2, 2, 6, latent_dim=17), (1, 4, 4), 256, seeded(), torch.float32)


def test_the_flow_on_the_manifold_starts_at_the_embeddings_of_the_data() -> None:
    flow = build(CONFIGS["nif_deep"], (3, 8, 8), 256, seeded(), torch.float64).eval()
    x = grey(200, 3, 8)
    flow.init_from(x)
    latents = flow.base.prior.latents(flow.embed(x))
    torch.testing.assert_close(latents.mean(0), torch.zeros(3, dtype=x.dtype), atol=1e-9, rtol=0)
    torch.testing.assert_close(latents.var(0), torch.ones(3, dtype=x.dtype), atol=0.02, rtol=0)


def glow_parameters(config: GlowConfig, channels: int) -> int:
    """By formula: ActNorm 2c, 1x1 convolution c^2, network, and the split priors."""
    total, c, h = 0, channels, config.hidden
    for level in range(config.levels):
        c *= 4
        out = c if config.coupling == "affine" else c // 2
        net = 9 * h * (c // 2) + 2 * h + h * h + 2 * h + 9 * h * out + 2 * out
        total += config.steps * (2 * c + c * c + net)
        if level < config.levels - 1:
            c //= 2
            total += (9 * c * 2 * c + 2 * 2 * c) * config.split_prior
    return total


@pytest.mark.parametrize(
    ("levels", "steps", "hidden", "coupling", "conv", "prior"),
    [
        (3, 2, 8, "affine", "plain", True),
        (2, 3, 8, "additive", "lu", True),
        (3, 1, 4, "affine", "normalised", False),
    ],
)
def test_glow_has_as_many_parameters_as_the_formula_says(
    levels, steps, hidden, coupling, conv, prior
) -> None:
    config = GlowConfig("glow", levels, steps, hidden, coupling, conv, prior)
    flow = build(config, (3, 16, 16), 256, seeded(), torch.float32)
    assert sum(p.numel() for p in flow.parameters()) == glow_parameters(config, 3)


def test_glow_of_the_paper_has_44_million_parameters() -> None:
    assert glow_parameters(GlowConfig("glow"), 3) == 44_052_720


def nf_parameters(config: NFConfig, c: int) -> int:
    """Of images with c channels, by adding up the shapes."""
    total, h = 0, config.hidden
    for _ in range(config.levels):
        c *= 4
        total += config.steps * (2 * c + c * c + 9 * h * (c // 2) + h + h * h + h + 9 * h * c + c)
        c //= 2
    return total


def test_nf_of_across_dimensions_has_26_7_million_parameters() -> None:
    assert nf_parameters(NFConfig("nf"), 3) == 26_657_472
    config = NFConfig("nf", 2, 3, 8)
    flow = build(config, (3, 8, 8), 8, seeded(), torch.float32)
    assert sum(p.numel() for p in flow.parameters()) == nf_parameters(config, 3)


def test_nif_of_across_dimensions_has_a_matrix_and_two_vectors_more() -> None:
    config = NIFConfig("nif", 2, 3, 8, latent_dim=5)
    flow = build(config, (3, 8, 8), 8, seeded(), torch.float32)
    assert sum(p.numel() for p in flow.parameters()) == nf_parameters(config, 3) + 192 * (5 + 2)


def test_images_that_cannot_be_halved_so_often_are_refused() -> None:
    with pytest.raises(UsageError, match="model.levels=3: 12x12 images"):
        build(GlowConfig("glow"), (3, 12, 12), 256, seeded(), torch.float32)


def test_a_model_takes_either_vectors_or_images() -> None:
    vectors = build(RealNVPConfig("realnvp", layers=1, hidden=[4]), (48,), None, seeded(), torch.float32)
    images = build(CONFIGS["realnvp_images"], (3, 4, 4), 256, seeded(), torch.float32)
    assert vectors.sample(2).shape == (2, 48) and images.sample(2).shape == (2, 3, 4, 4)
    with pytest.raises(UsageError, match=r"model=realnvp needs vectors .*, not samples of shape \(3, 4, 4\)"):
        build(RealNVPConfig("realnvp"), (3, 4, 4), 256, seeded(), torch.float32)
    with pytest.raises(UsageError, match=r"model=glow needs images .*, not samples of shape \(48,\)"):
        build(CONFIGS["glow"], (48,), None, seeded(), torch.float32)


# Multi-scale


def two_levels(prior: bool) -> MultiScale:
    split = SplitPrior(zero_conv(2, 4, torch.float64))
    with torch.no_grad():
        for parameter in split.parameters():
            parameter.add_(0.1 * points(*parameter.shape, seed=3))
    return MultiScale([Chain(Squeeze()), Chain(Squeeze())], [split], latent_shapes((1, 4, 4), 2))


def test_split_gives_the_levels_back() -> None:
    layer, x = two_levels(prior=True), points(3, 1, 4, 4)
    latents = layer.split(layer(x)[0])
    assert [z.shape[1:] for z in latents] == [(2, 2, 2), (8, 1, 1)]
    assert torch.equal(torch.cat([z.flatten(1) for z in latents], 1), layer(x)[0])
    torch.testing.assert_close(latents[1], layer.levels[1](layer.levels[0](x)[0][:, :2])[0])


def test_a_split_prior_is_a_conditional_normal_as_in_glow() -> None:
    layer, x = two_levels(prior=True), points(3, 1, 4, 4)
    stays, leaves = layer.levels[0](x)[0].chunk(2, 1)
    mean, log_std = layer.priors[0].moments(stays)
    expected = torch.distributions.Normal(mean, log_std.exp()).log_prob(leaves).flatten(1).sum(1)
    expected = expected + torch.distributions.Normal(0, 1).log_prob(stays).flatten(1).sum(1)
    flow = Flow(Chain(layer), StandardNormal(16, torch.float64), (1, 4, 4))
    torch.testing.assert_close(flow.log_prob(x), expected)


@each_model
def test_keeping_the_latents_of_some_levels_keeps_their_part_of_the_image(name: str) -> None:
    flow, x = made(name), grey(1, seed=2)
    layer = flow.chain[-1]
    fine, coarse = layer.split(flow.latents(x))
    assert [tuple(z.shape[1:]) for z in (fine, coarse)] == latent_shapes((1, 4, 4), 2)
    assert torch.equal(torch.cat([fine.flatten(1), coarse.flatten(1)], 1), flow.latents(x))
    changed = torch.cat([0 * fine.flatten(1), coarse.flatten(1)], 1)
    again = layer.split(flow.latents(flow.chain.inverse(changed)))
    torch.testing.assert_close(again[1], coarse)
    torch.testing.assert_close(again[0], 0 * fine, atol=1e-9, rtol=0)


def test_latent_shapes_keep_the_number_of_values() -> None:
    for (levels, share), side in itertools.product([(1, 1 / 2), (3, 1 / 2), (3, 3 / 4)], (16, 32)):
        shapes = latent_shapes((3, side, side), levels, share)
        assert sum(c * h * w for c, h, w in shapes) == 3 * side * side


@pytest.mark.parametrize(("share", "entering"), [(1 / 2, [12, 24, 48]), (3 / 4, [12, 12, 12])])
def test_a_share_of_the_channels_leaves_every_level(share: float, entering: list[int]) -> None:
    """With three quarters there are 12 channels at every level (jacobian_determinant)."""
    seen: list[int] = []
    leaving: list[tuple[int, int]] = []

    def level(channels: int) -> list[Layer]:
        seen.append(channels)
        return [InvertibleConv(channels, generator=seeded(), dtype=torch.float64)]

    def prior(stays: int, leaves: int) -> SplitPrior:
        leaving.append((stays, leaves))
        return SplitPrior(zero_conv(stays, 2 * leaves, torch.float64))

    layer, x = multi_scale((3, 16, 16), 3, level, prior, share), points(2, 3, 16, 16)
    with torch.no_grad():
        for parameter in layer.priors.parameters():
            parameter.add_(0.1 * points(*parameter.shape))
    assert seen == entering
    assert leaving == [(c - share * c, share * c) for c in entering[:-1]]
    assert [z.shape[1] for z in layer.split(layer(x)[0])] == [
        *(share * c for c in entering[:-1]),
        entering[-1],
    ]
    torch.testing.assert_close(layer.inverse(layer(x)[0]), x)
    jacobian = torch.autograd.functional.jacobian(lambda x: layer(x[None])[0][0], x[0]).view(768, 768)
    torch.testing.assert_close(layer(x)[1][0], torch.linalg.slogdet(jacobian)[1])


# Layers


def test_act_norm_makes_its_first_data_standard_and_has_no_other_memory() -> None:
    layer, x = ActNorm(3, 3.0, torch.float64), 5 * points(40, 3, 4, 4) + 2
    layer.init_from(x)
    z = layer(x)[0].transpose(0, 1).flatten(1)
    torch.testing.assert_close(z.mean(1), torch.zeros(3, dtype=z.dtype), atol=1e-12, rtol=0)
    torch.testing.assert_close(z.var(1, correction=0), torch.ones(3, dtype=z.dtype), atol=1e-4, rtol=0)
    assert set(layer.state_dict()) == {"gain", "shift"}


@pytest.mark.parametrize("matrix", [PlainMatrix, LUMatrix])
def test_a_matrix_starts_where_it_should(matrix) -> None:
    start = orthogonal(6, seeded())
    weight, logdet = matrix(start)()
    torch.testing.assert_close(weight, start)
    assert abs(logdet.item()) < 1e-12


def test_normalised_columns_bound_the_determinant() -> None:
    for seed in range(20):
        weight, logdet = NormalisedMatrix(3 * points(5, 5, seed=seed))()
        assert weight.square().sum(0).max() <= 1 and logdet <= 0


def test_a_strided_convolution_is_a_squeeze_and_a_1x1_convolution() -> None:
    start, x = points(12, 12), points(2, 3, 4, 6)
    strided = InvertibleConv(3, 2, start=start, dtype=torch.float64)
    after = Chain(Squeeze(), InvertibleConv(12, start=start, dtype=torch.float64))
    for a, b in zip(strided(x), after(x), strict=True):
        torch.testing.assert_close(a, b)
    expected = 2 * 3 * torch.linalg.slogdet(start)[1]
    torch.testing.assert_close(strided(x)[1], expected.expand(2))


def test_kappa_times_the_identity_is_a_squeeze() -> None:
    x = points(2, 3, 4, 4)
    layer = InvertibleConv(3, 2, start=0.7 * torch.eye(12, dtype=torch.float64), dtype=torch.float64)
    torch.testing.assert_close(layer(x)[0], 0.7 * Squeeze()(x)[0])


def test_act_norm_and_convolution_in_one_are_those_in_turn() -> None:
    conv = InvertibleConv(4, matrix="lu", generator=seeded(), dtype=torch.float64)
    both, x = NormedConv(ActNorm(4, 3.0, torch.float64), conv), points(5, 4, 2, 2) + 1
    both.init_from(x)
    for a, b in zip(both(x), Chain.forward(both, x), strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(both.inverse(x), Chain.inverse(both, x))


def test_the_inverse_of_many_channels_is_exact_in_float32() -> None:
    layer = InvertibleConv(192, matrix="lu", generator=seeded(), dtype=torch.float32)
    x = points(2, 192, 2, 2).float()
    assert (layer.inverse(layer(x)[0]) - x).abs().max().item() < 1e-5


def test_glows_network_starts_normalised_inside_and_at_zero_outside() -> None:
    net, x = glow_net(3, 16, 4, seeded(), torch.float64), points(50, 3, 6, 6) * 3 + 1
    net.init_from(x)
    hidden = net[0](x).transpose(0, 1).flatten(1)
    torch.testing.assert_close(hidden.mean(1), torch.zeros(16, dtype=x.dtype), atol=1e-9, rtol=0)
    torch.testing.assert_close(hidden.std(1), torch.ones(16, dtype=x.dtype), atol=1e-3, rtol=0)
    assert not net(x).any()


def test_a_scale_never_falls_below_its_floor() -> None:
    raw = torch.tensor([-1e30, -50.0, 0.0, 50.0])
    assert sigmoid(raw).exp().tolist() == pytest.approx([0.05, 0.05, 0.05 + 0.95 / (1 + math.exp(-2)), 1])


@pytest.mark.parametrize(
    "config",
    [
        GlowConfig("glow", 3, 32, 8),
        GlowConfig("glow", 3, 32, 8, coupling="additive"),
        NFConfig("nf", 3, 32, 8),
        RealNVPImagesConfig("realnvp_images", 3, 16, 8, scale="exponential"),
        QLFConfig("qlf", levels=2, steps=4, hidden=8, net="convnet", constrained=False),
    ],
    ids=lambda c: f"{c.name}-{getattr(c, 'coupling', '')}",
)
def test_samples_of_a_hundred_wild_couplings_are_finite(config) -> None:
    """Each divides by as little as it can and shifts by hundreds: float32 would overflow after thirty."""
    flow = build(config, (3, 16, 16), 256, seeded(), torch.float32)
    with torch.no_grad():
        for net in (m for m in flow.modules() if isinstance(m, ConvNet)):
            net[-1].weight.normal_(0, 30, generator=seeded(1))
            net[-1].bias.fill_(-40.0)
    for temperature in (0.5, 1.0, 4.0):
        for ready in (flow, flow.prepared()):
            assert ready.sample(8, temperature, generator=seeded()).isfinite().all()


def test_samples_through_wild_matrices_and_gains_are_finite() -> None:
    """What passes a coupling unchanged is stretched by every matrix and gain between couplings."""
    flow = build(GlowConfig("glow", 3, 32, 8), (3, 16, 16), 256, seeded(), torch.float32)
    with torch.no_grad():
        for module in flow.modules():
            if isinstance(module, LUMatrix):
                module.factors.diagonal().normal_(0, 0.8, generator=seeded(1))
            if isinstance(module, ActNorm):
                module.gain.normal_(0, 2 / 3, generator=seeded(2))
    for ready in (flow, flow.prepared()):
        assert ready.sample(8, generator=seeded()).isfinite().all()


@each_model
def test_the_limit_of_the_inverse_does_not_touch_images(name: str) -> None:
    flow, x = made(name), grey(2, seed=1)
    free = made(name)
    for coupling in (m for m in free.modules() if isinstance(m, AffineCoupling)):
        coupling.limit = None
    assert torch.equal(flow.chain.inverse(flow.latents(x)), free.chain.inverse(flow.latents(x)))


class TestOracles:
    """The same layers in nflows and normflows."""

    def test_nflows_one_by_one_convolution(self) -> None:
        conv = pytest.importorskip("nflows.transforms.conv")
        torch.manual_seed(0)
        theirs = conv.OneByOneConvolution(4, using_cache=False).double()
        x = points(3, 4, 5, 5)
        weight = theirs.weight()[:, theirs.permutation._permutation.argsort()]
        ours = InvertibleConv(4, matrix="lu", start=weight.detach(), dtype=torch.float64)
        z, dlogp = theirs(x)
        torch.testing.assert_close(ours(x)[0], z - theirs.bias[:, None, None])
        torch.testing.assert_close(ours(x)[1], dlogp)

    def test_nflows_act_norm(self) -> None:
        normalization = pytest.importorskip("nflows.transforms.normalization")
        theirs, ours, x = (
            normalization.ActNorm(3).double(),
            ActNorm(3, dtype=torch.float64),
            points(9, 3, 4, 4),
        )
        ours.init_from(x)
        with torch.no_grad():
            theirs.initialized.fill_(True)
            theirs.log_scale.copy_(ours.gain)
            theirs.shift.copy_(ours.gain.exp() * ours.shift)
        for a, b in zip(ours(x), theirs(x), strict=True):
            torch.testing.assert_close(a, b)

    def test_nflows_squeeze(self) -> None:
        reshape = pytest.importorskip("nflows.transforms.reshape")
        x = points(2, 3, 4, 6)
        torch.testing.assert_close(Squeeze()(x)[0], reshape.SqueezeTransform()(x)[0])

    def test_normflows_coupling(self) -> None:
        affine = pytest.importorskip("normflows.flows.affine.coupling")
        net, x = glow_net(2, 8, 4, seeded(), torch.float64), points(3, 4, 5, 5)
        with torch.no_grad():
            net[-1].weight.add_(0.3 * points(*net[-1].weight.shape))

        class Parameters(torch.nn.Module):
            def forward(self, passive: Tensor) -> Tensor:
                raw, shift = net(passive).chunk(2, 1)
                # shift and scale take turns there, and the shift has the other sign
                return torch.stack([-shift, raw], 2).flatten(1, 2)

        ours = GlowCoupling(2, net, "sigmoid")
        ours.log_scale = lambda raw: torch.nn.functional.logsigmoid(raw + 2)
        z, dlogp = affine.AffineCoupling(Parameters(), scale_map="sigmoid").inverse([x[:, :2], x[:, 2:]])
        torch.testing.assert_close(ours(x)[0], torch.cat(z, 1))
        torch.testing.assert_close(ours(x)[1], dlogp)
