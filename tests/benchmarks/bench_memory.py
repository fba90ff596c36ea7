"""Memory of a forward and a backward pass against depth and image size, for each `training.backward`, beside normflows.

QLF and Glow, three levels of networks of 64 channels; depth at 64x64 in batches of 4, size with 8 blocks at each level and
single images. "ms" is MB in these rows; the picture is outputs/bench/memory.png (on a GPU memory_cuda.png).
"""

from pathlib import Path

import pandas as pd
import torch
from bench_glow import normflows_glow
from timing import DEVICE, Row, megabytes_of
from torch import Tensor, nn

from flowrepro.config.schema import GlowConfig, QLFConfig
from flowrepro.flows.conv_nets import to_channels_last
from flowrepro.flows.models import build
from flowrepro.training.gradients import set_backward

DEVICES = ("cpu", "cuda")
LEVELS, HIDDEN = 3, 64
DEPTHS, SIZES = (4, 8, 16, 32), (32, 64, 128, 256)
# (depth, side, batch)
BY_DEPTH = [(depth, 64, 4) for depth in DEPTHS]
BY_SIZE = [(8, side, 1) for side in SIZES]
HOWS = ("plain", "checkpoint", "invert")
CONTENDERS = [*((f"{name}, {how}") for name in ("QLF", "Glow") for how in HOWS), "normflows' Glow"]


def rows() -> list[Row]:
    """Memory of all at every depth and size; ratios are to the same model with plain autograd, Glow's also to normflows'."""
    found = {(name, *work): grown(name, *work) for work in BY_DEPTH + BY_SIZE for name in CONTENDERS}
    draw(found)
    table = []
    for (name, depth, side, batch), mb in found.items():
        peers = ["normflows' Glow"] if name.startswith("Glow") else []
        peers += [f"{name.split(',')[0]}, plain"] if not name.endswith(("plain", "Glow")) else []
        for peer in peers:
            theirs = found[peer, depth, side, batch]
            table.append(
                {
                    "workload": f"{name}, {batch}x3x{side}x{side}, {LEVELS} levels x {depth}, MB of memory",
                    "ours_ms": mb,
                    "peer": peer,
                    "peer_ms": theirs,
                    "ratio": theirs / mb,
                    "spread": float("nan"),
                }
            )
    return table


def grown(name: str, depth: int, side: int, batch: int) -> float:
    """MB that a forward and a backward pass add to a model and its batch, gradients included."""
    x = 256 * torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(0))
    x = x.to(DEVICE).contiguous(memory_format=torch.channels_last)
    made = model(name, depth, side, x)
    mb = megabytes_of(lambda: step(made, x))
    print(f"{name}  {batch}x3x{side}x{side}  {LEVELS} levels x {depth}  {mb:.1f} MB", flush=True)
    return mb


def model(name: str, depth: int, side: int, x: Tensor) -> nn.Module:
    """A contender of some depth, initialised."""
    if name == "normflows' Glow":
        return normflows_glow(HIDDEN, depth, side)
    kind, how = name.split(", ")
    config = (
        QLFConfig("qlf", steps=depth, hidden=HIDDEN, bottleneck=42, squeezed=4)
        if kind == "QLF"
        else GlowConfig("glow", LEVELS, depth, HIDDEN)
    )
    flow = build(config, (3, side, side), 256, torch.Generator().manual_seed(0), torch.float32)
    flow.init_from(x.cpu())
    to_channels_last(flow.to(DEVICE))
    set_backward(flow, how)
    return flow.train()


def step(made: nn.Module, x: Tensor) -> None:
    loss = made.loss(x / 256 - 0.5) if hasattr(made, "loss") else -made.log_prob(x).mean()
    loss.backward()


def draw(found: dict[tuple[str, int, int, int], float]) -> None:
    """Both curves, every contender a line."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    colours = {"QLF": "#0072B2", "Glow": "#D55E00", "normflows' Glow": "#555555"}
    lines = {"plain": "-o", "checkpoint": "--s", "invert": ":^"}
    for ax, work, column, label in (
        (axes[0], BY_DEPTH, 0, "blocks a level (64x64, batch 4)"),
        (axes[1], BY_SIZE, 1, "pixels a side (8 blocks a level, batch 1)"),
    ):
        for name in CONTENDERS:
            kind, _, how = name.partition(", ")
            ticks = [w[column] for w in work]
            ax.plot(
                ticks,
                [found[name, *w] for w in work],
                lines.get(how, "-.D"),
                color=colours[kind],
                label=name,
                ms=4,
            )
        ax.set(xscale="log", yscale="log", xlabel=label, xticks=ticks, xticklabels=ticks)
        ax.minorticks_off()
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("memory of tensors, gradients included, in MB")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    where = torch.cuda.get_device_name() if DEVICE == "cuda" else "CPU, one thread"
    figure.suptitle(
        f"Forward and backward pass, training.backward=plain, checkpoint, invert ({where})", fontsize=10
    )
    path = Path("outputs/bench", "memory.png" if DEVICE == "cpu" else f"memory_{DEVICE}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    pd.DataFrame(
        [(*key, mb) for key, mb in found.items()], columns=["model", "depth", "side", "batch", "mb"]
    ).to_csv(path.with_suffix(".csv"), index=False, float_format="%.4g")
