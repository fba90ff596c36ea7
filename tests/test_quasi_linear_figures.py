"""Claims of jacobian_determinant on trained flows: they hold on measures made as the paper has it, and can turn."""

import copy
from typing import Any

import numpy as np
import pytest
from claimed import of_three_seeds

from flowrepro.figures.claims import FAILS, HOLDS, UNSETTLED, judge
from flowrepro.figures.drawn import Measures
from flowrepro.figures.jacobian_determinant import bounds, fig1, fig3, fig4, fig6, fig7


def told(case: str, **values: Any) -> dict[str, Any]:
    common = {"state": "completed", "step": 1000, "last_fifth_gain": 0.001, "result": {}}
    config = {"training.steps": 1000, "dataset.name": case}
    return {"case": case, "seed": 0, "config": config, **common, **values}


def verdicts(module: Any, measures: Measures) -> dict[str, str]:
    found = judge(module.CLAIMS, of_three_seeds(module.table(measures)), "cpu")
    return dict(zip(found.key, found.verdict, strict=True))


def spoiled(measures: Measures, case: str, **changes: Any) -> Measures:
    made = copy.deepcopy(measures)
    next(m for m in made if m["case"] == case).update(changes)
    return made


def deformed(case: str, **changes: Any) -> dict[str, Any]:
    blocks = {
        "expansion": np.array([0.3, 0.4]),
        "compression": np.array([-0.3, -0.4]),
        "expansion_spread": np.full(2, 0.2),
        "compression_spread": np.full(2, 0.2),
    }
    found = {"truth": -2.8, "kl": 0.05, "mass": 1.001, "domains": np.array([1.0, 2, 1, 2, 1])}
    return told(case, **blocks, **found, **changes)


class TestToys:
    THREE = [deformed(case) for case in [*fig3.CASES, fig3.NEUTRAL]]
    FIVE = [deformed(case) for case in fig7.CASES]

    def test_all_hold_for_densities_that_are_learned_block_by_block(self) -> None:
        assert set(verdicts(fig3, self.THREE).values()) == {HOLDS}
        assert set(verdicts(fig7, self.FIVE).values()) == {HOLDS}

    def test_a_density_that_is_not_learned_fails_where_training_has_ended(self) -> None:
        made = spoiled(self.FIVE, "rings", kl=0.2)
        assert verdicts(fig7, made)["density_rings"] == FAILS
        assert verdicts(fig7, made)["density_moons"] == HOLDS
        unsettled = spoiled(self.FIVE, "rings", kl=0.2, last_fifth_gain=0.1)
        assert verdicts(fig7, unsettled)["density_rings"] == UNSETTLED

    def test_blocks_out_of_turn_are_noticed(self) -> None:
        out_of_turn = {"expansion": np.array([0.3, -0.1])}
        assert verdicts(fig3, spoiled(self.THREE, "2spirals", **out_of_turn))["alternates"] == FAILS
        assert verdicts(fig3, spoiled(self.THREE, fig3.NEUTRAL, **out_of_turn))["observation"] == FAILS
        far = spoiled(self.THREE, "2spirals", kl=0.5, **out_of_turn)
        assert verdicts(fig3, far)["alternates"] == UNSETTLED

    def test_straight_blocks_and_lost_mass_are_noticed(self) -> None:
        straight = {f"{part}_spread": np.zeros(2) for part in ("expansion", "compression")}
        assert verdicts(fig3, spoiled(self.THREE, "8gaussians", **straight))["non_uniform"] == FAILS
        assert verdicts(fig3, spoiled(self.THREE, "8gaussians", mass=0.95))["integrates"] == FAILS

    def test_points_are_drawn_within_half_a_byte_of_their_place(self) -> None:
        points = np.linspace(-4.4, 4.4, 20).reshape(1, 10, 2) * np.array([1.0, 2, 1, 2, 1])[:, None, None]
        edges, density = np.linspace(-4.4, 4.4, 5), np.eye(4)
        made = deformed("moons", points=points, edges=edges, density=2 * density, true_density=density)
        found = fig7.arrays([made])
        half = 4.4 * made["domains"][:, None, None]
        back = (found["moons/points"] / 255 * 2 - 1) * half
        assert abs(back - points).max() <= 8.8 / 255
        assert found["moons/density"].max() == found["moons/true_density"].max() == 255
        assert found["moons/log_dets"].tolist() == [0.3, -0.3, 0.4, -0.4]


