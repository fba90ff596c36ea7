"""Claims of the image figures of jacobian_determinant: each holds on measures made so, and fails on spoiled ones."""

import copy
import math
from typing import Any

import numpy as np
import pytest
from claimed import of_three_seeds

from flowrepro.figures.claims import FAILS, HOLDS, UNMEASURED, UNSETTLED, judge
from flowrepro.figures.drawn import Measures
from flowrepro.figures.jacobian_determinant import fig2, fig5, fig8, stability, table1
from flowrepro.pictures.style import save

STEPS = np.arange(0.0, 101.0, 20.0)


def told(case: str, dataset: str, dim: int, gain: float = 0.0, **more: Any) -> dict[str, Any]:
    """What is known of a run of 100 steps."""
    run = {
        "case": case,
        "seed": 0,
        "state": "completed",
        "step": 100,
        "config": {"dataset.name": dataset},
        "last_fifth_gain": gain * dim * math.log(2),
        "history": {"step": STEPS, "seconds": STEPS / 10},
        "source": "made",
        "dim": float(dim),
    }
    return run | more


def verdicts(module: Any, measures: Measures, scale: str = "cpu") -> dict[str, str]:
    found = judge(module.CLAIMS, of_three_seeds(module.table(measures)), scale)
    return {key: v for key, v in zip(found.key, found.verdict, strict=True) if v != UNMEASURED}


def drawn(module: Any, measures: Measures, path: Any) -> None:
    save(module.draw(module.table(measures), module.arrays(measures)), path / "figure.png")
    assert (path / "figure.png").stat().st_size < 300_000


