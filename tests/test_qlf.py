"""The quasi-linear flow: its scales, its start, its variants, its networks and sizes, its transport cost, its decay."""

import math

import pytest
import torch
from torch import Tensor

from flowrepro.config.compose import compose
from flowrepro.config.schema import LinearConfig, QLFConfig, QLFVectorsConfig, TrainingConfig, TransportConfig
from flowrepro.errors import UsageError
from flowrepro.flows.activations import NormalCDF, ScaledNormalCDF
from flowrepro.flows.conv_nets import set_bf16
from flowrepro.flows.core import Flow
from flowrepro.flows.mexican_hat import HatCoupling, biases, mexican_hat
from flowrepro.flows.models import build
from flowrepro.flows.nets import mlp
from flowrepro.flows.quasilinear import Block
from flowrepro.flows.reshape import SplitPrior, Squeeze
from flowrepro.flows.spline import Spline
from flowrepro.training.phases import stages
from flowrepro.training.regularizers import build as build_regularizer


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64).to(dtype)


def vectors(dtype: torch.dtype = torch.float64, dim: int = 2, **settings) -> Flow:
    config = QLFVectorsConfig("qlf_vectors", **{"layers": 2, "hidden": [8], **settings})
    return build(config, (dim,), None, seeded(), dtype)


def images(side: int = 4, dtype: torch.dtype = torch.float64, **settings) -> Flow:
    small = {"levels": 2, "steps": 2, "hidden": 6, "bottleneck": 4, "squeezed": 2}
    return build(QLFConfig("qlf", **{**small, **settings}), (1, side, side), 256, seeded(), dtype)


def blocks(flow: Flow) -> list[Block]:
    return [part for part in flow.modules() if isinstance(part, Block)]


# Scales


def test_scales_lie_between_0_640_and_2_718() -> None:
    """The paper calls it (0.5, 3)."""
    log_scale = mexican_hat(torch.linspace(-60, 60, 240_001, dtype=torch.float64))
    assert log_scale.exp().min().item() == pytest.approx(math.exp(-2 * math.exp(-1.5)))
    assert log_scale.exp().min().item() == pytest.approx(0.640, abs=1e-3)
    assert log_scale.exp().max().item() == pytest.approx(math.e)
    far = torch.tensor([1e30, -3e38]).requires_grad_()
    (slope,) = torch.autograd.grad(mexican_hat(far).sum(), far)
    assert not mexican_hat(far).any() and not slope.any()


@pytest.mark.parametrize("mixture", [1, 2, 3])
@pytest.mark.parametrize("beta", [0.5, 0.7, 0.99])
def test_hats_start_apart_with_the_mean_that_was_asked_for(mixture: int, beta: float) -> None:
    found = torch.tensor(biases(-math.log(beta), mixture), dtype=torch.float64)
    assert mexican_hat(found).mean().item() == pytest.approx(-math.log(beta), abs=1e-9)
    assert len(found) == mixture and (found > 0).all() and len(found.abs().unique()) == mixture
    # not at the top of a hat, where its slope is 0
    assert found.min() > 0.01 and found.max() < math.sqrt(3) - 0.01


def trained_hats(start: list[float]) -> tuple[Tensor, Tensor]:
    """The weights of two hats after some steps on data whose scale depends on what passes."""
    net = mlp([1, 8, 3], seeded(), "tanh", zero_last=True, dtype=torch.float64)
    with torch.no_grad():
        net[-1].bias.copy_(torch.tensor([*start, 0.0]))
    layer, x = HatCoupling(1, net, 2), points(256, 2)
    x = torch.cat([x[:, :1], x[:, 1:] * (0.6 * x[:, :1].sin()).exp()], 1)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
    for _ in range(40):
        optimizer.zero_grad()
        z, dlogp = layer(x)
        (0.5 * z.square().sum(1) - dlogp).mean().backward()
        optimizer.step()
    first, second, _ = net[-1].weight.detach()
    return first, second


def test_equal_and_mirrored_hats_never_separate_and_unequal_ones_do() -> None:
    first, second = trained_hats([0.73, 0.73])
    assert first.abs().max() > 0.05 and (first - second).abs().max() < 1e-12
    first, second = trained_hats([0.73, -0.73])
    assert first.abs().max() > 0.05 and (first + second).abs().max() < 1e-12
    first, second = trained_hats(biases(-math.log(0.7), 2))
    assert min((first - second).abs().max(), (first + second).abs().max()) > 0.05


# The start