class TestFigure1:
    MEASURES = [
        told(
            case,
            ks=np.array([0.01, 0.02]),
            joint=0.02,
            start_ks=np.array([0.02, 0.1]),
            start_joint=0.1,
            round_trip=1e-12,
        )
        for case in fig1.CASES
    ]

    def test_all_hold_for_uniform_latents(self) -> None:
        assert set(verdicts(fig1, self.MEASURES).values()) == {HOLDS}

    def test_each_fails_alone(self) -> None:
        for key, changes in {
            "uniform": {"ks": np.array([0.01, 0.05])},
            "uniform_square": {"joint": 0.05},
            "diffeomorphic": {"round_trip": 1e-3},
        }.items():
            found = verdicts(fig1, spoiled(self.MEASURES, "moons", **changes))
            assert [k for k, verdict in found.items() if verdict == FAILS] == [key]


def variant(case: str, end: float, variance: float, early: float = 6.0, **changes: Any) -> dict[str, Any]:
    """Bits/dim of 8 at first, `early` after a tenth of the steps and `end`; variances of two layers of a block."""
    dim = 3072
    bits = np.array([8.0, early, end, end])
    history = {"step": np.array([0.0, 100, 500, 1000]), "val_log_prob": -bits * dim * np.log(2)}
    blocks = {"expansion": np.full(4, 0.3), "compression": np.full(4, -0.3), "moved": np.full(4, 0.1)}
    made = told(
        case if " " in case else f"variant {case}",
        **blocks,
        dim=dim,
        history=history,
        trace_layers=np.array(["0.Rescale", "1.level1.0.0.InvertibleConv", "1.level1.leaves"]),
        trace_variance=variance * np.array([[1e3, 1, 1e3]] * 4),
        **changes,
    )
    return made | {"result": {"val_bits_per_dim": end}}


class TestFigure4:
    MEASURES = [
        variant("baseline", 4.0, 1.0),
        variant("tanh", 4.4, 0.6),
        variant("cdf", 4.3, 0.7),
        variant("transport", 4.2, 0.8) | {"moved": np.full(4, 0.05)},
        variant("unconstrained", 3.9, 1.2, early=5.5) | {"state": "diverged", "result": {}},
        variant("gentle baseline", 4.5, 1.0),
        variant("gentle unconstrained", 4.4, 1.2, early=5.5),
    ]

    def test_all_hold_as_in_the_paper(self) -> None:
        assert set(verdicts(fig4, self.MEASURES).values()) == {HOLDS}

    def test_they_fail_where_a_variant_is_better(self) -> None:
        better = variant("tanh", 3.8, 1.3, early=5.0)
        found = verdicts(fig4, [m if m["case"] != "variant tanh" else better for m in self.MEASURES])
        assert {found[f"{name}_tanh"] for name in ("slower", "worse", "variance")} == {FAILS}
        assert found["slower_cdf"] == HOLDS

    def test_they_are_open_where_training_goes_on_or_the_cost_did_nothing(self) -> None:
        better = variant("tanh", 3.8, 1.3, early=5.0) | {"last_fifth_gain": 100.0}
        found = verdicts(fig4, [m if m["case"] != "variant tanh" else better for m in self.MEASURES])
        assert found["worse_tanh"] == UNSETTLED
        idle = spoiled(self.MEASURES, "variant transport", moved=np.full(4, 0.1))
        assert verdicts(fig4, idle)["worse_transport"] == UNSETTLED

    def test_a_shallow_flow_that_stays_refutes_no_collapse(self) -> None:
        made = spoiled(self.MEASURES, "variant unconstrained", state="completed")
        assert verdicts(fig4, made)["collapses"] == UNSETTLED
        deep = {"expansion": np.full(48, 0.3), "compression": np.full(48, -0.3)}
        assert verdicts(fig4, spoiled(made, "variant unconstrained", **deep))["collapses"] == FAILS

    def test_a_flow_that_diverges_at_once_has_no_early_values(self) -> None:
        made = spoiled(
            self.MEASURES,
            "gentle unconstrained",
            state="diverged",
            step=3,
            history={"step": np.zeros(1), "val_log_prob": np.full(1, -1e4)},
            trace_variance=np.ones((2, 3)),
        )
        found = verdicts(fig4, made)
        assert found["faster"] == UNSETTLED and found["collapses"] == HOLDS

    def test_blocks_out_of_turn_are_noticed(self) -> None:
        made = spoiled(self.MEASURES, "variant baseline", compression=np.array([-0.3, 0.1, -0.3, -0.3]))
        assert verdicts(fig4, made)["alternates"] == FAILS


