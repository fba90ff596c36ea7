"""FlowPCA: the components of a normalizing flow as a scikit-learn estimator (linear_systems Sec. 4)."""

import warnings
from numbers import Integral
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from flowrepro.analysis.dimension import intrinsic_dimension, noise_curve
from flowrepro.device import one_thread
from flowrepro.flow_pca import readings
from flowrepro.flow_pca.fitting import Settings, Trained, linear_flow, split, trained_flow, turn
from flowrepro.flow_pca.noise import noise_stds

Array = NDArray[np.float64]
FEW_ROWS = 20
# with fewer, the flow that the dimension is read off learns the rows by heart: five dimensions of 20 need 1,000 rows, two
# of three 500
ROWS_FOR_DIMENSION = 1000
# of the flow that the dimension is read off, as a share of max_iter
NOISE_STEPS = 0.75
# elements of the rows that explained ratios are read from
READ = 200_000
# share of the range of a component by which one may lie outside without a warning
BEYOND = 0.05


def _has_inverse(estimator: "FlowPCA") -> bool:
    if estimator.components == "local":
        raise AttributeError(
            "local components have no inverse: different points can have the same ones; "
            "use components='principal'"
        )
    return True


class FlowPCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Nonlinear principal component analysis by a normalizing flow.

    A normalizing flow is an invertible map of rows to as many independent standard normal numbers, their latents,
    trained by maximum likelihood. Where PCA whitens the data by one matrix, the flow whitens them differently at each
    point: the singular value decomposition of its Jacobian ``J = U S V^T`` has the local principal directions in ``V``
    and the local standard deviations in ``1 / S`` [1]_. So there is a density, samples, and components that follow a
    curved manifold. Without hidden layers, or where held-out rows are no likelier with them, it is PCA (`linear_`).

    Outliers are the rows of lowest `score_samples`. With the defaults, fit takes 10 to 30 s on one core for a few columns,
    nearly half of it for the dimension; rows hardly add to that, as each step takes 256 of them. Density and samples are as
    good as the flow: where `held_out_` still rises at its end, a larger ``max_iter`` gives a better one.

    Parameters
    ----------
    n_components : int, default=None
        Number of components kept, those of largest standard deviation; all of them if None. It does not change the
        training: the first two of all are those of ``n_components=2``.
    components : {"principal", "local"}, default="principal"
        The axes of a flow trained by likelihood alone are arbitrary: any rotation of its latents is as likely.

        - ``"principal"`` trains with a penalty that makes the axes of the latents orthogonal in the data [2]_. They are
          then the same at all points: coordinates along curves, with an inverse. Their scale tells how far the data reach
          along them: each is a latent, standard normal if the flow fits, times its typical standard deviation.
        - ``"local"`` trains by likelihood and gives the components of [1]_, ``S^-1 U^T f(x)`` with the decomposition at
          each point. They have no inverse, can fold back along a manifold, and their order and signs can change from
          point to point.

        For a flow without hidden layers both are the scores of PCA.
    alpha : float, default=1e-3
        Weight of the penalty on the squared Jacobian (Tikhonov), which acts as noise of variance ``alpha`` on the
        standardised data. Collinear and constant columns need it: in density and samples they have this noise, not none.
        Larger values smooth the manifold: 1e-4 to 1e-1 are worth a try. The 5e-5 of [1]_ needs more steps.
    layers : int, default=6
        Hidden layers of the flow, each a square matrix and an inverse hyperbolic sine. 0 is PCA, in closed form.
    max_iter : int, default=2000
        Optimizer steps, of up to 256 rows each. ``alpha`` and the learning rate fall over all of them, so that fewer
        give a coarser flow; the dimension takes three quarters as many.
    learning_rate : float, default=0.02
        Step size of Adam.
    validation_fraction : float, default=0.1
        Part of the rows held out, by whose likelihood the best weights are chosen; 0 takes the training rows.
    n_iter_no_change : int, default=15
        Stop after so many of 40 validations without an improvement.
    max_seconds : float, default=300
        Stop each of the two trainings, of the components and of the dimension, after this time, with a warning; None
        for no limit.
    standardize : bool, default=True
        Divide columns by their standard deviation first. Components and loadings are in these units.
    warm_start : bool, default=False
        Go on from the flow of the previous call to fit, with its standardisation. The dimension starts anew.
    estimate_dimension : bool, default=True
        Whether to estimate `intrinsic_dimension_`, which takes about as long as the rest of fit. Components and
        density do not depend on it: False in a grid search.
    verbose : bool, default=False
        Print the held-out likelihood during training, then the noise of the dimension.
    random_state : int, RandomState instance or None, default=None
        Source of the split, the initial weights and the order of rows. An int gives the same result every time,
        unless `max_seconds` stops it.

    Attributes
    ----------
    explained_variance_ratio_ : ndarray of shape (n_components,)
        How much of the variance of the rows of fit their nearest points on the manifold regain with each further component
        (of local components: with all others zero at the row). It answers how well few components reproduce the rows. It
        need not descend, since components are ordered by `explained_variance_` (with heavy tails it rarely does), and
        can be negative where the flow fits badly.
    explained_entropy_ratio_ : ndarray of shape (n_components,)
        `explained_variance_` of each component over the sum of all. It answers how long each axis is, measured along its
        curve: rolling a sheet up changes the ratio above, not this one.
    explained_variance_ : ndarray of shape (n_components,)
        The square of the geometric mean, over rows, of a component's local standard deviation (its entropy power). Without
        hidden layers that of PCA; else near the variance of the column of `transform`, not equal to it.
    intrinsic_dimension_ : int or None
        How many local standard deviations stay where noise is added to the data and its variance falls to ``alpha / 10``
        [3]_: the slopes below 0.5 of `dimension_curve_`, which come from a second flow, of couplings. What varies by more
        than about a third of ``alpha`` counts, be it noise, and a slope near 0.5 is a narrow decision: a larger ``alpha``
        leaves noise out. Much fewer steps than the default ``max_iter`` give too large a number, fewer than 1,000 rows often
        too small a one, and ``layers=0`` that of a linear subspace. None without `estimate_dimension`, or where a warning
        says that training broke off.
    dimension_curve_ : dict of ndarrays
        What it is read from: the ``variance`` of the noise of shape (m,), ``std`` of shape (m, n_features) with the local
        standard deviations, and the ``slope`` of shape (n_features,) of their logarithm over the last decade: 1 for
        noise, 0 for data. Empty without `estimate_dimension`.
    held_out_ : ndarray
        Log-likelihood per held-out row at each validation, in nats, of standardised data.
    n_iter_ : int
        Steps taken.
    linear_ : bool
        Whether this is PCA: no hidden layers, fewer than 20 rows, or held-out rows no likelier with hidden layers.
    flow_ : flowrepro.flows.core.Flow
        The flow, on standardised data.
    mean_, scale_ : ndarray of shape (n_features,)
        What is subtracted from columns, and what they are divided by.
    n_components_, n_features_in_ : int
        Numbers of components and of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the columns, if they have any.

    References
    ----------
    .. [1] Feinman & Parthasarathy, "A Linear Systems Theory of Normalizing Flows", 2020.
    .. [2] Cunningham, Cobb & Jha, "Principal Component Flows", ICML 2022.
    .. [3] Horvat & Pfister, "Intrinsic dimensionality estimation using Normalizing Flows", NeurIPS 2022.

    Examples
    --------
    A curve in two dimensions has one nonlinear component:

    >>> import numpy as np
    >>> from flowrepro import FlowPCA
    >>> t = np.random.default_rng(0).normal(size=1000)
    >>> X = np.column_stack([t, t**2 + t])
    >>> pca = FlowPCA(n_components=1, layers=3, max_iter=300, random_state=0).fit(X)
    >>> T = pca.transform(X)
    >>> T.shape, pca.inverse_transform(T).shape, pca.loadings(X).shape
    ((1000, 1), (1000, 2), (1000, 1, 2))
    >>> pca.sample(10).shape, pca.score_samples(X).shape
    ((10, 2), (1000,))
    >>> pca.score(X) > FlowPCA(layers=0).fit(X).score(X)    # than the Gaussian of PCA
    True
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        components: str = "principal",
        alpha: float = 1e-3,
        layers: int = 6,
        max_iter: int = 2000,
        learning_rate: float = 0.02,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 15,
        max_seconds: float | None = 300,
        standardize: bool = True,
        warm_start: bool = False,
        estimate_dimension: bool = True,
        verbose: bool = False,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.components = components
        self.alpha = alpha
        self.layers = layers
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.max_seconds = max_seconds
        self.standardize = standardize
        self.warm_start = warm_start
        self.estimate_dimension = estimate_dimension
        self.verbose = verbose
        self.random_state = random_state

    @one_thread()
    def fit(self, X: Any, y: None = None) -> Self:
        """Train the flow and read its components.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            At least 2 rows; with fewer than 20 the flow is left linear.
        y : None
            Ignored.

        Returns
        -------
        FlowPCA
            The fitted estimator.

        Raises
        ------
        ValueError
            A parameter is out of range, or X is not a table of finite numbers.
        """
        resumed = self.warm_start and hasattr(self, "flow_")
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2, reset=not resumed)
        self._check_parameters(X.shape[1])
        self.n_components_ = X.shape[1] if self.n_components is None else self.n_components
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        if not resumed:
            scaler = StandardScaler(with_std=self.standardize).fit(X)
            self.mean_ = scaler.mean_
            self.scale_ = np.ones(X.shape[1]) if scaler.scale_ is None else scaler.scale_
        x = self._scaled(X)
        self._range = x.amin(0), x.amax(0)
        found = self._trained(x, seed, resumed)
        self.flow_, self.n_iter_ = found.flow, found.taken
        self.linear_ = found.linear
        self.held_out_ = np.array(found.held_out)
        self._estimate_dimension(x, seed)
        self._read(x, seed)
        if self.components == "principal":
            components = self._principal(x)
            self._component_range = components.min(0), components.max(0)
        self._warn(X.shape)
        return self

    def transform(self, X: Any) -> Array:
        """The components of each row, (n_samples, n_components), in units of standardised columns.

        Each row gives the same numbers in any company.
        """
        x = self._checked(X)
        if self.components == "local":
            return readings.local_components(self.flow_, x, self.n_components_).values.numpy()
        return self._principal(x)

    @available_if(_has_inverse)
    def inverse_transform(self, T: Any) -> Array:
        """The points (n_samples, n_features) with these components, in the units of the data.

        With all components this undoes `transform`. With fewer, all others are zero: the points lie on the learned
        manifold, those of transformed rows next to the rows (`manifold_distance`), and no further outside the range of
        each column of fit than that range. To move a row and keep what fewer components drop, fit all of them. Where
        components lie outside the range of those of fit, the flow has seen nothing: a warning says so.
        """
        check_is_fitted(self)
        T = check_array(T, dtype=np.float64, ensure_min_samples=0)
        if T.shape[1] != self.n_components_:
            raise ValueError(f"expected {self.n_components_} components in each row, not shape {T.shape}")
        low, high = self._component_range
        beyond = BEYOND * (high - low)
        if far := int(((low - beyond > T) | (high + beyond < T)).any(1).sum()):
            warnings.warn(
                f"{far} rows lie beyond the range of the components of the rows of fit", stacklevel=2
            )
        latents = np.zeros((len(T), self.n_features_in_))
        latents[:, : self.n_components_] = T / np.sqrt(self.explained_variance_)
        x = readings.by_row(self.flow_.chain.inverse, torch.from_numpy(latents))
        if self.n_components_ < self.n_features_in_:
            x = self._inside(x)
        return x.numpy() * self.scale_ + self.mean_

    def manifold_distance(self, X: Any) -> Array:
        """Distances (n_samples,) of rows to their point on the learned manifold, in units of standardised columns."""
        x = self._checked(X)
        return (x - self._nearest(x, [self.n_components_])[0]).norm(dim=1).numpy()

    def score_samples(self, X: Any) -> Array:
        """Log-density of each row, (n_samples,), in nats, in the units of the data."""
        x = self._checked(X)
        return readings.by_row(self.flow_.log_prob, x).numpy() - np.log(self.scale_).sum()

    def score(self, X: Any, y: None = None) -> float:
        """Mean log-density of the rows, in nats: the same for every `n_components`, so no search by it can choose that."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Array:
        """Points (n_samples, n_features) drawn from the learned density, in the units of the data.

        Those further outside the range of a column of fit than that range are drawn again. Each call draws others, unless
        `random_state` is an int.
        """
        check_is_fitted(self)
        rng = check_random_state(random_state)
        drawn = np.empty((0, self.n_features_in_))
        while len(drawn) < n_samples:
            latents = torch.from_numpy(rng.standard_normal((n_samples, self.n_features_in_)))
            x = readings.by_row(self.flow_.chain.inverse, latents)
            drawn = np.concatenate([drawn, x[(x == self._inside(x)).all(1)].numpy()])
        return drawn[:n_samples] * self.scale_ + self.mean_

    @one_thread()
    def loadings(self, X: Any) -> Array:
        """How much each column moves with each component at each row, (n_samples, n_components, n_features).

        In units of standardised columns per unit of a component. Local loadings are orthonormal; principal ones are close
        to orthogonal, and longer where a step along the component leads further. Without hidden layers they are the
        `components_` of PCA.
        """
        x = self._checked(X)
        if self.components == "local":
            found = readings.local_components(self.flow_, x, self.n_components_)
            return found.directions.mT.numpy()
        tangents = torch.linalg.inv(readings.jacobians(self.flow_, x)).mT[:, : self.n_components_]
        return tangents.numpy() / np.sqrt(self.explained_variance_)[:, None]

    def _check_parameters(self, dim: int) -> None:
        """Raise ValueError if a parameter is out of range."""
        if self.components not in ("principal", "local"):
            raise ValueError(f"components={self.components!r} is not one of 'principal', 'local'")
        whole = isinstance(self.n_components, Integral) and 1 <= self.n_components <= dim
        if self.n_components is not None and not whole:
            raise ValueError(
                f"n_components={self.n_components} must be an int from 1 to {dim} (n_features), or None"
            )
        for name, least in (("layers", 0), ("max_iter", 1), ("n_iter_no_change", 1)):
            value = getattr(self, name)
            if not isinstance(value, Integral) or value < least:
                raise ValueError(f"{name}={value!r} must be an int of at least {least}")
        for name in ("alpha", "learning_rate"):
            value = getattr(self, name)
            if not isinstance(value, float | int) or not 0 < value < np.inf:
                raise ValueError(f"{name}={value!r} must be a positive number")
        if not 0 <= self.validation_fraction < 1:
            raise ValueError(f"validation_fraction={self.validation_fraction!r} must lie in [0, 1)")

    def _checked(self, X: Any) -> Tensor:
        """Rows as standardised points."""
        check_is_fitted(self)
        return self._scaled(validate_data(self, X, dtype=np.float64, reset=False))

    def _scaled(self, X: Array) -> Tensor:
        return torch.from_numpy((X - self.mean_) / self.scale_)

    def _trained(self, x: Tensor, seed: int, resumed: bool) -> Trained:
        if self._stays_linear(len(x)):
            return linear_flow(x, self.alpha)
        settings = Settings(
            layers=self.layers,
            alpha=self.alpha,
            principal=self.components == "principal",
            max_iter=self.max_iter,
            learning_rate=self.learning_rate,
            n_iter_no_change=self.n_iter_no_change,
            max_seconds=self.max_seconds,
            seed=seed,
        )
        parts = split(x, self.validation_fraction, seed)
        return trained_flow(*parts, settings, self.flow_ if resumed else None, self._tell)

    def _stays_linear(self, rows: int) -> bool:
        return not self.layers or rows < FEW_ROWS

    def _tell(self, line: str) -> None:
        if self.verbose:
            print(line)

    def _estimate_dimension(self, x: Tensor, seed: int) -> None:
        self.dimension_curve_, self.intrinsic_dimension_ = {}, None
        if self.estimate_dimension:
            number = 0 if self._stays_linear(len(x)) else round(NOISE_STEPS * self.max_iter)
            curve = noise_stds(x, self.alpha, number, seed, self.max_seconds, self._tell)
            self.dimension_curve_ = noise_curve(curve.variances, curve.stds)
            if curve.complete:
                self.intrinsic_dimension_ = intrinsic_dimension(self.dimension_curve_["slope"])

    def _read(self, x: Tensor, seed: int) -> None:
        """Order the axes, and read what the components explain off some rows (all, if they are few)."""
        rows = max(500, READ // x.shape[1])
        if len(x) > rows:
            x = x[torch.from_numpy(np.random.default_rng(seed).permutation(len(x))[:rows])]
        if self.components == "local":
            std = readings.local_components(self.flow_, x, x.shape[1]).std.log().mean(0).exp()
        else:
            turn(self.flow_, readings.ordering(self.flow_, x))
            std = readings.axes(self.flow_, x)[0]
        variance, k = std.square().numpy(), self.n_components_
        self.explained_variance_ = variance[:k]
        self.explained_entropy_ratio_ = variance[:k] / variance.sum()
        nearest = self._nearest(x, list(range(1, k + 1)))
        self.explained_variance_ratio_ = readings.explained_variance(x, nearest)

    def _principal(self, x: Tensor) -> Array:
        """The first latents of x (N, D), times their typical standard deviations."""
        latents = readings.by_row(self.flow_.latents, x).numpy()
        return latents[:, : self.n_components_] * np.sqrt(self.explained_variance_)

    def _nearest(self, x: Tensor, numbers: list[int]) -> list[Tensor]:
        """The points on the learned manifold that belong to x (N, D), for these numbers of components."""
        if self.components == "local":
            found = readings.local_components(self.flow_, x, max(numbers))
            nearest = [readings.on_local_axes(self.flow_, x, found, k) for k in numbers]
        else:
            nearest = [readings.on_axes(self.flow_, x, k) for k in numbers]
        return [
            self._inside(near) if k < x.shape[1] else near for k, near in zip(numbers, nearest, strict=True)
        ]

    def _inside(self, x: Tensor) -> Tensor:
        """x (N, D) cut to the range of the rows of fit and as much again on both sides: far outside flows overflow."""
        low, high = self._range
        span = (high - low).clamp(min=1.0)
        return x.nan_to_num(0.0, posinf=torch.inf, neginf=-torch.inf).clamp(low - span, high + span)

    def _warn(self, shape: tuple[int, int]) -> None:
        rows, dim = shape
        if self.intrinsic_dimension_ and not self._stays_linear(rows) and rows < ROWS_FOR_DIMENSION:
            warnings.warn(
                f"intrinsic_dimension_ is often too small with fewer than {ROWS_FOR_DIMENSION} rows, and these are {rows}; "
                "estimate_dimension=False leaves it out",
                stacklevel=4,
            )
        if rows <= dim:
            warnings.warn(
                f"{rows} rows of {dim} columns: the density is that of few rows, and does not generalise",
                stacklevel=4,
            )

    @property
    def _n_features_out(self) -> int:
        return self.n_components_
