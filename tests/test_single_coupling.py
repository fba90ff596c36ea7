"""What the figures of single_coupling measure, on flows whose answers are known."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from claimed import of_three_seeds
from torch import Tensor, nn

from flowrepro.analysis.coupling import gmm_active, gmm_conditionals, w_conditionals
from flowrepro.analysis.pushforward import on_grid, pushforward, square_grid
from flowrepro.config.schema import CouplingConfig
from flowrepro.data.toy import TOYS, w_mean, w_std
from flowrepro.figures.build import label
from flowrepro.figures.catalogue import FigureSpec, load_spec
from flowrepro.figures.claims import judge
from flowrepro.figures.settings import reductions
from flowrepro.figures.single_coupling import depth, fig2, fig3, fig4, fig5, lemma2, one_layer, theorem1
from flowrepro.flows.bases import StandardNormal
from flowrepro.flows.core import Chain, Flow
from flowrepro.flows.coupling import AffineCoupling
from flowrepro.flows.linear import Dense, Rotation
from flowrepro.flows.models import build
from flowrepro.flows.preprocess import Center, Standardize
from flowrepro.measures import (
    conditional_divergence,
    conditional_moments,
    gmm_coupling,
    toy_density,
    untrained,
)
from flowrepro.measures.one_coupling import scale_and_shift


class Exact(nn.Module):
    """Scale and shift of the best coupling of W and WU (Lemma 1), too small by a factor on request."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, p: Tensor) -> Tensor:
        return self.factor * torch.cat([-w_std(p).log(), -w_mean(p) / w_std(p)], 1)


def one_coupling(net: nn.Module) -> Flow:
    chain = Chain(
        Center(2, torch.float64), Rotation(torch.eye(2, dtype=torch.float64)), AffineCoupling(1, net)
    )
    return Flow(chain, StandardNormal(2, torch.float64))


def data(name: str, n: int = 2000) -> SimpleNamespace:
    return SimpleNamespace(name=name, val=TOYS[name].sample(n, torch.Generator().manual_seed(9))[0])


