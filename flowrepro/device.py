"""Choosing the device to compute on, and setting it up."""

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import nn

from flowrepro.errors import UsageError

# of <malloc.h>
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 2**30


@functools.cache
def keep_freed_memory() -> bool:
    """Stop glibc from returning every large block to the kernel; False without glibc.

    By default a freed tensor above 128 kB is unmapped, and the next one is mapped and zeroed page by page.
    A training step makes the same tensors again and again: at D = 784 that took a third of its time.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, KEPT_BYTES) and mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))


def choose_device(device: str = "auto", threads: int = 0) -> str:
    """cpu or cuda; sets the number of CPU threads (0: torch's default) and how freed memory is kept.

    Raises:
        UsageError: device is cuda, and torch sees no GPU.
    """
    keep_freed_memory()
    # convolutions of ten bits would break exact inversion; bfloat16 is an option of its own
    torch.backends.cudnn.allow_tf32 = False
    if threads:
        torch.set_num_threads(threads)
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("device=cuda, but torch sees no GPU; use device=cpu")
    return device


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one CPU thread; also a decorator.

    With several, the LU decomposition of a batch of matrices of some 150 columns and more hangs or is wrong (pytorch issue
    141358), which inverses, solutions and determinants are made from; and small matrices gain nothing from more threads.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def wait_for(device: str) -> None:
    """Return when the device has done all its work so far: a GPU is only told what to do, and goes on by itself."""
    if device == "cuda":
        torch.cuda.synchronize()


def device_of(module: nn.Module) -> str:
    """The device that a module's parameters and buffers are on."""
    return str(next(chain(module.parameters(), module.buffers())).device)