def glow_run(case: str, dataset: str, dim: int, at_end: np.ndarray) -> dict[str, Any]:
    """A run whose convolutions rise steadily, then stand still, with log-determinants `at_end` (levels, blocks)."""
    levels, blocks = at_end.shape
    names = [
        f"1.level{i + 1}.{1 + 2 * k}.1.InvertibleConv" if conv else f"1.level{i + 1}.{2 + 2 * k}.GlowCoupling"
        for i in range(levels)
        for k in range(blocks)
        for conv in (True, False)
    ]
    rise = np.minimum(1, STEPS / 60)[:, None] + 1e-6 * STEPS[:, None]
    traced = np.repeat(rise * at_end.flatten(), 2, axis=1)
    dims = np.repeat([dim // 2**i for i in range(levels)], 2 * blocks)
    return told(
        case, dataset, dim, trace_layers=np.array(names), trace_log_det=traced,
        layer_names=np.array(names), layer_dims=dims,
    )  # fmt: skip


class TestFigure2:
    # levels times blocks; the first block of a level has most
    BLOCKS, LEVELS = np.linspace(1.3, 0.7, 6), np.array([[40.0], [16.0], [6.0]])

    def measures(self, small: np.ndarray | None = None, large: np.ndarray | None = None) -> Measures:
        small = self.LEVELS * self.BLOCKS if small is None else small
        large = 4 * small if large is None else large
        made = [
            glow_run(fig2.SMALL, "cifar10", 3072, small),
            glow_run(fig2.LARGE, "faces64", 12288, large),
        ]
        return made

    def judged(self, *made: np.ndarray) -> dict[str, str]:
        """With other seeds that differ by a tenth."""
        runs = self.measures(*made)
        more = [copy.deepcopy(m) | {"seed": seed} for seed in (1, 2) for m in runs]
        for m in more:
            m["trace_log_det"] = m["trace_log_det"] * (1 + 0.1 * m["seed"])
        found = judge(fig2.CLAIMS, fig2.table([*runs, *more]), "cpu")
        return dict(zip(found.key, found.verdict, strict=True))

    def test_all_hold_where_earlier_and_larger_means_more(self) -> None:
        assert set(self.judged().values()) == {HOLDS}

    def test_the_order_of_steps_is_told_apart_from_that_of_levels(self) -> None:
        found = self.judged(self.LEVELS * self.BLOCKS[::-1])
        assert found["earlier_steps_small"] == found["earlier_steps_large"] == FAILS
        assert found["earlier_levels"] == HOLDS

    def test_an_order_early_in_training_refutes_nothing(self) -> None:
        runs = self.measures(self.LEVELS * self.BLOCKS[::-1])
        early = [m | {"last_fifth_gain": 0.02 * m["dim"] * math.log(2)} for m in runs]
        found = verdicts(fig2, early)
        assert found["earlier_steps_small"] == found["earlier_steps_large"] == UNSETTLED

    def test_log_determinants_by_dimension_alone_are_not_ahead_per_dimension(self) -> None:
        found = self.judged(np.array([[40.0], [20.0], [10.0]]) * self.BLOCKS)
        assert found["earlier_levels"] == HOLDS and found["levels_per_dimension"] == FAILS

    def test_convolutions_that_shrink_or_do_not_care_for_size_fail(self) -> None:
        assert self.judged(-self.LEVELS * self.BLOCKS)["rises"] == FAILS
        same = self.LEVELS * self.BLOCKS
        found = self.judged(same, same)
        assert found["larger_images"] == FAILS
        # and then there is nothing that dividing by the dimension would explain
        assert found["proportional"] == UNSETTLED

    def test_levels_in_reverse_order_fail(self) -> None:
        assert self.judged(self.LEVELS[::-1] * self.BLOCKS)["earlier_levels"] == FAILS

    def test_numbers_of_the_table(self) -> None:
        rows = fig2.table(self.measures())
        assert rows.block.tolist() == 2 * 3 * [1, 2, 3, 4, 5, 6] and rows.level.max() == 3
        assert rows.per_dim.iloc[0] == pytest.approx(40 * 1.3 / 3072, rel=1e-3)
        assert (rows.log_det_before / rows.log_det).to_numpy() == pytest.approx(1, abs=1e-3)

    def test_it_is_drawn(self, tmp_path: Any) -> None:
        drawn(fig2, self.measures(), tmp_path)


class TestFigure5:
    DIMS = np.array([9216, 2304, 576, 192])
    IMAGE = np.zeros((2, 64, 64, 3), np.uint8)

    def run(self, dataset: str = "celeba_hq", **changes: Any) -> Measures:
        fair = self.DIMS * 0.05
        made = {
            "level_dims": self.DIMS,
            "alone_distance": self.DIMS * np.array([0.1, 0.5, 2.5, 12]),
            "alone_coarse": self.DIMS * np.array([0.01, 0.1, 1, 10]),
            **{f"{name}_distance": fair for name in ("pixels", "kept_first", "redrawn_first")},
            **{f"{name}_coarse": fair for name in ("pixels", "kept_first", "redrawn_first")},
            **{"resampled_at": 0.7, "kept_error": 1e-4, "originals": self.IMAGE},
            **{name: np.zeros((2, 4, 64, 64, 3), np.uint8) for name in ("kept_first", "redrawn_first")},
        }  # fmt: skip
        return [told("qlf faces", dataset, 12288, **(made | changes))]

    def test_all_hold_where_higher_levels_know_more(self) -> None:
        assert set(verdicts(fig5, self.run()).values()) == {HOLDS}

    def test_latents_that_are_like_pixels_fail(self) -> None:
        same = {f"alone_{kind}": self.DIMS * 0.05 for kind in ("distance", "coarse")}
        found = verdicts(fig5, self.run(kept_error=2.0, **same))
        assert set(found.values()) == {FAILS}
        # other faces refute nothing of the paper
        found = verdicts(fig5, self.run("faces64", **same))
        assert {found[key] for key in ("informative", "every_level", "few_against_many")} == {UNSETTLED}

    def test_one_level_out_of_order_is_noticed(self) -> None:
        found = verdicts(fig5, self.run(alone_distance=self.DIMS * np.array([0.1, 2.5, 0.5, 80])))
        assert found["every_level"] == FAILS and found["informative"] == HOLDS

    def test_it_is_drawn(self, tmp_path: Any) -> None:
        drawn(fig5, self.run(), tmp_path)


class TestFigure8:
    def run(self, clipped: float = 0.001, variation: float = 0.04, **more: Any) -> Measures:
        noise = np.random.default_rng(0).integers(0, 256, (25, 128, 128, 3), np.uint8)
        made: dict[str, Any] = {
            "real": noise.mean((2, 3), keepdims=True).repeat(128, 2).repeat(3, 3),
            "real_source": "made",
        }
        made |= {"real_diversity": 0.3, "real_total_variation": 0.04}
        for t in (0.9, 1):
            end = f"_t{t:g}_s0"
            made |= {f"sheet{end}": noise, f"non_finite{end}": 0.0, f"diversity{end}": 0.3}
            made |= {f"clipped{end}": clipped * t, f"total_variation{end}": variation}
        return [told("qlf faces", "celeba_hq", 12288, **(made | more))]

    def test_all_hold_for_samples_like_photographs(self) -> None:
        assert set(verdicts(fig8, self.run(), "paper").values()) == {HOLDS}

    def test_all_fail_for_noise_from_a_flow_that_diverged(self) -> None:
        made = self.run(0.5, 0.4, state="diverged", **{"non_finite_t0.9_s0": 0.1, "clipped_t1_s0": 0.1})
        assert set(verdicts(fig8, made, "paper").values()) == {FAILS}

    def test_large_images_are_made_smaller_for_the_picture(self, tmp_path: Any) -> None:
        shown = fig8.arrays(self.run())["qlf faces/samples"]
        assert shown.shape == (25, 64, 64, 3)
        assert shown[3, 5, 7, 1] == round(float(self.run()[0]["sheet_t0.9_s0"][3, 10:12, 14:16, 1].mean()))
        drawn(fig8, self.run(), tmp_path)


class TestTable1:
    START = {"realnvp": 7.5, "glow": 7.0, "qlf": 8.0}

    def runs(
        self, bits: dict[str, float], sizes: dict[str, float] | None = None, gain: float = 0.0
    ) -> Measures:
        """The second set is the paper's own."""
        sizes = sizes or {"realnvp": 5e5, "glow": 5e5, "qlf": 2e5}
        made = []
        for dataset in ("cifar10", "imagenet32"):
            for model, end in bits.items():
                run = told(f"{model} {dataset}", dataset, 3072, gain, parameters=sizes[model])
                nats = -3072 * math.log(2)
                run["history"] |= {"val_log_prob": nats * np.linspace(self.START[model], end, len(STEPS))}
                run["result"] = {"val_bits_per_dim": end, "train_bits_per_dim": end, "val_se": 20.0}
                made.append(
                    run | {"eq6": -math.inf, "eq6_noise_averaged": 0.26, "eq6_pseudo_determinant": 2.05}
                )
        return made

    def test_all_hold_where_qlf_is_as_good(self) -> None:
        assert set(verdicts(table1, self.runs({"realnvp": 4.9, "glow": 4.6, "qlf": 4.62})).values()) == {
            HOLDS
        }

    def test_they_fail_where_it_is_worse_once_training_has_converged(self) -> None:
        worse = {"realnvp": 4.6, "glow": 4.6, "qlf": 4.8}
        found = verdicts(table1, self.runs(worse))
        assert {v for key, v in found.items() if key != "none_diverges"} == {FAILS}
        found = verdicts(table1, self.runs(worse, gain=0.1))
        assert {v for key, v in found.items() if key != "none_diverges"} == {UNSETTLED}

    def test_a_larger_flow_says_nothing_about_fewer_parameters(self) -> None:
        made = self.runs({"realnvp": 4.9, "glow": 4.6, "qlf": 4.5}, {"realnvp": 5e5, "glow": 5e5, "qlf": 6e5})
        found = verdicts(table1, made)
        assert found["as_good_as_glow_cifar10"] == UNSETTLED and found["better_than_realnvp_cifar10"] == HOLDS

    def test_a_run_that_diverged_counts(self, tmp_path: Any) -> None:
        made = self.runs({"realnvp": 4.9, "glow": 4.6, "qlf": 4.62})
        (lost,) = (m for m in made if m["case"] == "qlf cifar10")
        lost |= {"state": "diverged", "result": {}}
        found = verdicts(table1, made)
        assert found["none_diverges"] == FAILS and found["as_good_as_glow_cifar10"] == UNSETTLED
        assert found["as_good_as_glow_imagenet32"] == HOLDS

    def test_the_papers_numbers_count_at_its_scale(self) -> None:
        found = verdicts(table1, self.runs({"realnvp": 3.49, "glow": 3.35, "qlf": 3.37}), "paper")
        assert found["printed_cifar10"] == HOLDS and found["printed_imagenet32"] == FAILS

    def test_it_is_drawn(self, tmp_path: Any) -> None:
        made = self.runs({"realnvp": 4.9, "glow": 4.6, "qlf": 4.62})
        faces = copy.deepcopy(made[2]) | {"case": "qlf faces", "config": {"dataset.name": "faces64"}}
        drawn(table1, [*made, faces], tmp_path)


LAYERS = ("0.Rescale", "1.level1.1.0.ActNorm", "1.level1.1.1.InvertibleConv", "1.level1.2.GlowCoupling")


class TestStability:
    RATES = (0.001, 0.003, 0.01, 0.03)

    def run(self, model: str, size: str, lr: float, lost: int | None, expansion: float) -> dict[str, Any]:
        """A run on CIFAR-10; if `lost`, this layer's log-determinant has changed most, and the last's is not finite."""
        run = told(f"{model} {size} training.lr={lr}", "cifar10", 3072, parameters=1e5)
        run["config"] |= {"training.lr": lr}
        trace = np.zeros((len(STEPS), len(LAYERS)))
        trace[:, 2] = expansion * STEPS
        run |= {"trace_layers": np.array(LAYERS), "trace_log_det": trace, "broken_layers": []}
        run["history"] |= {"val_log_prob": -np.linspace(7, 5, len(STEPS)) * 3072 * math.log(2)}
        if lost is not None:
            broken = [{"layer": name, "mean_dlogp": 1.0, "variance": 1.0} for name in LAYERS]
            broken[lost]["mean_dlogp"], broken[-1]["mean_dlogp"] = 1e4, math.nan
            run |= {"state": "diverged", "step": 3, "broken_layers": broken}
        return run

    def runs(self, lost: dict[tuple[str, str], int], layer: int = 2, expansion: float = 2.0) -> Measures:
        """Of each model and size so many of the largest learning rates are lost."""
        return [
            self.run(
                model, size, lr,
                layer if i >= 4 - lost.get((model, size), 0) else None,
                expansion if model == "glow" else 1.0,
            )
            for model in ("glow", "qlf") for size in stability.SIZES for i, lr in enumerate(self.RATES)
        ]  # fmt: skip

    LOST = {("glow", "base"): 1, ("glow", "deep"): 2, ("glow", "wide"): 2}

    def test_all_hold_where_glow_alone_is_lost_by_its_convolutions(self) -> None:
        assert set(verdicts(stability, self.runs(self.LOST)).values()) == {HOLDS}

    def test_all_fail_where_qlf_is_lost_more_and_other_layers_are_to_blame(self) -> None:
        lost = {(model, size): 1 for model in ("glow", "qlf") for size in stability.SIZES} | {
            ("qlf", "deep"): 2
        }
        runs = self.runs(lost, layer=1, expansion=0.5)
        found = verdicts(stability, [m | {"step": 2000 if m["state"] == "completed" else 3} for m in runs])
        assert set(found.values()) == {FAILS}, found
        # convolutions may be to blame later
        assert verdicts(stability, runs)["by_convolution"] == UNSETTLED

    def test_where_glow_survives_everything_nothing_is_told(self) -> None:
        found = verdicts(stability, self.runs({}))
        assert {found[k] for k in ("more_stable", "deep_glow", "wide_glow", "by_convolution")} == {UNSETTLED}
        assert found["at_the_papers_rate"] == HOLDS

    def test_a_run_that_ends_worse_than_it_began_is_lost(self) -> None:
        run = self.run("glow", "base", 0.01, None, 1.0)
        assert stability.table([run]).lost.tolist() == [0]
        run["history"]["val_log_prob"] = run["history"]["val_log_prob"][::-1]
        assert stability.table([run]).lost.tolist() == [1]
        run["history"]["val_log_prob"] = np.full(len(STEPS), np.nan)
        assert stability.table([run]).lost.tolist() == [1]

    def test_the_layer_named_is_finite_and_the_first_that_is_not_stands_beside_it(self) -> None:
        row = stability.table([self.run("glow", "base", 0.01, 1, 1.0)]).iloc[0]
        assert (row.layer, row.kind, row.level) == ("1.level1.1.0.ActNorm", "ActNorm", "1")
        assert row.change == 1e4 and row.first_not_finite == LAYERS[-1]

    def test_it_is_drawn(self, tmp_path: Any) -> None:
        drawn(stability, self.runs(self.LOST), tmp_path)
