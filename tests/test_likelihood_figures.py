"""Claims on bits/dim and on latents, on measures made up so that the verdict is known."""

import math

import numpy as np
import pandas as pd
import pytest
from claimed import of_three_seeds

from flowrepro.figures.across_dimensions import bits, fig2, table2
from flowrepro.figures.across_dimensions.distances import DATASETS, MODELS
from flowrepro.figures.across_dimensions.likelihood import PAPER, set_name
from flowrepro.figures.claims import judge

PIXELS = {"fashion_mnist": 784, "cifar10": 3072, "faces": 12288}
# steps of the NIF: nf, diagonal, then 64 to 512
STAIRS = dict(zip(MODELS, (0.0, -0.004, -0.007, -0.010, -0.015, -0.02), strict=True))


def measured(model: str, dataset: str, seed: int = 0, above: float = 0.0, gain: float = 1e-4) -> dict:
    """A run whose bits/dim are the paper's NF's plus `above`, image by image with little noise of its own."""
    dim, latent = PIXELS[dataset], int(model.split("-")[1]) if "-" in model else 0
    images = np.random.default_rng(seed).normal(PAPER[dataset]["NF"], 0.3, 200) + above
    found = {
        "case": f"{model.lower()} {dataset}",
        "config": {"dataset.name": "faces64" if dataset == "faces" else dataset, "model.latent_dim": latent},
        **{"seed": seed, "state": "completed", "step": 6000, "source": "some images"},
        **{"dim": float(dim), "levels": 8.0, "padded_dim": float(dim)},
        **{"bits_of_images": images, "bits_per_dim": float(images.mean()), "bits_se": 0.02},
        "last_fifth_gain": gain * dim * math.log(2),
    }
    if model == "NF":
        found["as_nif_difference"] = 1e-8
    if latent:
        found["eq41_excess"] = latent / 2 * math.log2(2 * math.pi) / dim
    return found


def runs(stairs: dict[str, float], gain: float = 1e-4) -> list[dict]:
    seeds = {"fashion_mnist": 3}
    return [
        measured(model, dataset, seed, stairs[model] + 1e-3 * seed, gain)
        for dataset in DATASETS
        for seed in range(seeds.get(dataset, 1))
        for model in MODELS
    ]


def verdicts(claims, table: pd.DataFrame) -> dict[str, str]:
    judged = judge(claims, of_three_seeds(table), "cpu")
    return dict(zip(judged.key, judged.verdict, strict=True))


def test_differences_are_taken_image_by_image():
    table = table2.table(runs(STAIRS))
    row = table[(table.model == "NIF-512") & (table.dataset == "cifar10")].iloc[0]
    # the images' own spread, 0.02, is not in it
    assert row.against_nf == pytest.approx(-0.02) and row.against_nf_se < 1e-9
    assert row.above_diagonal == pytest.approx(-0.016)
    assert row.paper_against_nf == pytest.approx(1.070 - 1.072)
    assert table[table.model == "diagonal"].paper_bits_per_dim.isna().all()


def jittered(measures: list[dict]) -> list[dict]:
    """Each flow with a little noise of its own, so that standard errors are not zero."""
    for i, m in enumerate(measures):
        m["bits_of_images"] = m["bits_of_images"] + np.random.default_rng(i).normal(0, 1e-3, 200)
    return measures


def test_a_staircase_holds_and_its_reverse_does_not():
    right = verdicts(table2.CLAIMS, table2.table(jittered(runs(STAIRS))))
    assert set(right.values()) == {"holds"}, right
    reverse = {model: -3 * step for model, step in STAIRS.items()}
    wrong = verdicts(table2.CLAIMS, table2.table(jittered(runs(reverse))))
    for dataset in DATASETS:
        for key in ("similar", "diagonal", "manifold", "grows"):
            assert wrong[f"{key}_{dataset}"] == "does not hold", key
    # exact whatever was trained
    assert wrong["eq41"] == wrong["nf_is_a_nif"] == wrong["table2_has_the_right_constant"] == "holds"


def test_flows_that_still_learn_refute_nothing():
    reverse = {model: -3 * step for model, step in STAIRS.items()}
    found = verdicts(table2.CLAIMS, table2.table(jittered(runs(reverse, gain=0.05))))
    assert {found[f"{key}_cifar10"] for key in ("similar", "diagonal", "manifold", "grows")} == {
        "not settled"
    }


