"""Forward and backward pass of a training step as a CUDA graph: a flow of many small layers waits less for its kernels.

A GPU does the kernels of such a flow faster than Python asks for them. A recorded step asks once.
"""

import torch
from torch import Tensor, nn

from flowrepro.errors import UsageError
from flowrepro.flows.core import Flow

# eager steps before recording, in which libraries set themselves up
WARM_UP = 3


class Recorded:
    """-mean log_prob of a flow and its gradient, for batches of one shape, recorded once and replayed.

    The gradients lie where the recording put them; a replay writes them anew.

    Raises:
        UsageError: the flow asks the GPU for a value in between, which cannot be recorded.
    """

    def __init__(self, flow: Flow, parameters: list[nn.Parameter], x: Tensor) -> None:
        self.flow, self.parameters, self.x = flow, parameters, x.clone()
        self.graph = torch.cuda.CUDAGraph()
        self._warm_up()
        self._forget()
        try:
            with torch.cuda.graph(self.graph):
                self.log_prob = self._passes()
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise UsageError(
                f"this model's steps cannot be recorded ({reason}); leave out training.cuda_graph"
            ) from error
        self.gradients = [p.grad for p in parameters]

    def _warm_up(self) -> None:
        """As torch wants it before recording: on a stream of its own."""
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self._passes()
        torch.cuda.current_stream().wait_stream(aside)

    def _forget(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def _passes(self) -> Tensor:
        self._forget()
        log_prob: Tensor = self.flow(self.x, None)
        (-log_prob.mean()).backward()
        return log_prob.detach()

    def __call__(self, x: Tensor) -> Tensor:
        """log_prob (B,) in nats of a batch of the recorded shape; sets the gradients of the parameters."""
        self.x.copy_(x)
        self.graph.replay()
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient
        return self.log_prob
