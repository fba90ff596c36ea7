"""FlowPCA: scikit-learn's checks, PCA as its linear limit, exact inverses, dimensions, and what it warns of."""

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from flowrepro import FlowPCA
from flowrepro.analysis.dimension import intrinsic_dimension, noise_curve
from flowrepro.analysis.jacobian import jacobian
from flowrepro.config.schema import DenseConfig
from flowrepro.errors import Diverged
from flowrepro.figures.beyond.factors import SETS
from flowrepro.flow_pca import fitting, noise
from flowrepro.flow_pca.noise import noise_stds
from flowrepro.flows.activations import Asinh
from flowrepro.flows.models.vectors import dense
from flowrepro.training.principal import all_rows, one_row
from flowrepro.training.steps import steps

RNG = np.random.default_rng(0)
GAUSSIAN = RNG.normal(size=(80, 4)) @ RNG.normal(size=(4, 4)) + 3
QUICK = {"layers": 2, "max_iter": 20, "random_state": 0}
BOTH = pytest.mark.parametrize("components", ["principal", "local"])


# fits of few rows tell so, which has a test of its own
pytestmark = pytest.mark.filterwarnings("ignore:intrinsic_dimension_ is often too small")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=["principal", "local"])
def bent(request):
    """An estimator of a curve (t, t^2 + t), the points, and t."""
    t = np.random.default_rng(1).normal(size=400)
    x = np.stack([t, t**2 + t + 0.05 * np.random.default_rng(2).normal(size=400)], 1)
    pca = FlowPCA(components=request.param, layers=4, max_iter=600, random_state=0).fit(x)
    return pca, x, t


# data of these checks have more columns than rows, of which fit warns
@pytest.mark.filterwarnings("ignore:.*does not generalise")
@parametrize_with_checks([FlowPCA(layers=1, max_iter=2), FlowPCA(components="local", layers=1, max_iter=2)])
def test_scikit_learn_accepts_it(estimator, check):
    check(estimator)


# --- the linear limit ---------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("standardize", [False, True])
def test_without_hidden_layers_it_is_pca(components, standardize):
    ours = FlowPCA(components=components, layers=0, alpha=1e-9, standardize=standardize).fit(GAUSSIAN)
    x = StandardScaler(with_std=standardize).fit_transform(GAUSSIAN)
    theirs = PCA().fit(x)
    close = {"rtol": 0, "atol": 1e-6}
    np.testing.assert_allclose(ours.transform(GAUSSIAN), theirs.transform(x), **close)
    np.testing.assert_allclose(ours.explained_variance_ratio_, theirs.explained_variance_ratio_, **close)
    np.testing.assert_allclose(ours.explained_entropy_ratio_, theirs.explained_variance_ratio_, **close)
    np.testing.assert_allclose(ours.explained_variance_, theirs.explained_variance_ * 79 / 80, **close)
    loadings = ours.loadings(GAUSSIAN[:3])
    np.testing.assert_allclose(loadings, np.broadcast_to(theirs.components_, loadings.shape), **close)


def test_fewer_components_reconstruct_as_pca_does():
    ours, theirs = FlowPCA(2, layers=0, standardize=False).fit(GAUSSIAN), PCA(2).fit(GAUSSIAN)
    nearest = theirs.inverse_transform(theirs.transform(GAUSSIAN))
    np.testing.assert_allclose(ours.inverse_transform(ours.transform(GAUSSIAN)), nearest, atol=1e-6)
    np.testing.assert_allclose(
        ours.manifold_distance(GAUSSIAN), np.linalg.norm(GAUSSIAN - nearest, axis=1), atol=1e-6
    )


def test_its_density_is_that_of_the_gaussian():
    ours = FlowPCA(layers=0, alpha=1e-9).fit(GAUSSIAN)
    theirs = multivariate_normal(GAUSSIAN.mean(0), np.cov(GAUSSIAN.T, bias=True))
    np.testing.assert_allclose(ours.score_samples(GAUSSIAN), theirs.logpdf(GAUSSIAN), atol=1e-6)
    assert ours.score(GAUSSIAN) == pytest.approx(theirs.logpdf(GAUSSIAN).mean())


