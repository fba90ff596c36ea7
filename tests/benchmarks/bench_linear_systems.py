"""A training step at D = 784 with and without penalty, and un-whitened components there: ratios on this machine.

The flow is that of MNIST 2s (six hidden asinh layers, batch 200, float32) on random data: time does not depend on values.
"""

from collections.abc import Callable

import torch
from timing import Row, compare, pin
from torch import Tensor

from flowrepro.analysis.components import components_of
from flowrepro.config.schema import DenseConfig
from flowrepro.flows.core import Flow
from flowrepro.flows.models import build
from flowrepro.training.regularizers import NoRegularizer, Tikhonov

DIM, BATCH = 784, 200


def made() -> tuple[Flow, Tensor]:
    """A flow of six hidden layers that whitens data whose standard deviations fall like those of images, and a batch."""
    generator = torch.Generator().manual_seed(0)
    config = DenseConfig("dense_asinh", layers=6, init="whitening", gain=0.3)
    flow = build(config, (DIM,), None, generator, torch.float32)
    data = torch.randn(2_000, DIM, generator=generator) * 3 / torch.arange(1, DIM + 1)
    flow.init_from(data)
    return flow, data[:BATCH]


def step_rows() -> list[Row]:
    """Steps: the Hutchinson penalty against none (ratio at least 0.5) and against the exact one (at least 50)."""
    flow, x = made()
    optimizer = torch.optim.Adam(flow.parameters(), fused=True)

    def step(regularizer: NoRegularizer | Tikhonov) -> None:
        log_prob, term = regularizer(flow, x, torch.Generator().manual_seed(0))
        optimizer.zero_grad(set_to_none=True)
        (5e-5 * term - log_prob).mean().backward()
        optimizer.step()

    workload, hutchinson = "step, D = 784, Hutchinson penalty", lambda: step(Tikhonov(estimator="hutchinson"))
    exact = {"step with the exact penalty": lambda: step(Tikhonov(estimator="exact"))}
    return [
        *compare(workload, hutchinson, {"step without penalty": lambda: step(NoRegularizer())}),
        *compare(workload, hutchinson, exact, repeats=2),
    ]


def log_det_rows() -> list[Row]:
    """log |det W| and its gradient by three routes, for one matrix."""
    weight = made()[0].chain[1].weight

    def run(log_det: Callable[[Tensor], Tensor]) -> None:
        weight.grad = None
        log_det(weight).backward()

    def cholesky(w: Tensor) -> Tensor:
        return torch.linalg.cholesky(w.mT @ w + 1e-5 * torch.eye(DIM)).diagonal().log().sum()

    return compare(
        "log-determinant and gradient, D = 784",
        lambda: run(lambda w: torch.linalg.slogdet(w)[1]),
        {
            "Cholesky of W'W": lambda: run(cholesky),
            "singular values": lambda: run(lambda w: torch.linalg.svdvals(w).log().sum()),
        },
    )


def component_rows() -> list[Row]:
    """The two leading components of images: block Lanczos against batched full SVDs of exact Jacobians (at least 15)."""
    flow, x = made()
    flow = flow.eval().requires_grad_(False)
    few = x[:4]
    exact = components_of(flow.latents, few, 2, method="exact")
    found = flow.components(x, 2)
    error = float((found.std[:4] / exact.std - 1).abs().max())
    return compare(
        f"components an image, D = 784 (std within {error:.0e})",
        lambda: flow.components(x, 2),
        {"full SVD of exact Jacobians": lambda: components_of(flow.latents, few, 2, method="exact")},
        repeats=3,
        parts=(BATCH, len(few)),
    )


def rows() -> list[Row]:
    """All workloads of this file, on one thread."""
    pin()
    return step_rows() + log_det_rows() + component_rows()
