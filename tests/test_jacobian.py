"""The Jacobian tools against autograd and the exact SVD."""

import pytest
import torch
from torch import Tensor

from flowrepro.analysis.jacobian import jacobian, jvp, top_svd, vjp

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


def points(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bent(dim: int, decay: float = 1.0):
    """A nonlinear batch map whose Jacobian has singular values falling like i^-decay."""
    u, v = (torch.linalg.qr(points(dim, dim, seed=seed)).Q for seed in (1, 2))
    scales = torch.arange(1, dim + 1, dtype=torch.float64) ** -decay
    return lambda x: torch.asinh(torch.sinh(0.3 * x @ v) * scales) @ u.mT.to(x)


def reference(f, x: Tensor) -> Tensor:
    return torch.stack([torch.autograd.functional.jacobian(lambda r: f(r[None])[0], row) for row in x])


def test_jacobian_is_that_of_autograd() -> None:
    x, f = points(6, 5), bent(5)
    torch.testing.assert_close(jacobian(f, x), reference(f, x), rtol=1e-12, atol=1e-12)


def test_jvp_and_vjp_are_products_with_the_jacobian() -> None:
    x, v, f = points(6, 5), points(6, 5, seed=3), bent(5)
    j = reference(f, x)
    torch.testing.assert_close(jvp(f, x, v), torch.einsum("bij,bj->bi", j, v), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(vjp(f, x, v), torch.einsum("bij,bi->bj", j, v), rtol=1e-10, atol=1e-12)


def test_jacobian_of_a_map_to_another_dimension() -> None:
    x = points(4, 3)
    assert jacobian(lambda x: x[:, :2] ** 2, x).shape == (4, 2, 3)


@pytest.mark.parametrize("dim", [40, 100])
def test_top_svd_is_the_head_of_the_exact_one(dim: int) -> None:
    x, f = points(5, dim), bent(dim)
    u, s, v = top_svd(f, x, 2)
    _, exact, vh = torch.linalg.svd(jacobian(f, x))
    torch.testing.assert_close(s, exact[:, :2], rtol=1e-4, atol=0)
    torch.testing.assert_close(
        torch.einsum("bij,bjk->bik", jacobian(f, x), v), u * s[:, None], rtol=1e-3, atol=1e-3
    )
    overlap = torch.einsum("bdk,bkd->bk", v, vh[:, :2])
    assert overlap.abs().min() > 0.999


def test_top_svd_of_a_small_map_is_complete() -> None:
    x, f = points(5, 4), bent(4)
    u, s, v = top_svd(f, x, 4)
    torch.testing.assert_close((u * s[:, None]) @ v.mT, jacobian(f, x), rtol=1e-9, atol=1e-10)


def test_top_svd_converges_with_iterations() -> None:
    x, f = points(3, 60), bent(60, decay=0.3)
    exact = torch.linalg.svdvals(jacobian(f, x))[:, :2]
    errors = [float((top_svd(f, x, 2, iterations)[1] / exact - 1).abs().max()) for iterations in (1, 3, 8)]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 1e-8


def test_top_svd_in_float32() -> None:
    x, f = points(5, 50), bent(50)
    s = top_svd(lambda x: f(x.double()).float(), x.float(), 2)[1]
    torch.testing.assert_close(s.double(), torch.linalg.svdvals(jacobian(f, x))[:, :2], rtol=1e-4, atol=0)


def test_top_svd_is_a_function_of_its_arguments() -> None:
    x, f = points(3, 30), bent(30)
    for a, b in zip(top_svd(f, x, 2), top_svd(f, x, 2), strict=True):
        assert torch.equal(a, b)
