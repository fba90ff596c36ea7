"""The Jacobian tools against autograd and the exact SVD."""

import pytest
import torch
from torch import Tensor

from flowrepro.analysis.jacobian import STEPS, TOLERANCE, _lanczos, jacobian, jvp, top_svd, vjp

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


def with_spectrum(s: Tensor, seed: int = 0):
    """A linear batch map with these singular values (D,), and its right singular vectors (D, D)."""
    u, v = (torch.linalg.qr(points(len(s), len(s), seed=seed + i)).Q for i in range(2))
    return (lambda x: x @ (u * s @ v.mT).mT.to(x)), v


@pytest.mark.parametrize("tolerance", [1e-1, 1e-3, 1e-6])
@pytest.mark.parametrize("decay", [0.3, 0.03])
def test_top_svd_is_as_exact_as_asked_for(tolerance: float, decay: float) -> None:
    s = torch.arange(1, 151, dtype=torch.float64) ** -decay
    f, v = with_spectrum(s)
    _, found, directions = top_svd(f, points(2, 150), 2, tolerance=tolerance)
    torch.testing.assert_close(found, s[:2].expand(2, 2), rtol=tolerance, atol=0)
    cosines = (directions * v[:, :2]).sum(1).abs()
    assert (1 - cosines.square()).clamp(min=0).sqrt().max() <= tolerance


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gap", [0.1, 0.006, 0.001])
@pytest.mark.parametrize("dim", [100, 300])
def test_top_svd_separates_neighbours(dim: int, gap: float, dtype: torch.dtype) -> None:
    """All singular values so near to each other: as exact as the whole SVD of the Jacobian is."""
    s = (1 + gap) ** -torch.arange(dim, dtype=torch.float64)
    f, v = with_spectrum(s)
    _, found, directions = top_svd(f, points(2, dim).to(dtype), 2)
    torch.testing.assert_close(found.double(), s[:2].expand(2, 2), rtol=1e-5, atol=0)
    assert (directions.double() * v[:, :2]).sum(1).abs().min() > 1 - 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("equal", [2, 3, 5, 90])
def test_top_svd_of_equal_singular_values_ends_with_one_of_their_bases(
    equal: int, dtype: torch.dtype
) -> None:
    s = torch.cat(
        [torch.ones(equal), 0.5 * torch.rand(90 - equal, generator=torch.Generator().manual_seed(0))]
    )
    f, v = with_spectrum(s.double().sort(descending=True).values)
    _, found, directions = top_svd(f, points(2, 90).to(dtype), 2)
    torch.testing.assert_close(found.double(), torch.ones(2, 2, dtype=torch.float64), rtol=1e-5, atol=0)
    inside = v[:, :equal].mT @ directions.double()
    torch.testing.assert_close(inside.mT @ inside, torch.eye(2).double().expand(2, 2, 2), rtol=0, atol=1e-5)


def test_a_row_settles_for_itself() -> None:
    """Points with x_1 > 0 have singular values far apart, the others near to each other."""
    v, decay = torch.linalg.qr(points(150, 150, seed=1)).Q, torch.arange(150, dtype=torch.float64)

    def f(x: Tensor) -> Tensor:
        rate = torch.where(x[:, :1].detach() > 0, 0.2, 0.005)
        return x @ v * (-rate * decay).exp()

    x = points(6, 150)
    easy = _lanczos(f, x, 2, STEPS, TOLERANCE, 2)[-1]
    assert torch.equal(easy, x[:, 0] > 0) and 0 < easy.sum() < 6
    together = top_svd(f, x, 2)
    assert ((together[2] * v[:, :2]).sum(1).abs() > 1 - 1e-5).all()
    for i in range(6):
        for a, b in zip(together, top_svd(f, x[i : i + 1], 2), strict=True):
            torch.testing.assert_close(a[i], b[0], rtol=1e-9, atol=1e-12)


def test_top_svd_in_float32() -> None:
    x, f = points(5, 50), bent(50)
    s = top_svd(lambda x: f(x.double()).float(), x.float(), 2)[1]
    torch.testing.assert_close(s.double(), torch.linalg.svdvals(jacobian(f, x))[:, :2], rtol=1e-4, atol=0)


def test_top_svd_is_a_function_of_its_arguments() -> None:
    x, f = points(3, 30), bent(30)
    for a, b in zip(top_svd(f, x, 2), top_svd(f, x, 2), strict=True):
        assert torch.equal(a, b)
