"""Timing side by side: every contender in turn, again and again, on one thread of one core, or on a GPU."""

import itertools
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

# "cuda" times the same work on a GPU
DEVICE = os.environ.get("BENCH_DEVICE", "cpu")
REPEATS = 9 if DEVICE == "cpu" else 15
Row = dict[str, Any]


def pin() -> None:
    """One thread, on one core; memory is kept as in training."""
    from flowrepro.device import keep_freed_memory

    keep_freed_memory()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_num_threads(1)
    if DEVICE == "cpu" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def compare(
    workload: str,
    ours: Callable[[], Any],
    peers: dict[str, Callable[[], Any]],
    repeats: int = REPEATS,
    parts: tuple[int, int] = (1, 1),
) -> list[Row]:
    """One row for each peer: medians in ms of processor time (on a GPU of time), and by how much ours is faster.

    The ratio is the median over the rounds of peer / ours, so that what slows down a round slows down both; the spread
    is half the range of its middle half. Times are of one part of the work, where a call of ours does `parts[0]` of
    them and a call of a peer `parts[1]`.
    """
    contenders = {"ours": ours, **peers}
    for run in contenders.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, run in contenders.items():
            began = now()
            run()
            times[name].append(1000 * (now() - began) / parts[name != "ours"])
    found = [row(workload, times["ours"], peer, times[peer]) for peer in peers]
    for told in found:
        print("  ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in told.values()), flush=True)
    return found


def now() -> float:
    """Seconds of processor time; on a GPU the time when all its work so far is done."""
    if DEVICE == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def row(workload: str, ours: list[float], peer: str, theirs: list[float]) -> Row:
    """The row of a table: medians of both, their ratio and its spread."""
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    return {
        "workload": workload,
        "ours_ms": statistics.median(ours),
        "peer": peer,
        "peer_ms": statistics.median(theirs),
        "ratio": statistics.median(ratios),
        "spread": (high - low) / 2,
    }


def training_step(model: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[], None]:
    """A step of fused Adam, the same for all contenders."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        optimizer.step()

    return step


def megabytes_of(run: Callable[[], object]) -> float:
    """By how many MB tensors grow at most, from what they have now: what torch allocates, not what the process keeps."""
    if DEVICE == "cpu":
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            run()
        found = profiler.profiler.kineto_results.events()
        changes = sorted((e.start_ns(), e.nbytes()) for e in found if e.name() == "[memory]")
        return max(itertools.accumulate(size for _, size in changes)) / 1e6
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    return (torch.cuda.max_memory_allocated() - before) / 1e6
