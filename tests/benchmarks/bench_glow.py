"""Glow at 32x32x3, batch 16, K = 8, L = 3: a training step and sampling, against normflows and FrEIA.

The peers have no learned split prior, FrEIA no learned 1x1 convolution. Ours samples as evaluation does, with the inverse
matrices computed once; FrEIA's are fixed, and normflows computes them each time. Also how far the step is from its
convolutions alone, what inverting in the backward pass costs in time and saves in memory, and bfloat16 where the processor
has it.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from timing import DEVICE, Row, compare, megabytes_of, pin, training_step
from torch import Tensor, nn
from torch.nn.functional import conv2d

from flowrepro.config.schema import GlowConfig
from flowrepro.flows.conv_nets import ConvNet, set_bf16, to_channels_last
from flowrepro.flows.core import Flow
from flowrepro.flows.models import build
from flowrepro.training.gradients import set_backward

DEVICES = ("cpu", "cuda")
BATCH, STEPS, LEVELS, SHAPE = 16, 8, 3, (3, 32, 32)
DIM = 3 * 32 * 32


def rows() -> list[Row]:
    """Every comparison, for hidden widths 128 and 256."""
    pin()
    found = []
    for hidden in (128, 256):
        found += side_by_side(hidden)
    found += backward_passes()
    # on a GPU bench_memory counts it
    return found if DEVICE == "cuda" else [*found, *memory()]


def images() -> Tensor:
    """A batch of grey levels, with channels last in memory as training has it."""
    x = 256 * torch.rand(BATCH, *SHAPE, generator=torch.Generator().manual_seed(0))
    return x.to(DEVICE).contiguous(memory_format=torch.channels_last)


def glow(hidden: int, steps: int = STEPS, backward: str = "plain") -> Flow:
    """Ours, as training sets it up."""
    config = GlowConfig("glow", LEVELS, steps, hidden)
    flow = build(config, SHAPE, 256, torch.Generator().manual_seed(0), torch.float32)
    flow.init_from(images().cpu())
    to_channels_last(flow.to(DEVICE))
    set_backward(flow, backward)
    return flow


def step_of(flow: Flow) -> Callable[[], None]:
    x = images()
    return training_step(flow.train(), lambda: -flow.log_prob(x).mean())


def side_by_side(hidden: int) -> list[Row]:
    """Step, sampling, and the step against its convolutions."""
    flow, x = glow(hidden), images()
    peers = {"normflows": normflows_glow(hidden), "FrEIA": FreiaGlow(hidden).to(DEVICE)}
    data = (x / 256 - 0.5).contiguous()
    steps = {name: training_step(peer, lambda peer=peer: peer.loss(data)) for name, peer in peers.items()}
    draws = {name: no_grad(lambda peer=peer: peer.draw(BATCH)) for name, peer in peers.items()}
    name = f"Glow hidden {hidden}"
    found = compare(f"{name}, training step", step_of(flow), steps)
    ready = flow.prepared()
    found += compare(f"{name}, sampling {BATCH}", lambda: ready.sample(BATCH), draws)
    found += compare(
        f"{name}, training step", step_of(flow), {"its convolutions alone": convolutions_of(flow)}
    )
    if bf16_is_fast():
        half = glow(hidden)
        set_bf16(half, True)
        found += compare(f"{name}, training step, networks in bfloat16", step_of(half), steps)
    return found


def no_grad(run: Callable[[], object]) -> Callable[[], object]:
    return torch.no_grad()(run)


def bf16_is_fast() -> bool:
    """Whether the device multiplies in bfloat16."""
    if DEVICE == "cuda":
        return True
    info = Path("/proc/cpuinfo")
    return info.exists() and "avx512_bf16" in info.read_text()


def convolutions_of(flow: Flow) -> Callable[[], None]:
    """The convolutions of a step, forward and backward, at their shapes and nothing else: what no design can beat."""
    inputs: list[tuple[ConvNet, Tensor]] = []
    nets = [m for m in flow.modules() if isinstance(m, ConvNet)]
    hooks = [net.register_forward_pre_hook(lambda net, given: inputs.append((net, given[0]))) for net in nets]
    with torch.no_grad():
        flow.log_prob(images())
    for hook in hooks:
        hook.remove()

    @torch.no_grad()
    def run() -> None:
        for net, x in inputs:
            for layer in net:
                weight, bias = layer.weight, layer.bias
                around = [weight.shape[-1] // 2] * 2
                z = conv2d(x, weight, bias, padding=around)
                torch.ops.aten.convolution_backward(
                    z, x, weight, [len(weight)], [1, 1], around, [1, 1], False, [0, 0], 1, [True, True, True]
                )
                x = z

    return run


def normflows_glow(hidden: int, steps: int = STEPS, side: int = 32) -> nn.Module:
    """The same architecture by normflows' own blocks, as its documentation builds it."""
    import normflows as nf

    bases, flows, merges = [], [], []
    for i in range(LEVELS):
        channels = 3 * 2 ** (LEVELS + 1 - i)
        flows.append([nf.flows.GlowBlock(channels, hidden) for _ in range(steps)] + [nf.flows.Squeeze()])
        low = side // 2 ** (LEVELS - i)
        merges += [nf.flows.Merge()] if i else []
        bases.append(nf.distributions.DiagGaussian((channels // (2 if i else 1), low, low)))

    class Model(nf.MultiscaleFlow):
        def loss(self, x: Tensor) -> Tensor:
            return self.forward_kld(x)

        def draw(self, n: int) -> Tensor:
            return self.sample(n)[0]

    model = Model(bases, flows, merges, class_cond=False).to(DEVICE)
    model.loss(torch.rand(2, 3, side, side, device=DEVICE) - 0.5)  # its ActNorms initialise themselves
    return model


class FreiaGlow(nn.Module):
    """The same architecture by FrEIA's AllInOneBlock; half of the channels leave each level."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        import FrEIA.framework as ff
        import FrEIA.modules as fm

        def net(width_in: int, width_out: int) -> nn.Module:
            return nn.Sequential(
                nn.Conv2d(width_in, hidden, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(hidden, hidden, 1),
                nn.ReLU(),
                nn.Conv2d(hidden, width_out, 3, padding=1),
            )

        self.levels, self.shapes, channels, side = nn.ModuleList(), [], 3, 32
        for i in range(LEVELS):
            level = ff.SequenceINN(channels, side, side)
            level.append(fm.IRevNetDownsampling)
            for _ in range(STEPS):
                level.append(fm.AllInOneBlock, subnet_constructor=net)
            self.levels.append(level)
            channels, side = 4 * channels, side // 2
            leaves = channels // 2 if i < LEVELS - 1 else channels
            self.shapes.append((leaves, side, side))
            channels -= leaves

    def loss(self, x: Tensor) -> Tensor:
        total = x.new_zeros(len(x))
        for level, (leaves, _, _) in zip(self.levels, self.shapes, strict=True):
            x, jac = level(x)
            z, x = x[:, x.shape[1] - leaves :], x[:, : x.shape[1] - leaves]
            total = total + jac - 0.5 * z.square().flatten(1).sum(1)
        return -total.mean()

    def draw(self, n: int) -> Tensor:
        x = torch.empty(n, 0, *self.shapes[-1][1:], device=DEVICE)
        for level, shape in zip(reversed(self.levels), reversed(self.shapes), strict=True):
            x = level(torch.cat([x, torch.randn(n, *shape, device=DEVICE)], 1), rev=True)[0]
        return x


def backward_passes() -> list[Row]:
    """What a step costs whose activations are not kept, against plain autograd."""
    flows = {how: glow(128, backward=how) for how in ("plain", "checkpoint", "invert")}
    steps = {how: step_of(flow) for how, flow in flows.items()}
    found = []
    for how in ("invert", "checkpoint"):
        found += compare(
            f"Glow hidden 128, training step, backward={how}", steps[how], {"backward=plain": steps["plain"]}
        )
    return found


def memory() -> list[Row]:
    """MB per step of flow in every level, gradients included, from two depths; "ms" is MB in these rows."""
    few, many = 4, 16
    slopes = {
        how: (grown(how, many) - grown(how, few)) / (many - few) for how in ("plain", "checkpoint", "invert")
    }
    return [
        {
            "workload": f"Glow hidden 128, MB of memory per step of flow, backward={how}",
            "ours_ms": slopes[how],
            "peer": "backward=plain",
            "peer_ms": slopes["plain"],
            "ratio": slopes["plain"] / slopes[how],
            "spread": float("nan"),
        }
        for how in ("invert", "checkpoint")
    ]


def grown(how: str, steps: int) -> float:
    """By how many MB tensors grow in a forward and a backward pass of a model."""
    model, batch = glow(128, steps, how), images()
    return megabytes_of(lambda: model.log_prob(batch).mean().backward())