class TestBounds:
    @staticmethod
    def measures() -> Measures:
        points = np.linspace(1, 2, 8)
        toy = {
            "dim": 2,
            "levels": 1,
            "log_det": np.zeros(8),
            "largest": 2 * points,
            "smallest": 0.2 / points,
            "hadamard": 2 * np.log(1.5 * points),
            # the layers in front have no parameters
            "gradient": np.stack([0 * points, points, points]),
            "gradient_bound": np.stack([0 * points, 1000 * points, 3 * points]),
        }
        image = {
            "dim": 3072,
            "levels": 256,
            "log_det": np.full(8, -3072 * np.log(256)),
            "largest": 100 * points / 256,
            "smallest": 0.01 / 256 / points,
            **{k: np.full((3, 8), np.nan) for k in ("gradient", "gradient_bound")},
            "hadamard": np.full(8, np.nan),
        }
        return [told(case, **toy) for case in bounds.TOYS] + [told("variant baseline", **image)]

    def test_all_hold_where_bounds_are_kept(self) -> None:
        assert set(verdicts(bounds, self.measures()).values()) == {HOLDS}

    @pytest.mark.parametrize(
        ("key", "changes"),
        [
            ("lipschitz", {"log_det": np.full(8, 5.0), "hadamard": np.full(8, 5.0)}),
            ("hadamard", {"hadamard": np.full(8, -1.0)}),
            ("inverse", {"smallest": np.full(8, 1.5)}),
        ],
    )
    def test_a_bound_that_is_not_kept_is_noticed(self, key: str, changes: dict[str, Any]) -> None:
        assert verdicts(bounds, spoiled(self.measures(), "2spirals", **changes))[key] in (FAILS, UNSETTLED)

    def test_gradients_above_their_bound_or_bounds_that_tell_nothing_are_noticed(self) -> None:
        made = self.measures()
        made[0]["gradient"] = made[0]["gradient"][:, ::-1] * 5
        found = verdicts(bounds, made)
        assert found["gradient"] == FAILS and found["predicts"] == FAILS
        made[0]["gradient_bound"] = np.stack([np.linspace(1, 2, 8)] * 3)
        made[0]["gradient"] = made[0]["gradient_bound"] / 2
        assert verdicts(bounds, made)["loosens"] == FAILS


class TestFigure6:
    TABLE = fig6.table([{"seed": 0, **fig6.measure(0, draws=20, cells=2000)}])

    def found(self, **changes: Any) -> dict[str, str]:
        found = judge(fig6.CLAIMS, self.TABLE.assign(**changes), "cpu")
        return dict(zip(found.key, found.verdict, strict=True))

    def test_all_hold_but_the_bound_by_one(self) -> None:
        found = self.found()
        assert found.pop("below_one") == FAILS and set(found.values()) == {HOLDS}

    def test_the_explanation_names_what_the_table_shows(self) -> None:
        claims = judge(fig6.CLAIMS, self.TABLE, "cpu").set_index("key")
        assert "slope_max" in claims.why["below_one"]
        assert self.TABLE[self.TABLE.part == "random"].share_above_one.item() > 0.5

    def test_slopes_are_differences_of_the_activation(self) -> None:
        m = fig6.measure(0, draws=2, cells=fig6.SHOWN)
        middle = np.diff(m["f"]) / np.diff(m["x"])
        between = (m["slope"][1:] + m["slope"][:-1]) / 2
        assert np.median(abs(middle - between)) < 1e-3
        assert np.interp(m["knots_x"], m["x"], m["f"]) == pytest.approx(m["knots_y"], abs=2e-3)

    def test_they_can_turn(self) -> None:
        assert self.found(slope_max=0.9)["below_one"] == HOLDS
        assert self.found(slope_min=-1.0)["monotone"] == FAILS
        assert self.found(log_det=0.0)["normal_cdf"] in (FAILS, UNSETTLED)
        assert self.found(jump=0.1)["continuous"] == FAILS
