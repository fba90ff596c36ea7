"""A trained flow for Python: it takes and gives NumPy arrays, DataFrames or tensors, whichever it was fitted to."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from flowrepro.analysis.components import Components
from flowrepro.config.schema import Config
from flowrepro.errors import Diverged
from flowrepro.flows.core import Flow
from flowrepro.randomness import generator
from flowrepro.training.layout import Layout

# points that pass the flow together
ROWS = 1_000
# of samples that are not finite, for each that was asked for
MOST_LOST = 10


@dataclass(frozen=True, repr=False)
class Fitted:
    """What `flowrepro.fit` returns; see `Flow` for what its methods compute and raise.

    A method gives a tensor for a tensor, and NumPy arrays for anything else: an array, a DataFrame, whose columns are
    found by name, or a list, of one point or several.

    Args:
        flow: the flow itself, on tensors, on the CPU, with the weights of the best checkpoint.
        config: what it was trained with.
        result: state, step, log-likelihoods in nats per sample with standard errors, and bits/dim.
        history: the validation records, one row each.
        of_tensors: whether samples are tensors.
        layout: of images, as the caller gave them: arrays are taken and given so, tensors as the flow has them.
    """

    flow: Flow
    config: Config
    result: dict[str, Any]
    history: pd.DataFrame
    of_tensors: bool = False
    layout: Layout | None = None

    def __repr__(self) -> str:
        val, se = self.result.get("val_log_prob", np.nan), self.result.get("val_se", np.nan)
        shape = tuple(self.flow.shape)
        return f"<{self.config.model.name} of points of shape {shape}, held out {val:.4g} ± {se:.2g} nats>"

    def log_prob(self, x: Any) -> Any:
        """log p(x) in nats, (N, D) -> (N,), -inf where the flow overflows."""
        return self._at(x, self.flow.log_prob)

    def embed(self, x: Any, by: str = "pseudo_inverse") -> Any:
        """The latents of x, (N, D) -> (N, D); coordinates on the manifold, (N, M), of a flow that has one."""
        return self._at(x, lambda points: self.flow.embed(points, by))

    def reconstruct(self, x: Any, by: str = "pseudo_inverse") -> Any:
        """x to latents, onto the manifold if there is one, and back, (N, D) -> (N, D)."""
        found = self._at(x, lambda points: self.flow.reconstruct(points, by))
        return found if isinstance(x, Tensor) else self._laid_out(found)

    def components(self, x: Any, k: int | None = None, method: str = "auto") -> Any:
        """The k un-whitened components of largest local std at x, with `values` and `std` (N, k), `directions` (N, D, k)."""
        return self._at(x, lambda points: self.flow.components(points, k, method))

    def sample(
        self,
        n: int,
        finite: bool = True,
        temperature: float = 1.0,
        deviation: float = 1.0,
        seed: int | None = None,
    ) -> Any:
        """n points (n, D) in the units of the data; a DataFrame if the flow was fitted to one with named columns.

        Args:
            n: how many.
            finite: draw again those that are not finite, which a warning counts; else they are returned as they are.
            temperature: scales the std of the prior.
            deviation: scales the distance from the manifold, of flows that have one.
            seed: the same seed gives the same points (None: torch's own state).

        Raises:
            Diverged: hardly any sample is finite.
        """
        source = None if seed is None else generator(seed, "samples")

        @torch.no_grad()
        def draw(n: int) -> Tensor:
            return self.flow.sample(n, temperature, deviation, source)

        drawn = _finite(draw, n) if finite else torch.cat([draw(size) for size in _sizes(n)])
        if self.of_tensors:
            return drawn
        columns = self.flow.columns
        return pd.DataFrame(drawn.numpy(), columns=columns) if columns else self._laid_out(drawn.numpy())

    def _laid_out(self, x: np.ndarray) -> np.ndarray:
        """Arrays from the flow as the caller has them."""
        return self.layout.from_flow(x) if self.layout else x

    def _at(self, x: Any, f: Callable[[Tensor], Any]) -> Any:
        """f at points: of a tensor as it is; of anything else as arrays, a part at a time."""
        if isinstance(x, Tensor):
            return f(x)
        given = x if hasattr(x, "columns") else np.asarray(x)
        given = self.layout.to_flow(given) if self.layout else given
        found = _as_arrays([f(part) for part in self.flow.batch(given).split(ROWS)])
        return found[0] if given.shape == tuple(self.flow.shape) else found


def _sizes(n: int) -> list[int]:
    """n as the sizes of batches."""
    return [min(ROWS, n - begin) for begin in range(0, n, ROWS)] or [0]


def _as_arrays(parts: list[Any]) -> Any:
    """Tensors, or the tensors of components, of parts of a batch as arrays of the whole."""
    if not isinstance(parts[0], Components):
        return torch.cat(parts).detach().numpy()
    whole: dict[str, Any] = {
        name: torch.cat([getattr(part, name) for part in parts]).detach().numpy()
        for name in ("values", "std", "directions")
    }
    return replace(parts[0], **whole)


def _finite(draw: Callable[[int], Tensor], n: int) -> Tensor:
    """n finite samples (n, ...). Raises Diverged if too many others come with them; warns if there are any."""
    kept = [draw(0)]
    lost = found = 0
    while found < n:
        x = draw(min(ROWS, n - found))
        good = x.flatten(1).isfinite().all(1)
        kept.append(x[good])
        found, lost = found + int(good.sum()), lost + int((~good).sum())
        if lost > MOST_LOST * n + ROWS:
            raise Diverged(f"{lost:,} of {lost + found:,} samples are not finite; {WAY_OUT}")
    if lost:
        warnings.warn(
            f"{lost:,} of {lost + n:,} samples were not finite and have been drawn again; {WAY_OUT}",
            stacklevel=3,
        )
    return torch.cat(kept)


OVERFLOWS = (
    "the flow's inverse overflows far from its data: a smaller temperature, more steps or stronger regularisation "
    "make that rarer"
)
WAY_OUT = f"{OVERFLOWS}, finite=False returns them as they are"