def test_another_constant_is_noticed():
    measures = runs(STAIRS)
    for m in measures:
        if "eq41_excess" in m:
            m["eq41_excess"] = 0.0
    found = verdicts(table2.CLAIMS, table2.table(jittered(measures)))
    assert found["eq41"] != "holds"


def test_a_stand_in_is_named():
    table = table2.table(runs(STAIRS))
    assert set_name(table, "faces") == "faces64, standing in for CelebA, 3 bits"
    assert set_name(table.assign(source="a part of it"), "cifar10") == "part of CIFAR-10, 3 bits"
    assert set_name(table.assign(images="CelebA"), "faces") == "CelebA, 3 bits"


def depths(fashion: dict[int, float], cifar: dict[int, float]) -> pd.DataFrame:
    found = []
    for dataset, values in (("fashion_mnist", fashion), ("cifar10", cifar)):
        for depth, value in values.items():
            m = measured("NF", dataset) | {"bits_per_dim": value, "levels": float(2**depth)}
            border = 784 / 1024 if dataset == "fashion_mnist" else 1
            found.append(m | {"bits_per_padded_dim": value * border})
    return bits.table(found)


def test_bit_depths_of_the_trial():
    cifar = {3: 1.13, 4: 1.55, 5: 1.97}
    found = verdicts(bits.CLAIMS, depths({3: 1.01, 4: 1.45, 5: 1.9}, cifar))
    assert set(found.values()) == {"holds"}, found
    # a small flow far above the paper's number excludes nothing
    found = verdicts(bits.CLAIMS, depths({3: 2.0, 4: 2.5, 5: 3.0}, cifar))
    assert found["fashion_mnist_3"] == found["fashion_mnist_4_padded"] == "does not hold"
    # one far below it at 3 bits speaks against 3 bits
    found = verdicts(bits.CLAIMS, depths({3: 1.01, 4: 1.45, 5: 1.9}, {3: 0.8, 4: 1.4, 5: 1.9}))
    assert found["cifar10_3"] == "not settled"


def latents(model: str, gain: float = 1e-4, **numbers) -> dict:
    """A run of which a fifth of the images are found by the neighbour and 30 % by the probe, plus what is said."""
    n, hits = 2000, np.random.default_rng(1).random(2000)
    defaults = {"silhouette_map": 0.1, "silhouette_map_shuffled": -0.05, "silhouette_map_noise": -0.05}
    shares = {"nearest_neighbour": 0.2, "linear_probe": 0.3} | {
        k: numbers.pop(k) for k in list(numbers) if k in ("nearest_neighbour", "linear_probe")
    }
    return {
        "case": f"{model} cifar10",
        "config": {"dataset.name": "cifar10"},
        **{"seed": 0, "state": "completed", "step": 6000, "map": "UMAP", "map_versions": "", "embedding": ""},
        **{"dim": 3072.0, "last_fifth_gain": gain * 3072 * math.log(2), "n_latents": float(n)},
        **{"nearest_neighbour_shuffled": 0.1, "linear_probe_shuffled": 0.1, "embedded_dim": 64.0},
        **{"nearest_hits": hits < shares["nearest_neighbour"], "probe_hits": hits < shares["linear_probe"]},
        **(defaults | shares | numbers),
    }  # fmt: skip


def judged(nf: dict, nif: dict) -> dict[str, str]:
    return verdicts(fig2.CLAIMS, fig2.table([nf, nif]))


def test_a_map_that_separates_more_is_believed_only_beside_noise():
    nf, nif = latents("nf"), latents("nif-64", silhouette_map=0.4, nearest_neighbour=0.25, linear_probe=0.4)
    assert set(judged(nf, nif).values()) == {"holds"}
    handed = judged(nf, nif | {"silhouette_map_noise": 0.2})
    assert handed["map_separates"] == "not settled"
    shuffled = judged(nf, nif | {"silhouette_map_shuffled": 0.3})
    assert shuffled["map_separates"] == shuffled["more_than_noise"] == "not settled"


def test_evidence_without_a_map_needs_more_than_chance():
    nf = latents("nf")
    little = judged(nf, latents("nif-64", silhouette_map=0.4, nearest_neighbour=0.2005))
    assert little["nearest_evidence"] == "not settled"
    less = judged(nf, latents("nif-64", silhouette_map=0.4, nearest_neighbour=0.15, linear_probe=0.25))
    assert less["nearest_evidence"] == less["probe_evidence"] == "does not hold"
    learning = judged(nf, latents("nif-64", gain=0.05, nearest_neighbour=0.15, linear_probe=0.25))
    assert learning["nearest_evidence"] == "not settled"
