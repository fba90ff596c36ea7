"""How well true factors and classes can be read off features, with none of them given."""

import warnings

import numpy as np

NEIGHBOURS = 10
FOLDS = 5
# of the logistic regression: C = 1 / strength
PENALTY, ITERATIONS = 0.01, 500


def knn_r2(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """R^2 of every target (n, l) predicted from features (n, k) by the mean of ten nearest neighbours: (l,).

    Five-fold cross-validated over a fixed shuffle; 1 where the target can be read off, 0 or less where it cannot.
    """
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.neighbors import KNeighborsRegressor

    folds = KFold(FOLDS, shuffle=True, random_state=0)
    predicted = cross_val_predict(KNeighborsRegressor(NEIGHBOURS), features, targets, cv=folds)
    return 1 - ((targets - predicted) ** 2).sum(0) / ((targets - targets.mean(0)) ** 2).sum(0)


def nearest_neighbour_hits(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the nearest other one of each of the features (n, d) has the same label (n,): (n,) bool."""
    from sklearn.neighbors import NearestNeighbors

    # without an argument every point is left out of its own neighbours
    nearest = (
        NearestNeighbors(n_neighbors=1, algorithm="brute").fit(features).kneighbors(return_distance=False)
    )
    return np.asarray(labels[nearest[:, 0]] == labels)


def nearest_neighbour_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """The share of features (n, d) whose nearest other one has the same label (n,): leave-one-out 1-NN, no training."""
    return float(nearest_neighbour_hits(features, labels).mean())


def linear_probe_hits(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether a logistic regression from features (n, d), standardised, finds each label (n,) held out: (n,) bool.

    Five-fold cross-validated over a fixed stratified shuffle; its penalty is the same for all features (C = 0.01).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=ITERATIONS))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        # a class of fewer members than folds is in some of them only
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        return np.asarray(cross_val_predict(probe, features, labels, cv=folds) == labels)


def linear_probe_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """Held-out accuracy of `linear_probe_hits`."""
    return float(linear_probe_hits(features, labels).mean())


def silhouette(points: np.ndarray, labels: np.ndarray) -> float:
    """The mean silhouette of points (n, d) in their classes (n,): 1 apart, 0 overlapping, below 0 mixed up."""
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(points, labels))