# --- a trained flow -------------------------------------------------------------------------------------------------


def test_a_curve_is_unrolled(bent):
    pca, x, t = bent
    assert not pca.linear_
    if pca.components == "principal":
        first = pca.transform(x)[:, :1]
        assert KNeighborsRegressor().fit(first[:300], t[:300]).score(first[300:], t[300:]) > 0.9
    assert pca.score(x) > FlowPCA(layers=0).fit(x).score(x) + 0.5
    assert pca.explained_variance_ratio_.sum() == pytest.approx(1)
    assert pca.explained_entropy_ratio_.sum() == pytest.approx(1)
    assert (np.diff(pca.explained_variance_) <= 0).all()


def test_all_components_lead_back(bent):
    pca, x, _ = bent
    if pca.components == "principal":
        np.testing.assert_allclose(pca.inverse_transform(pca.transform(x)), x, rtol=0, atol=1e-6)
    np.testing.assert_allclose(pca.manifold_distance(x), 0, atol=1e-6)


def test_fewer_components_lead_to_a_manifold_whose_points_stay(bent):
    pca, x, _ = bent
    if pca.components == "local":
        pytest.skip("local components have no inverse")
    line = FlowPCA(1, **QUICK).fit(x)
    near = line.inverse_transform(line.transform(x))
    assert line.manifold_distance(near).max() < 1e-6
    distance = np.linalg.norm((x - near) / line.scale_, axis=1)
    np.testing.assert_allclose(line.manifold_distance(x), distance, atol=1e-9)


@BOTH
def test_fewer_components_are_the_first_of_all(components):
    t = np.random.default_rng(6).normal(size=(60, 2))
    x = np.column_stack([t, t[:, 0] ** 2])
    keys = {**QUICK, "max_iter": 60, "components": components, "estimate_dimension": False}
    two, all_of_them = FlowPCA(2, **keys).fit(x), FlowPCA(**keys).fit(x)
    assert not two.linear_
    np.testing.assert_allclose(two.transform(x), all_of_them.transform(x)[:, :2], rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        two.explained_variance_ratio_, all_of_them.explained_variance_ratio_[:2], atol=1e-9
    )
    assert two.score(x) == all_of_them.score(x)


def test_a_row_gives_the_same_numbers_in_any_company(bent):
    pca, x, _ = bent
    for method in (pca.transform, pca.score_samples, pca.loadings, pca.manifold_distance):
        whole = method(x)
        assert np.array_equal(whole[::7], method(x[::7]))
        assert np.array_equal(whole[5:6], method(x[5:6]))


def test_loadings_are_derivatives(bent):
    pca, x, _ = bent
    if pca.components == "local":
        found = pca.loadings(x)
        np.testing.assert_allclose(
            found @ found.transpose(0, 2, 1), np.broadcast_to(np.eye(2), found.shape), atol=1e-9
        )
        return
    scores, step = pca.transform(x[:20]), 1e-5
    for i in range(2):
        moved = scores.copy()
        moved[:, i] += step
        rate = (pca.inverse_transform(moved) - x[:20]) / pca.scale_ / step
        np.testing.assert_allclose(pca.loadings(x[:20])[:, i], rate, rtol=1e-2, atol=1e-3)


def test_local_components_are_those_of_the_paper(bent):
    pca, x, _ = bent
    if pca.components == "principal":
        pytest.skip("of local components")
    point = torch.from_numpy((x[:1] - pca.mean_) / pca.scale_)
    u, s, vh = np.linalg.svd(jacobian(pca.flow_.latents, point)[0].numpy())
    expected = (u.T @ pca.flow_.latents(point)[0].numpy() / s)[::-1]
    np.testing.assert_allclose(np.abs(pca.transform(x[:1])[0]), np.abs(expected), atol=1e-9)
    with pytest.raises(AttributeError) as error:
        pca.inverse_transform(x)
    assert "have no inverse" in str(error.value.__cause__)


