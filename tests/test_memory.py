"""Backward passes that keep little: the same gradients, memory that does not grow with depth; bfloat16 networks."""

import copy

import pytest
import torch
from torch import Tensor

from flowrepro.config.compose import compose
from flowrepro.config.schema import GlowConfig, LinearConfig, QLFConfig
from flowrepro.errors import UsageError
from flowrepro.flows.conv_nets import set_bf16
from flowrepro.flows.core import Flow
from flowrepro.flows.models import build
from flowrepro.training.bfloat16 import slow_bf16
from flowrepro.training.gradients import set_backward


def grey(n: int, side: int = 8, dtype: torch.dtype = torch.float32) -> Tensor:
    return 256 * torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(1), dtype=dtype)


def made(how: str, steps: int = 3, side: int = 8, dtype: torch.dtype = torch.float32, **settings) -> Flow:
    """A Glow whose networks no longer start at zero."""
    config = GlowConfig("glow", levels=2, steps=steps, hidden=16, **settings)
    generator = torch.Generator().manual_seed(0)
    flow = build(config, (3, side, side), 256, generator, dtype)
    flow.init_from(grey(50, side, dtype))
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator, dtype=dtype))
    set_backward(flow, how)
    return flow


def gradients(flow: Flow, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    return list(torch.autograd.grad(-flow.log_prob(x).mean(), [x, *flow.parameters()]))


@pytest.mark.parametrize("how", ["checkpoint", "invert"])
@pytest.mark.parametrize("coupling", ["affine", "additive"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_the_gradients_are_those_of_plain_autograd(how, coupling, dtype, tolerance) -> None:
    plain = gradients(made("plain", dtype=dtype, coupling=coupling), grey(6, dtype=dtype))
    others = gradients(made(how, dtype=dtype, coupling=coupling), grey(6, dtype=dtype))
    for a, b in zip(plain, others, strict=True):
        assert (a - b).abs().max() <= tolerance * a.abs().max()


@pytest.mark.parametrize("how", ["checkpoint", "invert"])
def test_the_parameters_keep_their_names_and_frozen_ones_stay_still(how) -> None:
    flow = made(how)
    assert list(flow.state_dict()) == list(made("plain").state_dict())
    frozen = flow.chain[-1].levels[0]
    frozen.requires_grad_(False)
    (-flow.log_prob(grey(4)).mean()).backward()
    trained = {name for name, p in flow.named_parameters() if p.grad is not None}
    assert trained == {name for name, p in flow.named_parameters() if p.requires_grad}


def kept_bytes(how: str, steps: int) -> int:
    """What the graph of a step keeps beside the parameters."""
    flow, kept = made(how, steps=steps, side=16), {}
    parameters = {p.untyped_storage().data_ptr() for p in flow.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        value = flow.log_prob(grey(8, 16)).mean()
    assert value.requires_grad
    return sum(kept.values())


def test_what_is_kept_does_not_grow_with_depth_when_inverting() -> None:
    growth = {how: kept_bytes(how, 8) - kept_bytes(how, 2) for how in ("plain", "invert")}
    assert growth["plain"] > 1_000_000
    # the few values that are left are vectors of parameters
    assert growth["invert"] < growth["plain"] / 100


def test_only_image_flows_have_levels_to_go_back_through() -> None:
    vectors = build(LinearConfig("linear"), (2,), None, torch.Generator(), torch.float32)
    with pytest.raises(UsageError, match="training.backward=invert is for image flows"):
        set_backward(vectors, "invert")
    with pytest.raises(UsageError, match="exact inverses"):
        compose(["model=glow", "training.bf16=true", "training.backward=invert"])


# bfloat16


def test_bfloat16_is_for_networks_in_training_alone() -> None:
    flow, x = made("plain"), grey(16)
    exact = flow.eval().log_prob(x)
    set_bf16(flow, True)
    assert torch.equal(flow.eval().log_prob(x), exact)
    z, dlogp = flow.train().chain(x)
    assert z.dtype == dlogp.dtype == torch.float32
    bits = (flow.log_prob(x) - exact) / (192 * 0.6931)
    assert bits.abs().max() > 0 and bits.mean().abs() < 0.002
    gradients(flow, x)


@pytest.mark.parametrize(
    ("flags", "told"),
    [("avx512_bf16 amx_bf16 amx_tile", False), ("avx512f avx512_bf16", True), ("sse2", True)],
)
def test_processors_without_amx_are_told_that_bfloat16_is_slow(flags, told, tmp_path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\nflags\t\t: fpu {flags}\n")
    wanted = compose(["model=glow", "dataset=digits", "training.bf16=true"])
    assert ("without AMX" in slow_bf16(wanted, "cpu", cpuinfo)) is told
    assert not slow_bf16(wanted, "cuda", cpuinfo)
    assert not slow_bf16(compose(["model=glow", "dataset=digits"]), "cpu", cpuinfo)
    # other processors have other words for it
    cpuinfo.write_text("Features : fp asimd bf16\n")
    assert not slow_bf16(wanted, "cpu", cpuinfo) and not slow_bf16(wanted, "cpu", tmp_path / "none")


def test_a_run_and_its_dry_run_begin_with_what_is_slow(flowrepro, monkeypatch) -> None:
    for module in ("training.loop", "verbs.dry_run"):
        monkeypatch.setattr(f"flowrepro.{module}.slow_bf16", lambda config, device: "slow here")
    small = [
        "model.levels=1",
        "model.steps=1",
        "model.hidden=8",
        "training.steps=1",
        "scale=smoke",
        "threads=1",
    ]
    words = ["train", "model=glow", "dataset=digits", "training.bf16=true", *small]
    assert "note       slow here\n" in flowrepro(*words, "dry_run=true").out
    assert "note       slow here\n" in flowrepro(*words).out


def test_inverses_are_exact_whatever_training_does() -> None:
    flow, x = made("plain"), grey(8)
    set_bf16(flow, True)
    assert (flow.eval().reconstruct(x) - x).abs().max() < 1e-2


def trained(name: str, steps: int = 60) -> Flow:
    """A flow whose layers are no longer near the identity."""
    torch.manual_seed(0)
    config = (
        QLFConfig("qlf", levels=2, steps=2, hidden=8, bottleneck=6, squeezed=2)
        if name == "qlf"
        else GlowConfig("glow", levels=2, steps=3, hidden=16)
    )
    flow = build(config, (3, 8, 8), 256, torch.Generator().manual_seed(0), torch.float32)
    x = grey(64).square() / 256
    flow.init_from(x)
    optimizer = torch.optim.Adamax(flow.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        (-flow.log_prob(x).mean()).backward()
        optimizer.step()
    return flow


@pytest.mark.parametrize("name", ["glow", "qlf"])
def test_gradients_by_inversion_stay_exact_through_training(name: str) -> None:
    """In float64 to 1e-7; in float32 no further from them than float32 itself is from float64."""

    def found(how: str, dtype: torch.dtype) -> Tensor:
        again = copy.deepcopy(flow).to(dtype)
        set_backward(again, how)
        return torch.cat([g.double().flatten() for g in gradients(again, x.to(dtype))])

    flow, x = trained(name), grey(16)
    exact, single = found("plain", torch.float64), found("plain", torch.float32)
    assert (found("invert", torch.float64) - exact).norm() <= 1e-7 * exact.norm()
    own_error = (single - exact).norm() + 1e-5 * exact.norm()
    assert (found("invert", torch.float32) - single).norm() <= own_error
