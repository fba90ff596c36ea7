"""Claims of the figures of samples, reconstructions and paths: each holds on measures made so, and fails on spoiled ones."""

import copy
import itertools
from typing import Any

import numpy as np
import pytest
from claimed import of_three_seeds

from flowrepro.figures.across_dimensions import fig1, fig3, fig5, fig7, fig8, fig9, fig12, fig14
from flowrepro.figures.across_dimensions.distances import COLUMNS
from flowrepro.figures.claims import FAILS, HOLDS, UNSETTLED, judge
from flowrepro.figures.drawn import Measures

TEMPERATURES = (1, 2, 3, 4, 5)
PAIRS = [(1, 1), *((t, 0) for t in TEMPERATURES)]
IMAGE = (8, 8, 3)


def told(case: str, gain: float = 0.0, **more: Any) -> dict[str, Any]:
    """What is known of a run."""
    model, dataset = case.split()
    latent_dim = {} if model == "nf" else {"model.latent_dim": int(model.partition("-")[2] or 128)}
    sets = {"faces": "celeba", "fashion_mnist_3": "fashion_mnist"}
    config = {"dataset.name": sets.get(dataset, dataset), **latent_dim}
    run = {
        "case": case,
        "seed": 0,
        "state": "completed",
        "step": 9,
        "config": config,
        "last_fifth_gain": gain,
    }
    return run | more


def sheets(diversity: float = 0.3, clipped: float = 0.0, total_variation: float = 0.1) -> dict[str, Any]:
    """Sheets whose numbers grow with the temperature, from those at t = 1."""
    found: dict[str, Any] = {"sheets_source": "made", "real_diversity": 0.3, "real_total_variation": 0.1}
    for t, s in PAIRS:
        end = f"_t{t}_s{s}"
        found |= {f"sheet{end}": np.zeros((100, *IMAGE), np.uint8), f"non_finite{end}": 0.0}
        found |= {f"diversity{end}": diversity * t, f"clipped{end}": clipped * (t - 1)}
        found |= {f"total_variation{end}": total_variation * t}
    return found


def distances(
    values: dict[tuple[float, float], float], best: tuple[float, float] | None = None
) -> dict[str, Any]:
    """Distances of samples by (t, s), the same on every network and of every kind; noise takes real images away."""
    made = [("samples", t, s, value) for (t, s), value in values.items()]
    made += [("real", np.nan, np.nan, 1.0), ("noisy real", np.nan, np.nan, 5.0)]
    rows = [
        {"of": of, "network": network, "kind": kind, "split": split, "temperature": t, "deviation": s}
        | {"tuned": (t, s) == best, "value": value, "label": f"{kind} ({network})", "left_out": 0}
        for network, kind, split in itertools.product(
            ("inception", "lite0", "classifier"), ("frechet", "kernel"), ("train", "test")
        )
        for of, t, s, value in made
    ]
    arrays = {f"distances_{c}": np.array([row.get(c, np.nan) for row in rows]) for c in COLUMNS}
    return arrays | {
        "distances_dim": 192.0,
        "distances_source": "made, 16 grey levels",
        "distances_real_total_variation": 0.1,
    }


def verdicts(module: Any, measures: Measures) -> dict[str, str]:
    found = judge(module.CLAIMS, of_three_seeds(module.table(measures)), "cpu")
    return dict(zip(found.key, found.verdict, strict=True))


def measured(found: dict[str, str]) -> dict[str, str]:
    """Without what only the official features would tell."""
    return {key: verdict for key, verdict in found.items() if "inception" not in key}


def spoiled(measures: Measures, case: str, **changes: Any) -> Measures:
    made = copy.deepcopy(measures)
    next(m for m in made if m["case"] == case).update(changes)
    return made


NF_FACES = {(0.3, 1): 30.0, (1, 1): 20.0, (2, 1): 40.0}
NIF_FACES = {(1, 0): 10.0, (1, 1): 18.0, (2, 0): 12.0}
HOT = [
    told("nf faces", **sheets(clipped=0.1, total_variation=0.3), **distances(NF_FACES, (1, 1))),
    told("nif-128 faces", **sheets(clipped=0.01), **distances(NIF_FACES, (1, 0))),
]


