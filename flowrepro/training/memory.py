"""How the C library hands out memory: freed blocks are kept for the next step."""

import ctypes
import functools

# of <malloc.h>
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 2**30


@functools.cache
def keep_freed_memory() -> bool:
    """Stop glibc from returning every large block to the kernel; False where there is no glibc.

    By default a freed tensor above 128 kB is unmapped, and the next of its kind is mapped and zeroed page by page.
    A training step makes the same tensors again and again: at D = 784 that was a third of its time.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, KEPT_BYTES) and mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))
