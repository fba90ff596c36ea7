"""torch.compile for the likelihood of flows with many small layers, whose steps are mostly overhead.

Not for Glow: compiling takes five minutes, and its steps, which are mostly convolutions, become only 2 % faster.
"""

import functools
import os
import shutil
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from flowrepro.flows.core import Flow

# compiling takes half a minute the first time, and several seconds with the compiler's cache
WORTH_STEPS = 2000


class Compiled(Flow):
    """The layers of another flow, compiled."""

    def __init__(self, flow: Flow) -> None:
        super().__init__(flow.chain, flow.base, flow.shape)
        # code compiled for an earlier flow would be tried first, and the number of tries is limited
        torch.compiler.reset()
        # with dynamic sizes the choice of kernel would depend on what ran before, and a resumed run would differ
        self._forward: Callable[..., Tensor] = torch.compile(flow.forward, dynamic=False)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self._forward(x, generator)


def compiled(flow: Flow, steps: int) -> Flow:
    """The flow, compiled if there are enough steps to pay for it and a compiler; otherwise unchanged."""
    return Compiled(flow) if steps >= WORTH_STEPS and has_compiler() else flow


@functools.cache
def has_compiler() -> bool:
    """Whether the C++ compiler that torch calls is installed; prints a line once if it is not."""
    name = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(name):
        return True
    print(f"training.compile=true needs the C++ compiler {name}, which was not found; continuing uncompiled")
    return False