class TestFigure1:
    def test_all_hold_where_the_nif_bears_heat(self) -> None:
        assert set(measured(verdicts(fig1, HOT)).values()) == {HOLDS}

    def test_they_fail_where_the_nif_suffers_more(self) -> None:
        made = spoiled(
            HOT,
            "nif-128 faces",
            **(sheets(clipped=0.2, total_variation=0.9) | {"non_finite_t5_s0": 0.01}),
            **distances(NIF_FACES | {(2, 0): 99.0}, (1, 0)),
        )
        assert set(measured(verdicts(fig1, made)).values()) == {FAILS}

    def test_a_distance_that_does_not_see_the_nf_fall_apart_tells_nothing(self) -> None:
        made = spoiled(HOT, "nf faces", **distances(NF_FACES | {(2, 1): 19.0}, (2, 1)))
        assert verdicts(fig1, made)["rises_lite0_frechet"] == UNSETTLED

    def test_flows_that_still_learn_refute_nothing(self) -> None:
        made = spoiled(HOT, "nif-128 faces", **sheets(clipped=0.2), last_fifth_gain=50.0)
        assert verdicts(fig1, made)["space_of_images"] == UNSETTLED


class TestFigure3:
    MEASURES = [m | {"off_manifold_max": 1e-6} for m in HOT]

    def test_all_hold_for_clearer_and_nearer_samples(self) -> None:
        assert set(measured(verdicts(fig3, self.MEASURES)).values()) == {HOLDS}

    def test_they_fail_for_noisier_and_farther_samples_off_the_manifold(self) -> None:
        made = spoiled(
            self.MEASURES,
            "nif-128 faces",
            **(sheets(total_variation=0.9) | {"non_finite_t1_s0": 0.1}),
            **distances({(1, 0): 25.0, (1, 1): 18.0}, (1, 1)),
            off_manifold_max=1e-3,
        )
        assert set(measured(verdicts(fig3, made)).values()) == {FAILS}

    def test_a_blur_is_not_clearer_than_slight_noise(self) -> None:
        made = spoiled(self.MEASURES, "nif-128 faces", **sheets(total_variation=0.01))
        made = spoiled(made, "nf faces", **sheets(total_variation=0.12))
        assert verdicts(fig3, made)["clearer"] == FAILS


class TestFigure5:
    S = np.array([0, 0.5, 1, 1.5])
    PATHS = np.zeros((3, 4, *IMAGE), np.uint8)

    def measures(self, **changes: Any) -> Measures:
        made = {
            "deviations": self.S,
            "paths": self.PATHS,
            "path_latent_distance": 7 * self.S,
            "path_pixel_distance": np.array([0, 0.1, 0.15, 0.16]),
            "path_total_variation": np.array([0.1, 0.12, 0.2, 0.3]),
            "off_manifold_max": 1e-6,
        }
        return [told("nif-128 faces", **(made | changes))]

    def test_all_hold_on_a_path_away_from_the_manifold(self) -> None:
        assert set(verdicts(fig5, self.measures()).values()) == {HOLDS}

    def test_each_fails_alone(self) -> None:
        for key, changes in {
            "distorts": {"path_pixel_distance": np.array([0, 0.1, 0.15, 0.14])},
            "noisier": {"path_total_variation": np.array([0.3, 0.2, 0.2, 0.1])},
            "proportional": {"path_latent_distance": 7 * self.S**1.01},
            "on_manifold": {"off_manifold_max": 1e-3},
        }.items():
            found = verdicts(fig5, self.measures(**changes))
            assert [k for k, verdict in found.items() if verdict == FAILS] == [key]

    def test_a_set_in_celebas_place_refutes_nothing_of_the_paper(self) -> None:
        (made,) = self.measures(path_pixel_distance=np.array([0, 0.1, 0.15, 0.14]))
        made["config"]["dataset.name"] = "faces64"
        assert verdicts(fig5, [made])["distorts"] == UNSETTLED


NF_FASHION = {(0.3, 1): 30.0, (1, 1): 20.0}
FASHION = [
    told("nf fashion_mnist", **sheets(), **distances(NF_FASHION, (1, 1))),
    *(
        told(f"nif-{m} fashion_mnist", **sheets(), **distances({(1, 0): 12.0, (1, 1): 19.0}, (1, 0)))
        for m in (64, 128, 256, 512)
    ),
    told("nf fashion_mnist_3", **sheets(), **distances(NF_FASHION, (1, 1))),
    told("nif-64 fashion_mnist_3", **sheets(), **distances({(1, 0): 25.0, (1, 1): 24.0}, (1, 1))),
]


