"""Randomness as a function of (seed, purpose, step): nothing to save, so that resuming is exact."""

import hashlib

import torch


def stream(seed: int, *purpose: object) -> int:
    """A seed of its own for each purpose, such as ("probes", step)."""
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, *purpose: object, device: str = "cpu") -> torch.Generator:
    """A fresh generator for one purpose."""
    return torch.Generator(device=device).manual_seed(stream(seed, *purpose))
