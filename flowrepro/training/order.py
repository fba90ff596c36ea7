"""Which samples at which step: a function of the seed, so that resuming is exact."""

import torch
from torch import Tensor

from flowrepro.randomness import generator


class Batches:
    """Minibatch indices: every epoch is a fresh permutation whose short last batch is kept (as in the papers' code).

    With `fold`, a last batch of less than half the batch size joins the one before, for layers that take statistics
    of their batch.
    """

    def __init__(self, n: int, batch_size: int, seed: int, fold: bool = False) -> None:
        self.n, self.batch_size, self.seed = n, min(batch_size, n), seed
        self.per_epoch, rest = divmod(n, self.batch_size)
        if rest and not (fold and 2 * rest < self.batch_size):
            self.per_epoch += 1
        self._epoch = -1
        self._permutation = torch.empty(0, dtype=torch.long)

    def epoch(self, step: int) -> int:
        """The epoch of a step, from 0."""
        return step // self.per_epoch

    def at(self, step: int) -> Tensor:
        """The indices of a step, of shape (batch,)."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._permutation = torch.randperm(self.n, generator=generator(self.seed, "order", epoch))
            self._epoch = epoch
        end = self.n if place == self.per_epoch - 1 else (place + 1) * self.batch_size
        return self._permutation[place * self.batch_size : end]
