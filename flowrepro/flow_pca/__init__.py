"""Nonlinear principal components by a flow, as a scikit-learn estimator (linear_systems Sec. 4)."""

from flowrepro.flow_pca.estimator import FlowPCA

__all__ = ["FlowPCA"]