@pytest.mark.parametrize("beta", [0.5, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("kappa", [1.0, 1.2])
@pytest.mark.parametrize("constrained", [True, False])
def test_every_block_starts_as_an_expansion_and_as_much_contraction(beta, kappa, constrained) -> None:
    settings = {"beta": beta, "kappa": kappa, "constrained": constrained}
    for flow, x in (
        (vectors(torch.float32, 3, **settings), points(50, 3, dtype=torch.float32)),
        (images(dtype=torch.float32, **settings), points(10, 1, 4, 4, dtype=torch.float32)),
    ):
        part = blocks(flow)[0]
        z, dlogp = part(x)
        assert (z - (Squeeze()(x)[0] if x.ndim == 4 else x)).abs().max() < 1e-5
        assert dlogp.abs().max() < 1e-5 * x[0].numel()
        *expansion, contraction = [change for _, _, change in part.trace(x)]
        expected = x[0].numel() * math.log(beta)
        torch.testing.assert_close(contraction, torch.full_like(dlogp, expected), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(sum(expansion), -contraction, rtol=1e-5, atol=1e-5)


def test_a_flow_on_images_starts_as_the_pixels() -> None:
    x = 256 * torch.rand(5, 1, 4, 4, generator=seeded(), dtype=torch.float64)
    z = images().latents(x)
    torch.testing.assert_close(z.sort(1).values, (x / 256 - 0.5).flatten(1).sort(1).values)


@pytest.mark.parametrize("beta", [0.1, 0.36])
def test_a_start_beyond_the_scales_is_refused(beta: float) -> None:
    with pytest.raises(UsageError, match=r"between 0.368 and 1.562"):
        vectors(beta=beta)
    assert vectors(beta=beta, constrained=False)


def test_a_dual_coupling_transforms_every_entry_given_the_others() -> None:
    flow = vectors(dim=3, layers=1)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.3 * points(*parameter.shape, seed=1))
    _, front, back, _ = blocks(flow)[0]
    first = torch.func.jacrev(lambda x: front(x[None])[0][0])(points(3))
    second = torch.func.jacrev(lambda x: back(x[None])[0][0])(points(3))
    assert first[0].all() and torch.equal(first[1:], torch.eye(3, dtype=first.dtype)[1:])
    assert torch.equal(second[:1], torch.eye(3, dtype=first.dtype)[:1]) and second[1:, 0].all()
    assert second[1, 2] == second[2, 1] == 0


# Variants


@pytest.mark.parametrize("insert", ["tanh", "cdf", "cdf_literal"])
def test_bounded_activations_stand_before_all_splines_but_the_last_of_a_level(insert: str) -> None:
    flow = images(insert=insert, steps=3)
    assert [len(part) for part in blocks(flow)] == 2 * [5, 5, 4]
    assert all(isinstance(part[-1], Spline) for part in blocks(flow))


def test_the_literal_normal_cdf_loses_0_92_nats_per_dimension_and_block() -> None:
    x = torch.zeros(1, 7, dtype=torch.float64)
    assert NormalCDF()(x)[1].item() / 7 == pytest.approx(-0.9189, abs=1e-4)
    assert ScaledNormalCDF()(x)[1].item() == 0
    x = 1e-3 * points(20, 2)
    kept, lost = (
        vectors(insert=insert, standardize=False).chain[1:](x)[1] for insert in ("cdf", "cdf_literal")
    )
    assert kept.abs().max() < 1e-4
    # with two blocks it stands in one of them
    assert (lost / 2 + 0.9189).abs().max() < 1e-4


def test_an_unconstrained_flow_leaves_the_bounds_of_the_paper() -> None:
    flow = vectors(constrained=False, layers=1)
    with torch.no_grad():
        for name, parameter in flow.named_parameters():
            parameter.fill_(2.0) if "theta_a" in name or "net" in name else None
    _, front, _, spline = blocks(flow)[0]
    assert front.scale_and_shift(torch.ones(1, 1).double())[0].exp().item() > 3
    assert spline.knots().slope.min() > 2


def test_a_split_prior_is_an_option() -> None:
    kinds = [type(prior) for prior in images(split_prior=True).chain[-1].priors]
    assert kinds == [SplitPrior] and not any(isinstance(m, SplitPrior) for m in images().modules())
    with pytest.raises(UsageError, match="model.share=0.9"):
        images(share=0.9)


# Networks and sizes


def test_attention_sees_the_whole_image_and_the_network_starts_at_its_biases() -> None:
    _, front, *_ = blocks(images(dtype=torch.float32))[0]
    x = points(2, 2, 8, 8, dtype=torch.float32)
    assert torch.equal(front.net(x), front.net.last.bias[:, None, None].expand(2, -1, 8, 8))
    with torch.no_grad():
        front.net.last.weight.fill_(0.1)
    moved = x.clone()
    moved[..., 0, 0] += 1
    # seven pixels away there are no convolutions any more
    assert not torch.equal(front.net(x)[..., 7, 7], front.net(moved)[..., 7, 7])
    set_bf16(front, True)
    trained, exact = front.net.train()(x), front.net.eval()(x)
    assert trained.dtype == torch.float32 and not torch.equal(trained, exact)
    torch.testing.assert_close(trained, exact, rtol=0.05, atol=0.02)


@pytest.mark.parametrize(
    ("dataset", "shape", "millions", "within"),
    [("cifar10", (3, 32, 32), 12.6, 0.03), ("celeba_hq", (3, 1024, 1024), 23.3, 0.01)],
)
def test_the_flows_of_the_paper_have_its_numbers_of_parameters(dataset, shape, millions, within) -> None:
    """Table 1. With M = 1 or 3 hats that of CelebA-HQ would have 20.7 or 26.0 million."""
    config = compose(["model=qlf", f"dataset={dataset}", "scale=paper"]).model
    with torch.device("meta"):
        flow = build(config, shape, 256, None, torch.float32)
    assert sum(p.numel() for p in flow.parameters()) / 1e6 == pytest.approx(millions, rel=within)
    channels = [level[0][0].weight.matrix.shape[0] for level in flow.chain[-1].levels]
    assert channels == ([12, 24, 48] if dataset == "cifar10" else 8 * [12])


# Transport cost


def test_the_transport_cost_is_how_far_the_blocks_move_their_inputs() -> None:
    regularizer = build_regularizer(TransportConfig("transport", alpha=0.1))
    assert regularizer.alpha == 0.1
    for flow, x in ((vectors(), points(6, 2)), (images(), 200 * torch.rand(6, 1, 4, 4).double())):
        log_prob, term = regularizer(flow, x, None)
        assert term.shape == (6,) and term.abs().max() < 1e-9
        with torch.no_grad():
            for parameter in flow.parameters():
                parameter.add_(0.1 * points(*parameter.shape, seed=2))
        log_prob, term = regularizer(flow, x, None)
        torch.testing.assert_close(log_prob, flow.log_prob(x))
        assert (term > 0).all() and term.requires_grad
    flow = vectors(layers=3)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1 * points(*parameter.shape, seed=2))
    x = points(6, 2)
    path = [flow.chain[:k](x)[0] for k in range(2, 6)]
    expected = sum((b - a).square().sum(1) for a, b in zip(path[:-1], path[1:], strict=True))
    torch.testing.assert_close(regularizer(flow, x, None)[1], expected)


def test_only_blocks_have_a_transport_cost() -> None:
    linear = build(LinearConfig("linear"), (2,), None, seeded(), torch.float64)
    with pytest.raises(UsageError, match="model=qlf and model=qlf_vectors"):
        build_regularizer(TransportConfig("transport"))(linear, points(3, 2), None)


# Training


def test_the_papers_decay_is_0_98_per_thousand_steps_down_to_a_tenth() -> None:
    config = compose(["model=qlf", "dataset=cifar10", "scale=paper"])
    (stage,) = stages(config.phases.sequence, config.training, 0.0)
    assert stage.lr_at(0) == 0.01 and stage.lr_at(1000) == pytest.approx(0.0098)
    assert stage.lr_at(50_500) == pytest.approx(0.01 * 0.98**50.5)
    assert stage.lr_at(113_900) > 0.001 and stage.lr_at(113_999) == pytest.approx(0.001)
    assert stage.lr_at(10**6) == pytest.approx(0.001)


def test_without_a_rate_the_decay_is_over_at_the_end() -> None:
    training = TrainingConfig(steps=100, schedule="exponential", final_lr=0.1, lr=1.0)
    (stage,) = stages(compose(["phases=end_to_end"]).phases.sequence, training, 0.0)
    assert stage.lr_at(50) == pytest.approx(0.1**0.5)


@pytest.mark.parametrize("words", [["dataset=moons", "model=qlf_vectors"], ["dataset=digits", "model=qlf"]])
@pytest.mark.parametrize("regularizer", ["none", "transport"])
def test_it_trains(flowrepro, words: list[str], regularizer: str) -> None:
    words = [*words, f"regularizer={regularizer}", "scale=smoke", "training.steps=4", "threads=1"]
    answer = flowrepro("train", *words, "training.validate_every=2")
    assert answer.code == 0 and "log-likelihood" in answer.out