def test_samples_have_the_density_that_scores_tell(bent):
    pca, x, _ = bent
    drawn = pca.sample(4_000, random_state=0)
    assert drawn.shape == (4_000, 2) and np.array_equal(drawn, pca.sample(4_000, random_state=0))
    low, high = np.percentile(x, [20, 80], axis=0)
    share = ((drawn > low) & (drawn < high)).all(1).mean()
    sides = [np.linspace(a, b, 201)[:-1] + (b - a) / 400 for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*sides), -1).reshape(-1, 2)
    integral = np.exp(pca.score_samples(grid)).mean() * np.prod(high - low)
    # three standard deviations of a share of 4,000
    assert share == pytest.approx(integral, abs=0.024)


# --- the penalty ----------------------------------------------------------------------------------------------------


def flow_of(dim):
    config = DenseConfig("dense_asinh", layers=2, init="glorot")
    return dense(Asinh)(config, (dim,), 0, torch.Generator().manual_seed(0), torch.float64)


def test_the_penalty_is_hadamards_gap():
    flow, x = flow_of(3), torch.randn(5, 3, dtype=torch.float64)
    found = jacobian(flow.latents, x)
    z, dlogp, log_norms, half_squares = all_rows(flow, x)
    torch.testing.assert_close(dlogp, torch.linalg.slogdet(found)[1])
    torch.testing.assert_close(log_norms, found.norm(dim=2).log().sum(1))
    torch.testing.assert_close(half_squares, 0.5 * found.square().sum((1, 2)))
    assert (log_norms > dlogp).all()


def test_one_row_estimates_it_without_bias():
    flow, x = flow_of(3), torch.randn(1, 3, dtype=torch.float64)
    exact = all_rows(flow, x)
    many = one_row(flow, x.expand(30_000, -1), torch.Generator().manual_seed(0))
    for mine, theirs in zip(many[1:], exact[1:], strict=True):
        assert mine.mean().item() == pytest.approx(theirs.item(), rel=0.03, abs=0.03)


# --- dimensions -----------------------------------------------------------------------------------------------------


def test_dimensions_of_linear_subspaces():
    plane = RNG.normal(size=(500, 2)) @ RNG.normal(size=(2, 3))
    five = RNG.normal(size=(1_000, 5)) @ RNG.normal(size=(5, 20))
    assert FlowPCA(layers=0).fit(plane).intrinsic_dimension_ == 2
    found = FlowPCA(layers=0).fit(five)
    assert found.intrinsic_dimension_ == 5
    assert found.dimension_curve_["std"].shape == (len(found.dimension_curve_["variance"]), 20)


@pytest.mark.parametrize(("name", "seed"), [("sphere", 0), ("sphere", 1), ("swissroll", 2)])
def test_dimensions_of_manifolds_that_are_closed_or_rolled_up(name, seed):
    made = SETS[name](2_000, seed)
    x = torch.from_numpy((made.x - made.x.mean(0)) / made.x.std(0))
    found = noise_stds(x, 1e-3, 1_500, seed)
    slope = noise_curve(found.variances, found.stds)["slope"]
    assert intrinsic_dimension(slope) == made.dimension == 2
    assert (slope[:2] < 0.3).all()


def test_noise_of_columns_counts_as_dimension_where_it_is_wider_than_the_last_noise():
    x = np.random.default_rng(3).normal(size=(400, 3)) * [1, 0.1, 1e-3]
    assert FlowPCA(layers=0, standardize=False).fit(x).intrinsic_dimension_ == 2
    assert FlowPCA(layers=0, standardize=False, alpha=1e-6).fit(x).intrinsic_dimension_ == 3


def test_a_curve_that_breaks_off_tells_no_dimension(monkeypatch):
    def breaks_off(session):
        for stage in steps(session):
            if session.counters.step > 12:
                raise Diverged("diverged at step 13 (loss)")
            yield stage

    monkeypatch.setattr(noise, "steps", breaks_off)
    x = np.random.default_rng(4).normal(size=(40, 2))
    with pytest.warns(
        ConvergenceWarning, match=r"no intrinsic_dimension_: its flow diverged at step 13 \(loss\)"
    ):
        pca = FlowPCA(**QUICK).fit(x)
    assert pca.intrinsic_dimension_ is None and len(pca.dimension_curve_["variance"]) == 12


