"""Layer, Chain and Flow: the one contract that everything obeys.

`forward(x) -> (z, dlogp)` goes from data to latent, and log p(x) = log p(z) + dlogp in nats, with x of
shape (B, D), or (B, C, H, W) for image flows, and dlogp of shape (B,). For a bijection dlogp = log |det dz/dx|.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from flowrepro.analysis.components import Components, components
from flowrepro.analysis.jacobian import jvp
from flowrepro.errors import UsageError

if TYPE_CHECKING:
    from flowrepro.flows.bases import Base

Points = Tensor | np.ndarray
PerPoint = TypeVar("PerPoint", Tensor, Components)


class Layer(nn.Module):
    """An invertible map. `forward` is pure: it writes nothing and remembers nothing for `inverse`."""

    @property
    def data_dependent(self) -> bool:
        """Whether `init_from` does anything."""
        return False

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Data (B, D) to latent (B, D), with dlogp (B,) in nats."""
        raise NotImplementedError

    def inverse(self, z: Tensor) -> Tensor:
        """Latent (B, D) to data (B, D); nan or inf, never an exception, outside the layer's range."""
        raise NotImplementedError

    def init_from(self, x: Tensor) -> None:
        """Set parameters or buffers from the training data (N, D), for layers that need it."""

    def prepared(self) -> Layer:
        """The same map with what its inverse needs computed once, for many products with the inverse's Jacobian."""
        return self

    def trace(self, x: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
        """(name, z, dlogp) after every part of the layer; the dlogp add up to that of the layer."""
        z, dlogp = self(x)
        yield type(self).__name__, z, dlogp

    def forward_tangents(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(z, dlogp, J t) for K tangent columns per sample, t of shape (B, D, K) with J = dz/dx at each x.

        The default lets torch.func do it; layers with a simple Jacobian do it by hand.
        """

        push = torch.func.vmap(lambda v: jvp(lambda data: self(data)[0], x, v), in_dims=-1, out_dims=-1)
        z, dlogp = self(x)
        return z, dlogp, push(t)


class Chain(Layer, nn.Sequential):
    """Layers one after another, itself a layer; `chain[:k]` is the chain of the first k, sharing them."""

    def __iter__(self) -> Iterator[Layer]:
        return cast(Iterator[Layer], super().__iter__())

    @property
    def data_dependent(self) -> bool:
        return any(layer.data_dependent for layer in self)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(x.shape[0])
        for layer in self:
            x, dlogp = layer(x)
            total = total + dlogp
        return x, total

    def inverse(self, z: Tensor) -> Tensor:
        for layer in reversed(list(self)):
            z = layer.inverse(z)
        return z

    def forward_tangents(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        total = x.new_zeros(x.shape[0])
        for layer in self:
            x, dlogp, t = layer.forward_tangents(x, t)
            total = total + dlogp
        return x, total, t

    def prepared(self) -> Chain:
        return Chain(*(layer.prepared() for layer in self))

    @torch.no_grad()
    def init_from(self, x: Tensor) -> None:
        """Initialise layer by layer, passing the data on as far as a layer needs them."""
        last = max((i for i, layer in enumerate(self) if layer.data_dependent), default=-1)
        for layer in list(self)[: last + 1]:
            layer.init_from(x)
            x = self.passed_on(layer, x)

    def passed_on(self, layer: Layer, x: Tensor) -> Tensor:
        """What the layers behind one of the chain's are initialised by, (N, D): what it makes of x now."""
        z: Tensor = layer(x)[0]
        return z

    def trace(self, x: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
        """(name, z, dlogp) after every layer; the dlogp add up to that of the chain."""
        for i, layer in enumerate(self):
            for name, z, dlogp in layer.trace(x):
                yield f"{i}.{name}", z, dlogp
                x = z


class Flow(nn.Module):
    """A chain of layers and a base density on the latent: a density on the data.

    Its methods take a batch (B, D), or (B, C, H, W) of images, or a single point, for which they give its one value;
    tensors of any dtype, NumPy arrays, or DataFrames, whose columns are found by name. They raise UsageError for any
    other shape. Calling the flow itself gives the log_prob of a batch in the flow's own dtype, unchecked: what training,
    torch.func and torch.compile need.

    Args:
        shape: of one point; (D,) by default.

    `columns` are the names of the D columns of the table that a loaded flow was trained on; none if they had none.
    """

    columns: tuple[str, ...] = ()

    def __init__(self, chain: Chain, base: Base, shape: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.chain, self.base = chain, base
        self.shape = torch.Size(shape or (base.dim,))

    @property
    def dim(self) -> int:
        """The dimension D of the data."""
        return self.base.dim

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        z, dlogp = self.chain(x)
        return self.base.log_prob(z, generator) + dlogp

    def batch(self, x: Points) -> Tensor:
        """One or more points as a batch (B, ...) in the flow's dtype, on its device.

        Raises:
            UsageError: points of another shape.
        """
        x = _tensor(self._in_order(x))
        if self.shape not in (x.shape, x.shape[1:]):
            one, many = str(tuple(self.shape)), str(("N", *self.shape)).replace("'", "")
            raise UsageError(f"expected points of shape {one} or {many}, not {tuple(x.shape)}")
        own = next(
            (t for t in itertools.chain(self.parameters(), self.buffers()) if t.is_floating_point()), None
        )
        x = x.to(torch.get_default_dtype()) if own is None else x.to(own)
        return x if x.ndim > len(self.shape) else x[None]

    def _in_order(self, x: Points) -> Points:
        """A DataFrame with its columns in the order of the flow's own. Raises UsageError if they have other names."""
        names = [str(name) for name in getattr(x, "columns", ())]
        if not self.columns or not names or names == [str(i) for i in range(len(self.columns))]:
            return x
        if sorted(names) != sorted(self.columns):
            raise UsageError(
                f"expected a table of the columns {', '.join(self.columns)}, not {', '.join(names)}"
            )
        order = [names.index(name) for name in self.columns]
        return np.asarray(x, dtype=np.float64)[:, order]

    def _at(self, x: Points, f: Callable[[Tensor], PerPoint]) -> PerPoint:
        """f of a batch, at what a caller gives."""
        x = _tensor(self._in_order(x))
        found = f(self.batch(x))
        return found[0] if x.shape == self.shape else found

    def log_prob(self, x: Points, generator: torch.Generator | None = None) -> Tensor:
        """log p(x) in nats, (B, D) -> (B,), -inf where a flow overflows; bounds take their noise from the generator.

        >>> from flowrepro.flows.bases import StandardNormal
        >>> Flow(Chain(), StandardNormal(2)).log_prob(np.full(2, 1e200)).item()
        -inf
        """
        return self._at(x, lambda x: _density(self(x, generator)))

    def latents(self, x: Points) -> Tensor:
        """f(x), (B, D) -> (B, D)."""
        return self._at(x, lambda x: cast(Tensor, self.chain(x)[0]))

    @torch.no_grad()
    def sample(
        self,
        n: int,
        temperature: float = 1.0,
        deviation: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """n points (n, D) in the units of the data.

        `temperature` scales the std of the prior, `deviation` the distance from the manifold (injective
        flows). Rows may be nan or inf: sinh overflows, and a softplus flow reaches only a part of its latent
        space. They are returned as they are, for the caller to count.
        """
        return self.chain.inverse(self.base.sample(n, temperature, deviation, generator))

    def embed(self, x: Points, by: str = "pseudo_inverse") -> Tensor:
        """The coordinates of x on the base's manifold, (B, D) -> (B, M); f(x) itself where that is the whole space.

        Args:
            x: points, or images (B, C, H, W) in grey levels.
            by: the `pseudo_inverse` (across_dimensions Eq. 42), or the `posterior_mean` as in its code.

        Raises:
            UsageError: points of another shape; the posterior mean where the manifold has a flow of its own.

        >>> from flowrepro.flows.injective_bases import GaussianNIF
        >>> flow = Flow(Chain(), GaussianNIF(dim=12, latent_dim=3))
        >>> flow.embed(np.ones((5, 12))).shape, flow.embed(np.ones(12)).shape
        (torch.Size([5, 3]), torch.Size([3]))
        """
        return self._at(x, lambda x: self.base.embed(self.chain(x)[0], by))

    def reconstruct(self, x: Points, by: str = "pseudo_inverse") -> Tensor:
        """x to latent, onto the base's manifold and back, (B, D) -> (B, D); arguments and errors as in `embed`.

        Where the manifold is the whole space, x itself up to rounding.

        >>> from flowrepro.flows.injective_bases import GaussianNIF
        >>> flow = Flow(Chain(), GaussianNIF(dim=12, latent_dim=3))
        >>> nearest = flow.reconstruct(np.arange(12.0))
        >>> torch.allclose(flow.reconstruct(nearest), nearest, atol=1e-4)
        True
        """
        return self._at(x, lambda x: self.chain.inverse(self.base.project(self.chain(x)[0], by)))

    def components(self, x: Points, k: int | None = None, method: str = "auto") -> Components:
        """The k un-whitened components of largest local std at x (B, D); all of them by default.

        `method` and errors as in `analysis.components.components`; images are taken as vectors.
        """
        return self._at(x, lambda x: components(self, x, k, method))

    def init_from(self, x: Points) -> None:
        """Initialise the layers, and the base, that need it from the training data (N, D)."""
        x = self.batch(x)
        self.chain.init_from(x)
        if self.base.data_dependent:
            with torch.no_grad():
                self.base.init_from(self.chain(x)[0])

    def prepared(self) -> Flow:
        """The same flow as it is now, with what does not depend on the points computed once: for many batches."""
        return Flow(self.chain.prepared(), self.base.prepared(), self.shape)

    def slice(self, stop: int | None, start: int = 0) -> Flow:
        """The flow of the layers before `stop` (Center is layer 0; None: of all), which it shares with this one."""
        shape = self.chain[:start](self.batch(torch.zeros(self.shape)))[0].shape[1:] if start else self.shape
        return Flow(cast(Chain, self.chain[start:stop]), self.base, shape)


def _density(log_prob: Tensor) -> Tensor:
    """-inf for values that are not finite: inf - inf is nan, and a density that overflows tells nothing."""
    return torch.where(log_prob.isfinite(), log_prob, -torch.inf)


def _tensor(x: Points) -> Tensor:
    """A NumPy array, whatever its byte order, strides and flags, as a tensor; a tensor as it is."""
    return x if isinstance(x, Tensor) else torch.from_numpy(np.array(x, dtype=np.float64, order="C"))