def test_a_pushed_density_is_that_of_the_images() -> None:
    layer = Dense(2, "glorot", torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_(False)
    points, area = square_grid(-9, 9, 180)
    pushed = pushforward(StandardNormal(2, torch.float64).log_prob, layer)
    covariance = layer.weight @ layer.weight.mT
    theirs = torch.distributions.MultivariateNormal(-layer.weight @ layer.bias, covariance)
    torch.testing.assert_close(pushed(points), theirs.log_prob(points))
    image = on_grid(pushed, points)
    assert float(image.sum()) * area == pytest.approx(1, abs=1e-6)
    # rows are the second coordinate
    assert image.shape == (180, 180)
    assert float(image[90, 100]) == pytest.approx(float(pushed(torch.tensor([[1.05, 0.05]]).double()).exp()))


def test_scale_and_shift_are_read_off_any_rotation_and_centre() -> None:
    config = CouplingConfig("coupling", layers=1, hidden=[8], rotation="axis", angle=35.0)
    flow = build(config, (2,), None, torch.Generator().manual_seed(0), torch.float64)
    flow.init_from(torch.randn(50, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 2)
    p = torch.linspace(-1, 1, 5, dtype=torch.float64)
    centre = flow.chain[1].matrix @ flow.chain[0].mean
    s, t = flow.chain[2].scale_and_shift((p - centre[0])[:, None])
    found = scale_and_shift(flow, p)
    torch.testing.assert_close(found[0], s[:, 0])
    torch.testing.assert_close(found[1], (t - s.exp() * centre[1])[:, 0])


@pytest.fixture(scope="module")
def exact_measures() -> list[dict]:
    found = []
    for name in ("w", "wu"):
        measured = conditional_moments.measure(one_coupling(Exact()), data(name), cells=60, n=50_000)
        found.append({"case": name, "seed": 0, "state": "completed", **measured})
    return found


def test_the_best_coupling_satisfies_every_claim_of_figure_2(exact_measures) -> None:
    for m in exact_measures:
        assert max(m["rms_error_mean"], m["rms_error_std"], m["worst_after_mean"], m["excess"]) < 1e-9
        assert m["mass"] == pytest.approx(1, abs=0.03)
    assert exact_measures[1]["ks_normal"] == pytest.approx(0.057, abs=0.006)
    assert exact_measures[1]["ks_uniform"] < 0.01
    assert set(judge(fig2.CLAIMS, fig2.table(exact_measures), "cpu").verdict) == {"holds"}


def test_a_coupling_that_learnt_nothing_does_not() -> None:
    wrong = [
        {
            "case": n,
            "seed": 0,
            "state": "",
            **conditional_moments.measure(one_coupling(Exact(0.0)), data(n), 30, 20_000),
        }
        for n in ("w", "wu")
    ]
    table = fig2.table(wrong)
    assert set(judge(fig2.CLAIMS, table, "cpu").verdict) == {"not settled"}, (
        "it may not be trained to the end"
    )
    settled = judge(fig2.CLAIMS, of_three_seeds(table.assign(last_fifth_gain=0.0)), "cpu").set_index("key")
    assert settled.verdict["mean_learned"] == settled.verdict["std_learned"] == "does not hold"
    assert "near the best one" in settled.told["std_after"], "the optimum is known, and it is far from it"


def test_a_coupling_at_the_optimum_that_misses_one_place_speaks_against_the_paper(exact_measures) -> None:
    table = fig2.table(exact_measures).assign(last_fifth_gain=0.0, rms_after_std_error=0.3)
    judged = judge(fig2.CLAIMS, of_three_seeds(table), "cpu").set_index("key").verdict
    assert judged["std_after"] == "does not hold" and judged["mean_after"] == "holds"


def test_the_median_seed_is_drawn() -> None:
    excess = pd.Series({0: 0.01, 1: 0.9, 2: 0.02, 3: 0.5})
    table = pd.DataFrame({"seed": excess.index, "excess": excess})
    both = pd.concat([table.assign(case="w"), table.assign(case="wu")])
    assert fig2.shown_seed(both) == 2


def test_figure_3_tells_a_trained_coupling_from_an_untrained_one() -> None:
    def verdicts(factor: float) -> pd.Series:
        measured = [
            {
                "case": n,
                "seed": 0,
                "state": "",
                **conditional_divergence.measure(one_coupling(Exact(factor)), data(n), 100_000),
            }
            for n in ("w", "wu")
        ]
        table = fig3.table(measured).assign(last_fifth_gain=0.0)
        return judge(fig3.CLAIMS, of_three_seeds(table), "cpu").set_index("key").verdict

    assert set(verdicts(1.0)) == {"holds"}
    # what an untrained coupling leaves is what was there before it: the control shows nothing that it does not
    assert set(verdicts(0.0)[["after_w", "after_wu"]]) == {"does not hold"}


def test_figure_3_agrees_with_samples_and_with_the_closed_form() -> None:
    for factor, excess in ((1.0, 0.0), (0.0, w_conditionals().improvement())):
        m = conditional_divergence.measure(one_coupling(Exact(factor)), data("wu"), n=100_000)
        assert m["excess"] == pytest.approx(excess, abs=1e-9)
        assert m["mean_sampled_after"] == pytest.approx(m["mean_after"], abs=0.02)
        assert m["lowest_gap"] >= -1e-9


def test_distances_to_the_best_angle_mirror() -> None:
    assert [one_layer.distance(angle) for angle in (46.4097, 180 - 46.4097)] == pytest.approx([0, 0])
    assert one_layer.distance(90) == pytest.approx(43.5903)


def test_the_unbiased_estimate_is_that_of_the_variances_of_numpy() -> None:
    x = TOYS["gmm"].sample(8 * fig4.BINS, torch.Generator().manual_seed(3))[0]
    turn = torch.tensor([[0.6, 0.8], [-0.8, 0.6]], dtype=torch.float64)[None]
    p, a = (turn[0] @ x.mT).numpy()
    bins = a[p.argsort()].reshape(fig4.BINS, 8)
    mean, variance = bins.mean(1), bins.var(1, ddof=1)
    expected = 0.5 * (mean**2 + variance - 1 - np.log(variance)).mean()
    assert float(fig4.unbiased_improvement(x, turn)[0]) == pytest.approx(expected)
    assert float(fig4.unbiased_improvement(x[: fig4.BINS], turn)[0]) == 0, "one sample has no variance"


def test_one_flow_per_dimension_leaves_what_the_dimensions_share() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40_000, 2, generator=generator, dtype=torch.float64) @ torch.tensor(
        [[2.0, 0.0], [1.2, 1.6]], dtype=torch.float64
    )
    law = torch.distributions.MultivariateNormal(torch.zeros(2).double(), torch.cov(x.mT))
    found = lemma2.divergences("x", Chain(), x, law.log_prob)
    information = -0.5 * math.log(1 - float(torch.corrcoef(x.mT)[0, 1]) ** 2)
    assert found["x_finished"] == pytest.approx(information, abs=0.02)
    to_normal = 0.5 * (float(torch.trace(torch.cov(x.mT)) - torch.cov(x.mT).logdet()) - 2)
    assert found["x_left"] == pytest.approx(to_normal, abs=0.05)


def test_the_densities_of_lemma_2_are_those_of_its_samples() -> None:
    points, area = square_grid(-5, 5, 400)
    assert float(lemma2.peaks_log_density(points[points[:, 0].abs() < 2]).exp().sum()) * area == (
        pytest.approx(1, abs=0.01)
    )
    left = lemma2.in_space(lemma2.triangular(20_000, torch.Generator().manual_seed(1)))
    assert left["space_2_left"] == pytest.approx(3 * one_layer.UNIFORM, abs=0.02)


def test_the_minimum_of_the_loss_is_that_of_lemma_1() -> None:
    p, a, log_density = theorem1.sample(theorem1.CASES["full"], 4000, torch.Generator().manual_seed(2))
    place = (p > 0).long()
    s, t = theorem1.minimise(place, a, 2)
    for side in (0, 1):
        torch.testing.assert_close(
            (-s[side]).exp(), a[place == side].std(0, unbiased=False), rtol=1e-3, atol=0
        )
        torch.testing.assert_close(-t[side] / s[side].exp(), a[place == side].mean(0), rtol=0, atol=1e-3)
    law = torch.distributions.MultivariateNormal(
        w_mean(p)[:, None].expand(-1, 2),
        w_std(p).square()[:, None, None]
        * (torch.eye(2) + (1 - torch.eye(2)) * theorem1.correlation(p)[:, None, None]),
    )
    torch.testing.assert_close(log_density, law.log_prob(a))


def test_the_active_dimension_of_the_two_gaussians() -> None:
    assert gmm_active(0)[0] == pytest.approx(0, abs=1e-9)
    # unturned, the loss that a coupling takes away is all of the active dimension's
    assert gmm_active(0)[1] == pytest.approx(gmm_conditionals(0).improvement(), abs=1e-9)
    assert gmm_active(90)[0] == pytest.approx(gmm_coupling.kl_before() - gmm_active(0)[1], abs=1e-6)
    assert gmm_active(90)[0] == pytest.approx(gmm_active(90)[1]) == gmm_active(-90)[0]


def test_equal_steps_change_unequal_numbers_of_layers() -> None:
    for method, updates in (("layerwise_oas", 12), ("progressive_random", 78), ("end_to_end", 144)):
        assert depth.layer_updates(method, 12, 1000) == 1000 * updates
        assert depth.layer_updates(method, 1, 1000) == 1000


def run(case: str, layers: int, phases: str, values: list[float]) -> dict:
    """A measured run of ten steps a layer, validated every five."""
    steps = np.arange(len(values)) * 5.0
    return {
        "case": case,
        "seed": 0,
        "state": "completed",
        "truth": -1.0,
        "kl_0": 2.0,
        "mass": float(layers),
        "reference": np.linspace(2, 1, layers + 1),
        "config": {
            "dataset.name": "moons",
            "model.layers": layers,
            "training.lr": 0.01,
            "training.steps_per_layer": 10,
            "phases.name": phases,
        },
        "history": {"step": steps, "val_log_prob": np.array(values)},
    }


def test_a_flow_trained_in_turn_has_a_loss_at_every_depth_and_others_at_their_own() -> None:
    in_turn = run("square layerwise_oas", 2, "layerwise", [-4, -3, -2.5, -2, -1.5])
    assert depth.losses(in_turn) == {1: 1.5, 2: 0.5}
    runs = [
        in_turn,
        run("square end_to_end model.layers=1", 1, "end_to_end", [-4, -3, -2.75]),
        run("square end_to_end model.layers=2", 2, "end_to_end", [-4, -3, -2, -1.5, -1.25]),
    ]
    table = pd.DataFrame(depth.collected(runs, [1, 2])).set_index("method")
    assert table.loc["end_to_end", ["kl_0", "kl_1", "kl_2", "mass", "updates"]].tolist() == [
        2,
        1.75,
        0.25,
        2,
        40,
    ]
    assert table.loc["layerwise_oas", ["kl_1", "kl_2", "nll", "updates"]].tolist() == [1.5, 0.5, 1.5, 20]


def test_one_layer_trained_end_to_end_is_one_layer_of_any_training_and_stuck_flows_are_named() -> None:
    in_turn = run("square layerwise_random", 2, "layerwise", [-4, -3, -2.5, -2, -1.5])
    deeper = run("square end_to_end model.layers=2", 2, "end_to_end", [-4, -3, -2, -1.5, -2.6])
    table = pd.DataFrame(depth.collected([in_turn, deeper], [1, 2])).set_index("method")
    assert table.loc["end_to_end", ["kl_1", "last_fifth_gain_1", "kl_2", "stuck"]].tolist() == [
        1.5,
        0.5,
        1.6,
        "at 2",
    ]
    assert table.stuck["layerwise_random"] == "" and depth.stuck_at("at 8, 12") == {8, 12}
    assert depth.stuck_at(math.nan) == depth.stuck_at("") == set()


def test_inner_divergences_are_those_of_the_densities() -> None:
    points, _ = square_grid(-6, 6, 150)
    wide = torch.distributions.MultivariateNormal(
        torch.zeros(2).double(), torch.diag(torch.tensor([1.0, 0.25])).double()
    )
    measured = {
        "depths": np.array([0, 8]),
        "densities": torch.stack(
            [on_grid(law.log_prob, points) for law in (wide, StandardNormal(2, torch.float64))]
        ),
        "edges": np.linspace(-6, 6, 151),
    }
    found = fig5.inner(measured)
    assert found["inner_0"] == pytest.approx(0.5 * (0.25 - 1 - math.log(0.25)), abs=1e-3)
    assert found["inner_8"] == pytest.approx(0, abs=1e-6)


def test_gains_are_those_of_the_last_fifth_of_a_layers_steps() -> None:
    # ten steps a layer, validated every five: the last validation before the last two steps is that after five
    assert depth.gains(run("square layerwise_oas", 2, "layerwise", [-4, -3, -2.5, -2, -1.5])) == {
        1: 0.5,
        2: 0.5,
    }
    assert depth.gains(run("square end_to_end", 2, "end_to_end", [-4, -3, -2, -1.5, -1.25])) == {2: 0.25}
    rare = run("square layerwise_oas", 2, "layerwise", [-4, -3, -2])
    rare["history"]["step"] = np.array([0, 10, 20])
    assert depth.gains(rare) == {1: 1, 2: 1}, "without a validation in between all that the layer gained"
    row = depth.collected([rare], [1, 2])[0]
    assert (row["last_fifth_gain_2"], row["reference_1"]) == (1, 1.5) and "reference_2" not in row


def test_mass_outside_the_support_of_the_data() -> None:
    toy = TOYS["8gaussians"]
    held_out = data("8gaussians", 50_000).val

    def sampling(shift: float) -> SimpleNamespace:
        return SimpleNamespace(sample=lambda n, generator: toy.sample(n, generator)[0] + shift)

    assert toy_density.outside(sampling(0.0), toy.log_density, held_out, 50_000) == pytest.approx(
        0.001, abs=1e-3
    )
    assert toy_density.outside(sampling(20.0), toy.log_density, held_out, 1000) == 1
    lost = SimpleNamespace(sample=lambda n, generator: torch.full((n, 2), math.nan, dtype=torch.float64))
    assert toy_density.outside(lost, toy.log_density, held_out, 1000) == 1


def test_references_take_optimal_rotations_or_those_of_the_flow() -> None:
    kls = {}
    for kind in ("oas", "random"):
        config = CouplingConfig("coupling", layers=3, hidden=[4], rotation=kind, standardize=True)
        flow = build(config, (2,), None, torch.Generator().manual_seed(0), torch.float64)
        flow.init_from(data("moons").val)
        assert untrained.stops(flow) == [2, 4, 6, 8]
        assert isinstance(flow.chain[1], Standardize)
        kls[kind] = untrained.reference(flow, data("moons"))
        assert kls[kind].shape == (4,) and (np.diff(kls[kind]) < 0.01).all()
    assert kls["oas"][3] < kls["random"][3]
    assert kls["oas"][0] == pytest.approx(untrained.baselines(flow, data("moons"))["kl_0"], abs=0.05)


def test_what_the_paper_does_not_give_is_said_instead_of_not_reduced() -> None:
    for name in ("fig5", "fig6"):
        told = reductions(load_spec(f"single_coupling/{name}"), "cpu")
        assert len(told) == 1 and told[0].startswith("the paper does not give")
    seeds = {"cpu": [0], "paper": [0]}
    known, unknown = (
        FigureSpec("", "single_coupling/fig4", seeds=seeds, unknown=u) for u in ("", "its network")
    )
    table = pd.DataFrame({"seed": [0]})
    assert "not give" not in label(known, "cpu", table) and reductions(known, "cpu") == []
    assert "the paper does not give its network" in label(unknown, "cpu", table)


def test_every_method_of_the_figures_is_trained() -> None:
    methods = [{run.split()[1] for run in load_spec(f"single_coupling/fig{n}").runs} for n in (5, 6)]
    assert methods[0] < methods[1] == set(depth.METHODS)


def test_losses_are_those_at_the_end_of_a_layer_however_often_one_validates() -> None:
    values = [-9, -8, -4, -9, -3, -9, -2.5]
    assert depth.losses(run("square layerwise_oas", 3, "layerwise", values)) == {1: 3.0, 2: 2.0, 3: 1.5}


def test_a_run_that_diverged_has_no_last_loss() -> None:
    broken = run("square layerwise_oas", 3, "layerwise", [-9, -8, -4]) | {"state": "diverged"}
    row = depth.collected([broken], [1, 2, 3])[0]
    assert (
        row["states"] == row["state"] == "diverged"
        and row["kl_1"] == 3.0
        and "kl_3" not in row
        and np.isnan(row["nll"])
    )


def test_first_weights_and_activations_of_a_coupling_are_those_of_its_config() -> None:
    def net(**keys: object) -> torch.nn.Sequential:
        config = CouplingConfig("coupling", layers=1, hidden=[4], **keys)
        flow = build(config, (2,), None, torch.Generator().manual_seed(0), torch.float64)
        return next(layer for layer in flow.chain if isinstance(layer, AffineCoupling)).net[0]

    plain, wide = net(), net(activation="tanh", input_scale=8.0)
    assert isinstance(plain[1], torch.nn.ReLU) and isinstance(wide[1], torch.nn.Tanh)
    assert torch.equal(8 * plain[0].weight, wide[0].weight) and torch.equal(8 * plain[0].bias, wide[0].bias)
    assert torch.equal(plain[2].weight, wide[2].weight)
