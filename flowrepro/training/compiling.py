"""torch.compile for the likelihood of flows of many small layers, whose step is mostly overhead."""

import os
import shutil
from collections.abc import Callable

import torch
from torch import Tensor

from flowrepro.flows.core import Flow

# compiling takes half a minute the first time, and several seconds from the compiler's cache
WORTH_STEPS = 2000
COMPILERS = ("g++", "clang++", "c++")


class Compiled(Flow):
    """The layers of another flow with a compiled log_prob."""

    def __init__(self, flow: Flow) -> None:
        super().__init__(flow.chain, flow.base)
        # what was compiled for an earlier flow would be tried first, and the number of tries is limited
        torch.compiler.reset()
        self._log_prob: Callable[[Tensor], Tensor] = torch.compile(flow.log_prob)

    def log_prob(self, x: Tensor) -> Tensor:
        return self._log_prob(x)


def compiled(flow: Flow, steps: int) -> Flow:
    """The flow with a compiled log_prob, where so many steps are worth it and there is a compiler; else the flow."""
    if steps < WORTH_STEPS:
        return flow
    if not shutil.which(os.environ.get("CXX", "")) and not any(map(shutil.which, COMPILERS)):
        print("training.compile=true needs a C++ compiler, and there is none: training goes on without")
        return flow
    return Compiled(flow)
