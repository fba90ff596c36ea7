"""Pictures of single runs: samples beside the data, every dimension shown, nothing upon the curves."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from flowrepro.pictures import runs, vectors
from flowrepro.pictures.style import save


def points(dim, n=400, seed=0):
    return np.random.default_rng(seed).normal(size=(n, dim)) * np.arange(1, dim + 1)


def titled(figure):
    return {a.get_title(loc="left"): a for a in figure.axes if a.get_title(loc="left")}


@pytest.mark.parametrize("dim", [2, 3, 4, 5, 8, 12, 13, 40])
def test_every_dimension_is_shown_or_the_picture_says_which(dim):
    shown = {i for pair in vectors.pairs(dim) for i in pair}
    assert shown == set(range(min(dim, vectors.MOST))) and len(vectors.pairs(dim)) <= 6
    figure = vectors.samples_beside(points(dim), points(dim, seed=1), label="a run")
    assert (f"the first {vectors.MOST} of {dim} dimensions" in figure.get_supxlabel()) == (dim > vectors.MOST)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_samples_stand_beside_the_data_on_the_same_axes(dim):
    data, samples = points(dim), 3 * points(dim, seed=1)
    figure = vectors.samples_beside(
        data, samples, label="a run", columns=[f"cost in ${i}" for i in range(dim)]
    )
    above, below = titled(figure)["held-out data"], titled(figure)["samples"]
    assert above is not below and above.get_xlim() == below.get_xlim()
    assert dim == 1 or above.get_ylim() == below.get_ylim()
    assert above.get_xlabel() == r"cost in \$0"
    if dim > 1:
        drawn = [a.collections[0].get_offsets() for a in (above, below)]
        assert np.allclose(drawn[0], data[:, :2]) and np.allclose(drawn[1], samples[:, :2])


def test_components_are_named_with_the_shares_that_pca_gives():
    x = points(3, n=20_000)
    variances = np.linalg.eigvalsh(np.cov(x.T))[::-1]
    names = vectors.shares(np.tile(np.sqrt(variances), (7, 1)), 3)
    told = [float(name.split("(")[1].split(" %")[0]) for name in names]
    assert np.allclose(told, 100 * variances / variances.sum(), rtol=0.05)
    assert vectors.shares(np.ones((5, 2)), 784) == ["component 1", "component 2"], "the rest is not known"


def test_components_without_true_factors_are_drawn_in_pairs():
    figure = vectors.component_pairs(points(5), vectors.shares(np.ones((4, 5)), 5), label="a run")
    assert [a.get_xlabel().split(" (")[0] for a in figure.axes] == [f"component {i}" for i in (1, 3, 4)]


def history(n):
    step = np.arange(n) * 100
    score = -1 / (1 + step)
    return pd.DataFrame({"step": step, "train_log_prob": score, "val_log_prob": score - 0.1})


def test_the_legend_is_off_the_curves_and_short_curves_have_markers():
    for n, marked in ((5, True), (41, False)):
        figure = runs.training_curves(history(n), best_step=100, label="a run")
        FigureCanvasAgg(figure).draw()
        legend = figure.legends[0].get_window_extent()
        assert not legend.overlaps(figure.axes[0].get_window_extent())
        assert 0 <= legend.x0 and legend.x1 <= figure.bbox.width
        assert (figure.axes[0].lines[0].get_marker() == "o") == marked


def test_titles_of_sheets_are_not_cut():
    images = np.zeros((8, 4, 4, 1), dtype=np.uint8)
    title = "temperature 0.7, 123 not finite or out of range"
    figure = runs.sheets({title: images, "held-out data": images}, label="a run")
    FigureCanvasAgg(figure).draw()
    for axis in figure.axes:
        extent = axis.title.get_window_extent()
        assert 0 <= extent.x0 and extent.x1 <= figure.bbox.width and extent.y1 <= figure.bbox.height
    assert figure.axes[0].get_title().replace("\n", " ") == title


def test_large_numbers_are_told_at_the_ticks_and_wide_ranges_have_a_logarithmic_axis():
    figure = vectors.component_pairs(1e6 * points(4), [f"component {i}" for i in range(4)], label="a run")
    FigureCanvasAgg(figure).draw()
    for axis in figure.axes:
        assert not axis.xaxis.get_offset_text().get_text() and not axis.yaxis.get_offset_text().get_text()
        ends = [label.get_window_extent() for label in axis.get_xticklabels()]
        assert all(left.x1 < right.x0 for left, right in zip(ends, ends[1:], strict=False))
    layers = pd.DataFrame(
        {"layer": ["0.Center", "1.Dense"], "mean_dlogp": [0.0, -3.0], "variance": [5e7, 1.0]}
    )
    assert runs.layers_trace(layers, "a run").axes[1].get_xscale() == "log"
    assert runs.layers_trace(layers.assign(variance=[2.0, 1.0]), "a run").axes[1].get_xscale() == "linear"


def test_few_records_are_all_in_view():
    records = history(3).assign(
        val_log_prob=[-900.0, -500.0, -490.0], train_log_prob=[np.nan, -600.0, -480.0]
    )
    for figure, first in (
        (runs.training_curves(records, 200, "a run"), -900.0),
        (runs.bits_curves(records, 10, 200, "a run"), 900 / (10 * np.log(2))),
    ):
        low, high = figure.axes[0].get_ylim()
        assert low < first < high


def test_pictures_of_images_keep_their_colours(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (64, 8, 8, 3), dtype=np.uint8)
    figure = runs.sheets({"held-out data": images}, label="a run")
    save(figure, tmp_path / "all.png", all_colours=True)
    drawn = np.asarray(Image.open(tmp_path / "all.png").convert("RGB")).reshape(-1, 3)
    there = {tuple(pixel) for pixel in drawn.tolist()}
    assert np.mean([tuple(pixel) in there for pixel in images.reshape(-1, 3).tolist()]) > 0.9
