"""A training step at D = 784 with and without penalty, and un-whitened components there: ratios on this machine.

The flow is that of MNIST 2s (six hidden asinh layers, batch 200, float32) on random data: time does not depend on values.
"""

import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from flowrepro.analysis.components import components_of
from flowrepro.config import DenseConfig
from flowrepro.flows.core import Flow
from flowrepro.flows.models import build
from flowrepro.training.memory import keep_freed_memory
from flowrepro.training.regularizers import NoRegularizer, Tikhonov

DIM, BATCH, REPEATS = 784, 200, 9


def made() -> tuple[Flow, Tensor]:
    """A flow of six hidden layers that whitens data whose standard deviations fall like those of images, and a batch."""
    generator = torch.Generator().manual_seed(0)
    config = DenseConfig("dense_asinh", layers=6, init="whitening", gain=0.3)
    flow = build(config, DIM, generator, torch.float32)
    data = torch.randn(2_000, DIM, generator=generator) * 3 / torch.arange(1, DIM + 1)
    flow.init_from(data)
    return flow, data[:BATCH]


def milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def interleaved(works: dict[str, Callable[[], object]], repeats: int = REPEATS) -> dict[str, list[float]]:
    """Times of every work, one after the other in turns, after one turn to warm up."""
    for work in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            times[name].append(milliseconds(work))
    return times


def row(workload: str, ours: list[float], peer: str, theirs: list[float]) -> dict[str, object]:
    """How many times as long the peer takes."""
    return {
        "workload": workload,
        "ours_ms": round(median(ours), 2),
        "peer": peer,
        "peer_ms": round(median(theirs), 2),
        "ratio": round(median(theirs) / median(ours), 2),
        "spread": f"{min(theirs) / max(ours):.2f} to {max(theirs) / min(ours):.2f}",
    }


def step_rows() -> list[dict[str, object]]:
    """Steps: the Hutchinson penalty against none (ratio at least 0.5) and against the exact one (at least 50)."""
    flow, x = made()
    optimizer = torch.optim.Adam(flow.parameters(), fused=True)

    def step(regularizer: NoRegularizer | Tikhonov) -> None:
        log_prob, term = regularizer(flow, x, torch.Generator().manual_seed(0))
        optimizer.zero_grad(set_to_none=True)
        (5e-5 * term - log_prob).mean().backward()
        optimizer.step()

    hutchinson = Tikhonov(estimator="hutchinson")
    times = interleaved({"none": lambda: step(NoRegularizer()), "hutchinson": lambda: step(hutchinson)})
    exact = [milliseconds(lambda: step(Tikhonov(estimator="exact")))]
    name = "step, D = 784, Hutchinson penalty"
    return [
        row(name, times["hutchinson"], "step without penalty", times["none"]),
        row(name, times["hutchinson"], "step with the exact penalty (once)", exact),
    ]


def log_det_rows() -> list[dict[str, object]]:
    """log |det W| and its gradient by three routes, for one matrix."""
    weight = made()[0].chain[1].weight

    def run(log_det: Callable[[Tensor], Tensor]) -> None:
        weight.grad = None
        log_det(weight).backward()

    def cholesky(w: Tensor) -> Tensor:
        return torch.linalg.cholesky(w.mT @ w + 1e-5 * torch.eye(DIM)).diagonal().log().sum()

    times = interleaved(
        {
            "slogdet": lambda: run(lambda w: torch.linalg.slogdet(w)[1]),
            "Cholesky of W'W": lambda: run(cholesky),
            "singular values": lambda: run(lambda w: torch.linalg.svdvals(w).log().sum()),
        }
    )
    ours = times.pop("slogdet")
    return [row("log-determinant and gradient, D = 784", ours, peer, t) for peer, t in times.items()]


def component_rows() -> list[dict[str, object]]:
    """The two leading components of images: block Lanczos against batched full SVDs of exact Jacobians (at least 15)."""
    flow, x = made()
    flow = flow.eval().requires_grad_(False)
    few = x[:4]
    exact = components_of(flow.latents, few, 2, method="exact")
    found = flow.components(x, 2)
    error = float((found.std[:4] / exact.std - 1).abs().max())
    times = interleaved(
        {
            "lanczos": lambda: flow.components(x, 2),
            "svd": lambda: components_of(flow.latents, few, 2, method="exact"),
        },
        repeats=3,
    )
    ours = [t / BATCH for t in times["lanczos"]]
    theirs = [t / len(few) for t in times["svd"]]
    return [
        row(
            f"components an image, D = 784 (std within {error:.0e})",
            ours,
            "full SVD of exact Jacobians",
            theirs,
        )
    ]


def rows() -> list[dict[str, object]]:
    """All workloads of this file, on one thread."""
    torch.set_num_threads(1)
    keep_freed_memory()
    return step_rows() + log_det_rows() + component_rows()


if __name__ == "__main__":
    for found in rows():
        print(found)
