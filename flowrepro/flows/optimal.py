"""Rotations chosen from the data, and the layer-wise flow that needs no training."""

import torch
from torch import Tensor

from flowrepro.analysis.oas import MAX_SAMPLES, optimal_rotation
from flowrepro.flows.core import Chain, Layer
from flowrepro.flows.coupling import AffineCoupling
from flowrepro.flows.linear import Rotation
from flowrepro.flows.moments import best_coupling_of, moment_coupling
from flowrepro.flows.preprocess import Center, Standardize


class OptimalRotation(Rotation):
    """The rotation before a coupling that lets it improve the loss most (single_coupling Alg. 1); `init_from` chooses it.

    Args:
        dim: D.
        passive: how many dimensions the coupling leaves unchanged.
        seed: of the random candidates beyond two dimensions.
    """

    def __init__(self, dim: int, passive: int, seed: int, dtype: torch.dtype | None = None) -> None:
        super().__init__(torch.eye(dim, dtype=dtype))
        self.passive, self.seed = passive, seed

    @property
    def data_dependent(self) -> bool:
        return True

    @torch.no_grad()
    def init_from(self, x: Tensor) -> None:
        """Choose from 8,192 random points of x (N, D), so that their order in a file does not matter."""
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.randperm(len(x), generator=generator)[:MAX_SAMPLES]
        self.matrix.copy_(optimal_rotation(x.cpu()[drawn], self.passive, generator))


class AnticipatingChain(Chain):
    """A chain with optimal rotations: each is chosen as if the couplings before it were trained (Lemma 1).

    Untrained, they would leave the data as they are, and every rotation would choose the same subspace.
    """

    def passed_on(self, layer: Layer, x: Tensor) -> Tensor:
        if isinstance(layer, AffineCoupling):
            return best_coupling_of(x, layer.passive)
        return super().passed_on(layer, x)


def layerwise_by_moments(
    x: Tensor,
    layers: int,
    rotations: list[Rotation] | None = None,
    passive: int = 1,
    standardize: bool = False,
) -> Chain:
    """single_coupling Alg. 2 without gradient descent: rotations and couplings are estimated in turn from x (N, D).

    The rotations are optimal ones, or those given.
    """
    dim, dtype = x.shape[1], x.dtype
    built: list[Layer] = [Center(dim, dtype), *([Standardize(dim, dtype)] if standardize else [])]
    for i in range(layers):
        built.append(rotations[i] if rotations else OptimalRotation(dim, passive, i, dtype))
        built.append(moment_coupling(dim, passive, dtype))
    chain = Chain(*built)
    chain.init_from(x)
    return chain