def test_the_dimension_is_read_off_rows_of_the_whole_table(monkeypatch):
    seen = []
    monkeypatch.setattr(noise, "local_stds", lambda flow, x: seen.append(x[:256]) or np.ones(2))
    t = torch.linspace(-1, 1, 2_000, dtype=torch.float64)
    noise_stds(torch.stack([t, t**2], 1), 1e-3, 1, 0)
    # the first rows of the table as it comes all lie at one end
    expected = [(t**2).std().item(), t.std().item()]
    assert seen[0].std(0).tolist() == pytest.approx(expected, rel=0.15)


def test_without_an_estimate_there_is_no_dimension():
    pca = FlowPCA(estimate_dimension=False, **QUICK).fit(GAUSSIAN)
    assert pca.intrinsic_dimension_ is None and pca.dimension_curve_ == {}


# --- columns as they come ---------------------------------------------------------------------------------------------


@BOTH
def test_constant_collinear_and_heavy_tailed_columns_of_mixed_scales(components):
    x = np.random.default_rng(0).standard_t(1.5, size=(120, 3))
    x = np.column_stack([1e6 * x[:, 0], x[:, 1], x[:, 1] + x[:, 2], np.full(120, 7.0), 1e-6 * x[:, 2]])
    pca = FlowPCA(2, components=components, **QUICK).fit(x)
    assert all(np.isfinite(v).all() for v in (pca.transform(x), pca.score_samples(x), pca.sample(20)))
    assert np.isfinite(pca.explained_variance_ratio_).all()


def test_names_of_columns_and_pandas_output():
    frame = pd.DataFrame(GAUSSIAN, columns=list("abcd"))
    pca = FlowPCA(2, **QUICK).set_output(transform="pandas").fit(frame)
    assert pca.transform(frame).columns.tolist() == ["flowpca0", "flowpca1"]
    with pytest.raises(ValueError, match="feature names"):
        pca.transform(frame[list("dcba")])


def test_pipelines_searches_and_pickles():
    search = GridSearchCV(
        make_pipeline(StandardScaler(), FlowPCA(2, **QUICK)), {"flowpca__alpha": [1e-4, 1e-2]}, cv=2
    ).fit(GAUSSIAN)
    best = search.best_estimator_
    again = pickle.loads(pickle.dumps(best))
    assert np.array_equal(again.transform(GAUSSIAN), best.transform(GAUSSIAN))


@BOTH
def test_seeds_repeat(components):
    one, other = (FlowPCA(components=components, **QUICK).fit(GAUSSIAN) for _ in range(2))
    assert np.array_equal(one.transform(GAUSSIAN), other.transform(GAUSSIAN))
    third = FlowPCA(components=components, **{**QUICK, "random_state": 1}).fit(GAUSSIAN)
    assert not np.array_equal(one.transform(GAUSSIAN), third.transform(GAUSSIAN))


# --- training -------------------------------------------------------------------------------------------------------


def test_a_warm_start_goes_on_from_the_flow(bent):
    pca, x, _ = bent
    more = copy.deepcopy(pca).set_params(warm_start=True, max_iter=3)
    before = more.score(x)
    more.fit(x)
    assert more.n_iter_ == 3
    # from scratch, three steps lead hardly beyond PCA
    assert abs(more.score(x) - before) < 0.2 < before - FlowPCA(layers=0).fit(x).score(x)


def test_a_warm_start_after_other_layers_begins_anew():
    pca = FlowPCA(layers=0, warm_start=True).fit(GAUSSIAN).set_params(**QUICK)
    assert np.isfinite(pca.fit(GAUSSIAN).transform(GAUSSIAN)).all()


def test_where_layers_do_not_help_held_out_rows_it_is_pca():
    pca = FlowPCA(2, **QUICK).fit(GAUSSIAN)
    assert (
        pca.linear_
        and len(list(pca.flow_.chain)) == 2
        and pca.n_iter_ == 20
        and pca.intrinsic_dimension_ == 4
    )


