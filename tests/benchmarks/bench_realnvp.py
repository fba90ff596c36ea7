"""RealNVP on vectors, D = 2, six couplings with networks of 2 x 512: step and sampling against four libraries."""

from collections.abc import Callable

import torch
from timing import Row, compare, pin, training_step
from torch import Tensor, nn

from flowrepro.config.schema import RealNVPConfig
from flowrepro.flows.models import build

LAYERS, WIDTH = 6, 512


def rows() -> list[Row]:
    """Every comparison, for batches of 200 and 4,096."""
    pin()
    found = []
    for batch in (200, 4096):
        x = torch.randn(batch, 2, generator=torch.Generator().manual_seed(0))
        config = RealNVPConfig("realnvp", LAYERS, hidden=[WIDTH, WIDTH], batch_norm=False)
        flow = build(config, (2,), None, torch.Generator().manual_seed(0), torch.float32)
        peers = {name: make() for name, make in PEERS.items()}
        step = training_step(flow, lambda flow=flow, x=x: -flow.log_prob(x).mean())
        steps = {name: training_step(p, lambda p=p, x=x: -p.log_prob(x).mean()) for name, p in peers.items()}
        draws = {name: torch.no_grad()(lambda p=p, n=batch: p.sample(n)) for name, p in peers.items()}
        found += compare(f"RealNVP batch {batch}, training step", step, steps)
        found += compare(f"RealNVP batch {batch}, sampling", lambda flow=flow, n=batch: flow.sample(n), draws)
    return found


def net(width_in: int, width_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width_in, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, width_out)
    )


class WithContext(nn.Module):
    """nflows hands its networks a context."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.net = net(width_in, width_out)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.net(x)


def in_nflows() -> nn.Module:
    from nflows.distributions.normal import StandardNormal
    from nflows.flows.base import Flow
    from nflows.transforms.base import CompositeTransform
    from nflows.transforms.coupling import AffineCouplingTransform

    couplings = [
        AffineCouplingTransform(torch.tensor([i % 2, 1 - i % 2]), WithContext) for i in range(LAYERS)
    ]
    return Flow(CompositeTransform(couplings), StandardNormal([2]))


def in_normflows() -> nn.Module:
    import normflows as nf

    flows = []
    for _ in range(LAYERS):
        flows += [
            nf.flows.AffineCouplingBlock(nf.nets.MLP([1, WIDTH, WIDTH, 2], init_zeros=True)),
            nf.flows.Permute(2, mode="swap"),
        ]

    class Model(nf.NormalizingFlow):
        def sample(self, n: int) -> Tensor:
            return super().sample(n)[0]

    return Model(nf.distributions.DiagGaussian(2, trainable=False), flows)


def in_zuko() -> nn.Module:
    import zuko

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            masks = [torch.tensor([bool(i % 2), not i % 2]) for i in range(LAYERS)]
            couplings = [
                zuko.flows.GeneralCouplingTransform(2, mask=m, hidden_features=(WIDTH, WIDTH)) for m in masks
            ]
            base = zuko.flows.UnconditionalDistribution(
                zuko.distributions.DiagNormal, torch.zeros(2), torch.ones(2), buffer=True
            )
            self.flow = zuko.flows.Flow(couplings, base)

        def log_prob(self, x: Tensor) -> Tensor:
            return self.flow().log_prob(x)

        def sample(self, n: int) -> Tensor:
            return self.flow().sample((n,))

    return Model()


def in_freia() -> nn.Module:
    import FrEIA.framework as ff
    import FrEIA.modules as fm

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = ff.SequenceINN(2)
            for _ in range(LAYERS):
                self.blocks.append(fm.AllInOneBlock, subnet_constructor=net)

        def log_prob(self, x: Tensor) -> Tensor:
            z, jac = self.blocks(x)
            return jac - 0.5 * z.square().sum(1)

        def sample(self, n: int) -> Tensor:
            return self.blocks(torch.randn(n, 2), rev=True)[0]

    return Model()


PEERS: dict[str, Callable[[], nn.Module]] = {
    "nflows": in_nflows,
    "normflows": in_normflows,
    "zuko": in_zuko,
    "FrEIA": in_freia,
}
