"""Randomness as a function of (seed, purpose, step): nothing to save, so that resuming is exact."""

import hashlib

import torch
from torch import Tensor


def stream(seed: int, *purpose: object) -> int:
    """A seed of its own for each purpose, such as ("probes", step)."""
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, *purpose: object, device: str = "cpu") -> torch.Generator:
    """A fresh generator for one purpose."""
    return torch.Generator(device=device).manual_seed(stream(seed, *purpose))


class Batches:
    """Minibatch indices: every epoch is a fresh permutation, its last short batch is kept (as the papers' code does)."""

    def __init__(self, n: int, batch_size: int, seed: int) -> None:
        self.n, self.batch_size, self.seed = n, min(batch_size, n), seed
        self.per_epoch = -(-n // self.batch_size)
        self._epoch = -1
        self._permutation = torch.empty(0, dtype=torch.long)

    def at(self, step: int) -> Tensor:
        """The indices of a step, of shape (batch,)."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._permutation = torch.randperm(self.n, generator=generator(self.seed, "order", epoch))
            self._epoch = epoch
        return self._permutation[place * self.batch_size : (place + 1) * self.batch_size]