def test_training_stops_where_held_out_rows_gain_no_more():
    x = np.random.default_rng(0).normal(size=(40, 8))
    few = FlowPCA(layers=2, max_iter=400, n_iter_no_change=2, random_state=0).fit(x)
    assert few.n_iter_ < 400 and len(few.held_out_) < 40
    kept = few.flow_.log_prob(fitting.split(few._scaled(x), 0.1, seed_of(0))[1]).mean()
    assert kept.item() >= few.held_out_.max() - 1e-9


def seed_of(random_state):
    return int(np.random.RandomState(random_state).randint(2**31 - 1))


def test_the_time_budget_stops_it_with_a_warning():
    with pytest.warns(ConvergenceWarning) as told:
        pca = FlowPCA(max_seconds=0, **QUICK).fit(GAUSSIAN)
    assert [str(warning.message) for warning in told] == [
        "stopped by max_seconds=0 at step 1; the best flow so far is kept",
        "no intrinsic_dimension_: its flow stopped by max_seconds=0 at step 1",
    ]
    assert {warning.filename for warning in told} == {__file__}
    assert pca.n_iter_ == 1 and pca.intrinsic_dimension_ is None


def test_a_flow_that_diverges_keeps_its_best():
    with pytest.warns(ConvergenceWarning, match="diverged at step 1 .*best flow so far is kept"):
        pca = FlowPCA(**{**QUICK, "learning_rate": 1e300}).fit(GAUSSIAN)
    assert np.isfinite(pca.transform(GAUSSIAN)).all()


def test_verbose_prints_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    FlowPCA(verbose=True, **QUICK).fit(GAUSSIAN)
    told = capsys.readouterr().out
    assert "step 20/20  held-out log-likelihood" in told
    assert "step 15/15 of the dimension  variance of the noise 0.0001" in told
    assert not list(tmp_path.iterdir())


def test_wide_tables_do_not_hang_on_several_threads():
    # with LU decompositions of batches on two threads it does, from 150 columns on
    wide = RNG.normal(size=(300, 160))
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        pca = FlowPCA(layers=1, max_iter=1, estimate_dimension=False).fit(wide)
        assert pca.loadings(wide).shape == (300, 160, 160) and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_components_beyond_those_of_fit_are_warned_of_and_must_be_finite():
    pca = FlowPCA(1, layers=0).fit(GAUSSIAN)
    inside = pca.transform(GAUSSIAN)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pca.inverse_transform(inside)
    with pytest.warns(UserWarning, match="2 rows lie beyond the range"):
        pca.inverse_transform(np.concatenate([inside, 2 * inside.max(0, keepdims=True), 9 * inside[:1]]))
    with pytest.raises(ValueError, match="NaN"):
        pca.inverse_transform([[np.nan]])


def test_few_rows_for_a_dimension_are_warned_of():
    few = "intrinsic_dimension_ is often too small with fewer than 1000 rows, and these are 80"
    with pytest.warns(UserWarning, match=few) as told:
        FlowPCA(**QUICK).fit(GAUSSIAN)
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FlowPCA(estimate_dimension=False, **QUICK).fit(GAUSSIAN)
        FlowPCA(layers=0).fit(GAUSSIAN)


def test_few_rows_stay_linear_and_are_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(FlowPCA().fit(GAUSSIAN[:10]).flow_.chain)) == 2
    with pytest.warns(UserWarning, match="4 rows of 4 columns"):
        FlowPCA().fit(GAUSSIAN[:4])


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"n_components": 0.95}, "n_components=0.95 must be an int from 1 to 4"),
        ({"n_components": 5}, "n_components=5 must be an int from 1 to 4"),
        ({"components": "global"}, "components='global' is not one of 'principal', 'local'"),
        ({"alpha": 0}, "alpha=0 must be a positive number"),
        ({"layers": 1.5}, "layers=1.5 must be an int of at least 0"),
        ({"validation_fraction": 1}, r"validation_fraction=1 must lie in \[0, 1\)"),
    ],
)
def test_wrong_parameters_are_told(keys, told):
    with pytest.raises(ValueError, match=told):
        FlowPCA(**keys).fit(GAUSSIAN)


def test_components_of_another_number_are_refused():
    with pytest.raises(ValueError, match="expected 2 components in each row, not shape"):
        FlowPCA(2, layers=0).fit(GAUSSIAN).inverse_transform(GAUSSIAN)
