"""Data-parallel training of one run under torchrun: every process takes its share of each batch, gradients are summed.

All processes hold the same weights. Only the first writes the run's folder, with the same results as a single process
with the same batch (except for the random probes of a Tikhonov term and the noise of a
bound, which each process draws itself).
Without torchrun the world is a single process, and nothing is exchanged.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from flowrepro.errors import Diverged, FlowreproError, Stopped, UsageError
from flowrepro.runs.folder import Run

# the first process may prepare a large data set while the others wait
PATIENCE = timedelta(hours=6)


@dataclass(frozen=True)
class World:
    """The processes that train together: the rank of this one, and their number."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def share(self, batch: Tensor) -> tuple[Tensor, float]:
        """This process's part of a batch's samples or indices, and its weight in the mean.

        If a batch has fewer samples than there are processes, some take the first with weight 0.
        """
        own = batch[self.rank :: self.size]
        return (own, len(own) / len(batch)) if len(own) else (batch[:1], 0.0)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its sum over the processes, in one exchange."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.size == 1 or not gradients:
            return
        flat = torch.cat([g.flatten() for g in gradients])
        with exchange():
            dist.all_reduce(flat)
        for gradient, total in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(total.view_as(gradient))

    def sums(self, *numbers: Tensor) -> list[float]:
        """The sum over the processes of each of these numbers."""
        values = torch.stack([n.double() for n in numbers])
        if self.size > 1:
            with exchange():
                dist.all_reduce(values)
        found: list[float] = values.tolist()  # a GPU is waited for once
        return found

    def agree(self, number: int) -> int:
        """The largest number over the processes: if one is asked to stop, all stop at the same step."""
        if self.size == 1:
            return number
        value = torch.tensor(number, device=self.device)
        with exchange():
            dist.all_reduce(value, dist.ReduceOp.MAX)
        return int(value)

    def align(self, module: nn.Module) -> None:
        """Give all processes the parameters and buffers of the first, including data-dependent initialisation."""
        if self.size > 1:
            for tensor in module.state_dict().values():
                with exchange():
                    dist.broadcast(tensor, 0)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Let the first process go ahead of the others, so that files are prepared only once."""
        if self.size > 1 and not self.first:
            barrier()
        yield
        if self.size > 1 and self.first:
            barrier()


@contextmanager
def world(device: str) -> Iterator[World]:
    """The world that this process belongs to under torchrun, or a world of one."""
    size = _world_size()
    if size == 1:
        yield World(device=device)
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if dist.is_initialized():  # left over from an earlier run that failed in all processes
        dist.destroy_process_group()
    dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=PATIENCE)
    try:
        with _quiet(dist.get_rank() > 0):
            yield World(dist.get_rank(), size, device)
    except (Stopped, Diverged):  # raised in all processes at once
        dist.destroy_process_group()
        raise
    # after any other error the others may still be waiting, and this process must not wait for them
    dist.destroy_process_group()


def _world_size() -> int:
    """The number of processes that torchrun started. Raises UsageError if WORLD_SIZE was set by hand."""
    told = os.environ.get("WORLD_SIZE", "1")
    if told == "1":
        return 1
    if missing := [k for k in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if k not in os.environ]:
        raise UsageError(
            f"WORLD_SIZE={told} is set, but {', '.join(missing)} is not: start several processes with torchrun, "
            "or unset WORLD_SIZE"
        )
    return int(told)


@contextmanager
def exchange() -> Iterator[None]:
    """Report a failed exchange between processes in one line: the cause is usually in another process."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FlowreproError(
            f"another process of this run has exited (see its message) or cannot be reached ({reason})"
        ) from error


def barrier() -> None:
    """Wait for the other processes."""
    with exchange():
        dist.barrier()


@contextmanager
def _quiet(wanted: bool) -> Iterator[None]:
    """Suppress output while the block runs; errors are reported where they are caught."""
    if not wanted:
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


@contextmanager
def claimed_together(claim: AbstractContextManager[Run], together: World) -> Iterator[Run]:
    """The run of a config, claimed by the first process; the others get a temporary copy of its folder."""
    if together.first:
        with claim as run:
            _tell(run.path, together)
            yield run
        return
    with tempfile.TemporaryDirectory() as folder:
        yield _copy(_heard(), Path(folder))


def _tell(path: Path, together: World) -> None:
    if together.size > 1:
        with exchange():
            dist.broadcast_object_list([str(path.resolve())])
        # write nothing before the others have their copy
        barrier()


def _heard() -> Path:
    told: list[str] = [""]
    with exchange():
        dist.broadcast_object_list(told)
    return Path(told[0])


def _copy(path: Path, folder: Path) -> Run:
    """The small files of a run, and links to its checkpoints."""
    run = Run(folder / path.name)
    (run.path / "checkpoints").mkdir(parents=True)
    for file in path.iterdir():
        if file.is_file() and not file.name.startswith("."):
            shutil.copy(file, run.path / file.name)
    for file in path.glob("checkpoints/*"):
        (run.path / "checkpoints" / file.name).symlink_to(file)
    barrier()
    return run
