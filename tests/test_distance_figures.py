"""Figures of distances: their verdicts on made-up distances, and what must keep them from a verdict."""

import numpy as np
import pandas as pd
import pytest
from claimed import of_three_seeds
from matplotlib.figure import Figure

from flowrepro.figures.across_dimensions import distances, fig6, fig10, gain, table1
from flowrepro.figures.across_dimensions.dots import _draw_printed
from flowrepro.figures.claims import judge

MODELS = ["nf", "diagonal", "nif-64", "nif-128", "nif-256", "nif-512"]
FLOOR, NOISY = 10.0, 60.0


def run(case: str, values: dict[tuple[float, float], float], **changed) -> dict:
    """What a figure gets of a run whose samples at (t, s) have these distances, of both kinds and on both splits."""
    best = min(values, key=lambda at: values[at])
    found = [
        {
            "of": of, "network": network, "kind": kind, "split": split, "temperature": t, "deviation": s,
            "tuned": of == "samples" and (t, s) == best, "value": value, "low": value - 1, "high": value + 1,
            "floor": FLOOR, "total_variation": 0.1 + s, "n_real": 100, "n_fake": 100, "left_out": 0,
            "label": f"{kind} {network}",
        }
        for network in ("lite0", "classifier")
        for kind in ("frechet", "kernel")
        for split in ("train", "test")
        for of, t, s, value in [
            *(("samples", t, s, value) for (t, s), value in values.items()),
            ("real", np.nan, np.nan, FLOOR),
            ("noisy real", np.nan, np.nan, changed.get("noisy", NOISY)),
        ]
    ]  # fmt: skip
    arrays = {f"distances_{name}": np.array([row[name] for row in found]) for name in found[0]}
    if "left_out" in changed:
        arrays["distances_left_out"][:] = changed["left_out"]
    shared = {
        "distances_dim": 1 / np.log(2),
        "distances_source": "made up, 16 grey levels",
        "distances_real_total_variation": 0.1,
    }
    told = {
        "seed": 0,
        "state": "completed",
        "step": 9,
        "last_fifth_gain": changed.get("gain", 0.001),
        "config": {},
    }
    return {"case": case, **told, **shared, **arrays}


def runs(dataset: str, nf: dict[float, float], nif: dict[float, float], **changed) -> list[dict]:
    """The NF by temperature, NIFs of all sizes by s; the diagonal is the NF; at 3 bits they are alike, or as `at_3_bits`."""
    of_nf, of_nif = {(t, 1.0): v for t, v in nf.items()}, {(1.0, s): v for s, v in nif.items()}
    there = {(1.0, s): v for s, v in changed.get("at_3_bits", nif).items()}
    return [
        *(run(f"{m} {dataset}", of_nif if m.startswith("nif") else of_nf, **changed) for m in MODELS),
        run("nf fashion_mnist_3", of_nf, **changed),
        run("nif-64 fashion_mnist_3", there, **changed),
    ]


def judged(figure, measures) -> pd.DataFrame:
    return judge(figure.CLAIMS, of_three_seeds(figure.table(measures)), "cpu").set_index("key")


def verdicts(figure, measures) -> dict[str, str]:
    return judged(figure, measures).verdict.to_dict()


NF, NIF = {0.3: 300.0, 0.7: 190.0, 1.0: 200.0}, {0.0: 120.0, 0.5: 100.0, 1.0: 210.0}


def test_table_1_compares_the_chosen_s_with_the_nf_as_it_is_and_with_its_chosen_t():
    found = verdicts(table1, runs("fashion_mnist", NF, NIF))
    assert found["nif_fashion_mnist_lite0"] == found["tuned_nf_fashion_mnist_lite0"] == "holds"
    found = verdicts(table1, runs("fashion_mnist", NF | {0.7: 101.0}, NIF))
    assert found["nif_fashion_mnist_lite0"] == "holds"
    assert found["tuned_nf_fashion_mnist_lite0"] == "does not hold"
    assert found["nif_fashion_mnist_inception"] == "not measured at this scale"


def test_on_cifar_10_it_is_enough_to_match():
    found = verdicts(table1, runs("cifar10", NF, NIF | {0.5: 205.0, 0.0: 400.0}))
    assert found["nif_cifar10_lite0"] == "holds"
    assert (
        verdicts(table1, runs("cifar10", NF, {0.0: 400.0, 1.0: 230.0}))["nif_cifar10_lite0"]
        == "does not hold"
    )


@pytest.mark.parametrize(
    ("changed", "nf"),
    [({"left_out": 1}, NF), ({"noisy": FLOOR + 1}, NF), ({}, NF | {0.3: 100.0})],
    ids=["samples lost", "noise not seen", "cold samples count as better"],
)
def test_what_cannot_tell_settles_nothing(changed, nf):
    assert (
        verdicts(table1, runs("fashion_mnist", nf, NIF, **changed))["nif_fashion_mnist_lite0"]
        == "not settled"
    )