class TestFigure7:
    def test_all_hold_where_the_smallest_is_nearer(self) -> None:
        assert set(measured(verdicts(fig7, FASHION)).values()) == {HOLDS}

    def test_the_smallest_decides(self) -> None:
        farther = distances({(1, 0): 25.0, (1, 1): 24.0}, (1, 1))
        found = verdicts(fig7, spoiled(FASHION, "nif-256 fashion_mnist", **farther))
        assert found["small_lite0"] == HOLDS
        made = spoiled(FASHION, "nif-64 fashion_mnist", **farther)
        assert verdicts(fig7, made)["small_lite0"] == FAILS
        nearer = distances({(1, 0): 12.0, (1, 1): 19.0}, (1, 0))
        assert verdicts(fig7, spoiled(made, "nif-64 fashion_mnist_3", **nearer))["small_lite0"] == UNSETTLED

    def test_features_that_prefer_cold_samples_tell_nothing(self) -> None:
        made = spoiled(FASHION, "nf fashion_mnist", **distances(NF_FASHION | {(0.3, 1): 5.0}, (1, 1)))
        assert verdicts(fig7, made)["small_lite0"] == UNSETTLED


class TestFigure8:
    def measures(self, errors: tuple[float, ...] = (8, 6, 5, 4), round_trip: float = 1e-5) -> Measures:
        same = {
            "originals": np.zeros((10, *IMAGE), np.uint8),
            "reconstructed": np.zeros((10, *IMAGE), np.uint8),
            **dict.fromkeys(("train_reconstruction_mse", "posterior_mean_mse", "latent_residual"), 0.1),
            **{"reconstruction_lost": 0.0, "round_trip_max": round_trip, "nearest_error": 10 * round_trip**2},
        }
        cases = ["nf faces", *(f"nif-{m} faces" for m in (64, 128, 256, 512))]
        return [
            told(case, reconstruction_mse=error, **same)
            for case, error in zip(cases, (1.0, *errors), strict=True)
        ]

    def test_all_hold_for_exact_layers_and_errors_that_fall(self) -> None:
        assert set(verdicts(fig8, self.measures()).values()) == {HOLDS}

    def test_all_fail_for_layers_that_are_not_exact_and_errors_that_rise(self) -> None:
        assert set(verdicts(fig8, self.measures((4, 5, 6, 8), 0.01)).values()) == {FAILS}

    def test_one_rise_is_enough(self) -> None:
        found = verdicts(fig8, self.measures((8, 5, 6, 4)))
        assert found["every_size_helps"] == FAILS and found["size_matters"] == HOLDS

    def test_a_lost_reconstruction_leaves_errors_open(self) -> None:
        made = spoiled(self.measures(), "nif-64 faces", reconstruction_lost=0.1)
        assert verdicts(fig8, made)["size_matters"] == UNSETTLED


class TestFigure9:
    MEASURES = [
        told("nf cifar10", **sheets(), **distances({(0.3, 1): 30.0, (1, 1): 20.0}, (1, 1))),
        told("nif-128 cifar10", **sheets(), **distances({(1, 0): 28.0, (1, 1): 21.0}, (1, 1))),
    ]

    def test_all_hold_as_in_the_paper(self) -> None:
        assert set(measured(verdicts(fig9, self.MEASURES)).values()) == {HOLDS}

    def test_they_fail_where_the_manifold_is_better(self) -> None:
        better = distances({(1, 0): 15.0, (1, 1): 25.0}, (1, 0))
        found = verdicts(fig9, spoiled(self.MEASURES, "nif-128 cifar10", **better))
        assert {found[f"{name}_lite0"] for name in ("worse", "leaves", "reverts")} == {FAILS}


class TestDeep:
    MEASURES = [
        told("nif-128 faces", **sheets(diversity=0.1)),
        told("nif_deep faces", **sheets(diversity=0.2)),
    ]

    @pytest.mark.parametrize("module", [fig12, fig14])
    def test_all_hold_for_more_variation(self, module: Any) -> None:
        assert set(verdicts(module, self.MEASURES).values()) == {HOLDS}

    def test_they_fail_for_less(self) -> None:
        changes = {"diversity_t4_s0": 0.01, "non_finite_t4_s0": 0.05}
        found = verdicts(fig14, spoiled(self.MEASURES, "nif_deep faces", **changes))
        assert set(found.values()) == {FAILS}
