"""A linear autoencoder, which the paper sets beside a linear flow (linear_systems Sec. 7)."""

import torch
from torch import Tensor


def linear_decoder(x: Tensor, code: int, seed: int) -> Tensor:
    """The decoder (D, code) of an autoencoder x B A without penalty, trained on centred points (N, D) to convergence.

    L-BFGS from random weights: every solution has the same loss, so that the start decides which one is found.
    """
    # the loss depends on the points by their covariance alone
    x = torch.linalg.qr(x.double()).R / len(x) ** 0.5
    generator = torch.Generator().manual_seed(seed)
    encoder, decoder = (
        torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in ((x.shape[1], code), (code, x.shape[1]))
    )
    optimizer = torch.optim.LBFGS(
        [encoder, decoder],
        max_iter=500,
        tolerance_grad=1e-10,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        found = (x - x @ encoder @ decoder).square().sum()
        found.backward()
        return found

    optimizer.step(loss)
    return decoder.detach().mT
