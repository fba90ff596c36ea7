"""Log-likelihood of N(b, A A^T + Σ), N = 3,072, batches of 64: a Gaussian NIF beside torch's low-rank normal.

Times at log-variance -4; errors, in nats against float64, on points that the density draws itself.
"""

from collections.abc import Callable

import torch
from timing import DEVICE, Row, compare, pin
from torch import Tensor
from torch.distributions import LowRankMultivariateNormal

from flowrepro.flows.injective_bases import GaussianNIF

DEVICES = ("cpu", "cuda")
DIM, BATCH = 3072, 64
LATENT_DIMS = (64, 128, 512)
TIMED, LOW = -4.0, -12.0
# an evaluation is over in a millisecond, and takes many batches one after the other
BATCHES = 8


def rows() -> list[Row]:
    """Training step, and evaluation with everything computed once, for each M."""
    pin()
    found = []
    for latent_dim in LATENT_DIMS:
        found += times(latent_dim)
        for log_var in (TIMED, LOW):
            errors(latent_dim, log_var)
    return found


def times(latent_dim: int) -> list[Row]:
    """The rows of one M."""
    nif = made(latent_dim, TIMED)
    x = drawn(nif)
    ready, kept = nif.prepared(), peer(nif)
    torch.testing.assert_close(ready.log_prob(x), kept.log_prob(x).detach(), rtol=0, atol=0.05)
    size = f"N={DIM} M={latent_dim} batch={BATCH}"
    return [
        *compare(
            f"low-rank normal {size} training step",
            step(nif, lambda: nif.log_prob(x)),
            {"torch, rebuilt": step(nif, lambda: peer(nif).log_prob(x))},
        ),
        *compare(
            f"low-rank normal {size} evaluation",
            torch.no_grad()(batches(lambda: ready.log_prob(x))),
            {
                "torch, gradients on": batches(lambda: kept.log_prob(x)),
                "torch, no_grad": torch.no_grad()(batches(lambda: kept.log_prob(x))),
            },
            parts=(BATCHES, BATCHES),
        ),
    ]


def batches(log_prob: Callable[[], Tensor]) -> Callable[[], None]:
    """Several batches one after the other."""

    def run() -> None:
        for _ in range(BATCHES):
            log_prob()

    return run


def made(latent_dim: int, log_var: float) -> GaussianNIF:
    """A NIF with A of the authors' size at first, and equal variances."""
    nif = GaussianNIF(DIM, latent_dim, torch.Generator().manual_seed(0), gain=2**0.5)
    with torch.no_grad():
        nif.injection.noise.log_var.fill_(log_var)
    return nif.to(DEVICE)


def drawn(nif: GaussianNIF) -> Tensor:
    """A batch of points of the density."""
    return nif.sample(BATCH, generator=torch.Generator(DEVICE).manual_seed(1)).detach()


def peer(nif: GaussianNIF, dtype: torch.dtype = torch.float32) -> LowRankMultivariateNormal:
    """The same density by torch, of the same parameters."""
    bias, log_var = nif.injection.noise(None)
    weight = nif.injection.operator.weight
    return LowRankMultivariateNormal(
        bias.to(dtype), weight.to(dtype), log_var.to(dtype).exp(), validate_args=False
    )


def step(nif: GaussianNIF, log_prob: Callable[[], Tensor]) -> Callable[[], None]:
    """The likelihood and its gradient in all parameters."""

    def run() -> None:
        nif.zero_grad(set_to_none=True)
        log_prob().mean().backward()

    return run


@torch.no_grad()
def errors(latent_dim: int, log_var: float) -> None:
    """Print the largest error of both, in nats."""
    nif = made(latent_dim, log_var)
    x = drawn(nif)
    exact = peer(nif, torch.float64).log_prob(x.double())
    found = {"ours": nif.log_prob(x), "prepared": nif.prepared().log_prob(x), "torch": peer(nif).log_prob(x)}
    worst = {name: float((value - exact).abs().max()) for name, value in found.items()}
    print(f"M={latent_dim} log-variance {log_var}: error in nats", {k: f"{v:.2g}" for k, v in worst.items()})