def test_a_refutation_wants_flows_that_have_settled():
    worse = {0.0: 300.0, 1.0: 250.0}
    key = "nif_fashion_mnist_classifier"
    assert verdicts(table1, runs("fashion_mnist", NF, worse))[key] == "does not hold"
    assert verdicts(table1, runs("fashion_mnist", NF, worse, gain=0.1))[key] == "not settled"
    assert verdicts(table1, runs("fashion_mnist", NF, NIF, gain=0.1))[key] == "holds"


def test_a_refutation_wants_the_other_bit_depth_to_agree_since_the_paper_leaves_it_open():
    worse, key = {0.0: 300.0, 1.0: 250.0}, "nif_fashion_mnist_classifier"
    assert verdicts(table1, runs("fashion_mnist", NF, worse, at_3_bits=NIF))[key] == "not settled"
    assert verdicts(table1, runs("fashion_mnist", NF, worse))[key] == "does not hold"
    assert verdicts(table1, runs("fashion_mnist", NF, NIF, at_3_bits=worse))[key] == "holds"
    # of CIFAR-10 it is known
    assert verdicts(table1, runs("cifar10", NF, worse, at_3_bits=NIF))["nif_cifar10_lite0"] == "does not hold"


def test_papers_numbers_stand_beside_ours():
    table = table1.table(runs("faces", NF, NIF))
    assert table[(table.model == "NF") & (table.dataset == "faces")].paper_fid.unique() == [63.07]
    assert table[table.model == "diagonal"].paper_fid.isna().all()
    assert {c.paper_value for c in table1.CLAIMS if c.key.startswith("nif_")} == {"0.59", "1.02", "0.57"}


def test_figure_6_wants_a_minimum_inside():
    inside = verdicts(fig6, runs("faces", NF, NIF))
    assert inside["deviation_helps_faces_lite0"] == inside["best_inside_faces_lite0"] == "holds"
    at_zero = verdicts(fig6, runs("faces", NF, NIF | {0.0: 90.0}))
    assert at_zero["deviation_helps_faces_lite0"] == at_zero["best_inside_faces_lite0"] == "does not hold"


def test_figure_10_wants_a_fall_down_to_the_nf():
    falling = verdicts(fig10, runs("cifar10", NF, {0.0: 400.0, 0.5: 300.0, 1.0: 205.0, 1.2: 500.0}))
    assert {v for k, v in falling.items() if "inception" not in k} == {"holds"}
    rising = verdicts(fig10, runs("cifar10", NF, {0.0: 100.0, 0.5: 150.0, 1.0: 300.0}))
    assert {v for k, v in rising.items() if "inception" not in k} == {"does not hold"}


def test_the_share_of_the_diagonal_in_the_gain():
    measures = runs("fashion_mnist", NF, NIF)
    # the diagonal gains 75 of 100
    measures[1] = run("diagonal fashion_mnist", {(0.7, 1.0): 125.0, (1.0, 1.0): 140.0})
    claims = judged(gain, measures)
    assert claims.our_value["share_of_diagonal_fashion_mnist_lite0"] == pytest.approx(0.75)
    assert claims.verdict["share_of_diagonal_fashion_mnist_lite0"] == "does not hold"
    assert claims.verdict["over_diagonal_fashion_mnist_lite0"] == "holds"
    assert claims.verdict["untuned_fashion_mnist_lite0"] == "holds"
    assert claims.our_value["cleaner"] == pytest.approx(0.1 / 1.1)


def test_a_summary_of_a_stored_table_is_the_same(tmp_path):
    frame = distances.rows(runs("faces", NF, NIF))
    frame.to_csv(tmp_path / "table.csv", index=False)
    stored = pd.read_csv(tmp_path / "table.csv")
    pd.testing.assert_frame_equal(distances.summary(frame), distances.summary(stored))


def test_the_papers_fids_are_drawn_only_beside_fids_of_its_own_images():
    def drawn(network, source):
        axis = Figure().subplots()
        rows = {"network": network, "source": source, "dataset": "cifar10", "model": ["NF", "NIF-64"]}
        _draw_printed(axis, pd.DataFrame(rows))
        return {line.get_label(): line.get_ydata()[0] for line in axis.lines}

    assert drawn("inception", "CIFAR-10") == {"paper: NF, 78.58": 78.58, "paper: NIF-64, 80.15": 80.15}
    assert drawn("lite0", "CIFAR-10") == drawn("inception", "faces64, a stand-in") == {}
