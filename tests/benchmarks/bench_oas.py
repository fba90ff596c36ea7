"""Delta of single_coupling Eq. 20 for 360 angles, 8,192 samples, 32 bins: vectorised, against plain loops in numpy."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from flowrepro.analysis.oas import BINS, binned_improvement, plane_rotation
from flowrepro.data.toy import TOYS
from flowrepro.training.memory import keep_freed_memory

ANGLES = torch.arange(360) / 2
SAMPLES, REPEATS = 8192, 9


def rows() -> list[dict[str, Any]]:
    """One row for each peer: medians in ms of processor time on one thread, taken in turn; ratio is peer / ours."""
    keep_freed_memory()
    torch.set_num_threads(1)
    x = TOYS["gmm"].sample(SAMPLES, torch.Generator().manual_seed(0))[0]
    rotations, points = plane_rotation(ANGLES), x.numpy()
    peers = {"plain double loop": double_loop, "loop over angles, bincount": angle_loop}
    contenders: dict[str, Callable[[], Any]] = {"ours": lambda: binned_improvement(x, rotations)}
    contenders |= {name: lambda peer=peer: peer(points) for name, peer in peers.items()}
    ours = contenders["ours"]().numpy()
    for peer in peers.values():
        np.testing.assert_allclose(peer(points), ours, atol=1e-5)
    times = interleaved(contenders)
    return [
        {
            "workload": f"OAS, {len(ANGLES)} angles x {SAMPLES} samples x {BINS} bins",
            "ours_ms": statistics.median(times["ours"]),
            "peer": name,
            "peer_ms": statistics.median(times[name]),
            "ratio": statistics.median(p / o for p, o in zip(times[name], times["ours"], strict=True)),
        }
        for name in peers
    ]


def interleaved(contenders: dict[str, Callable[[], Any]]) -> dict[str, list[float]]:
    """Times in ms of each contender, one after the other in every round."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(REPEATS):
        for name, run in contenders.items():
            began = time.process_time()
            run()
            times[name].append(1000 * (time.process_time() - began))
    return times


def rotated(points: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """The active coordinate, and the bin of equal width of the passive one."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    passive = cos * points[:, 0] + sin * points[:, 1]
    active = cos * points[:, 1] - sin * points[:, 0]
    low, high = passive.min(), passive.max()
    return active, np.minimum(((passive - low) * (BINS / (high - low))).astype(int), BINS - 1)


def double_loop(points: np.ndarray) -> np.ndarray:
    """Angle by angle, bin by bin."""
    found = []
    for degrees in ANGLES.numpy():
        active, place = rotated(points, degrees)
        total = 0.0
        for b in range(BINS):
            inside = active[place == b]
            if len(inside) > 1:
                variance = inside.var()
                total += len(inside) * (inside.mean() ** 2 + variance - 1 - np.log(variance)) / 2
        found.append(total / len(points))
    return np.array(found)


def angle_loop(points: np.ndarray) -> np.ndarray:
    """Angle by angle, all bins at once."""
    found = []
    for degrees in ANGLES.numpy():
        active, place = rotated(points, degrees)
        count = np.bincount(place, minlength=BINS)
        mean = np.bincount(place, active, BINS) / np.maximum(count, 1)
        variance = np.bincount(place, active**2, BINS) / np.maximum(count, 1) - mean**2
        there = count > 1
        gain = mean[there] ** 2 + variance[there] - 1 - np.log(variance[there])
        found.append(0.5 * (gain * count[there]).sum() / len(points))
    return np.array(found)


if __name__ == "__main__":
    for row in rows():
        print("  ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()))
