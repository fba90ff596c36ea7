"""Phases as data: which learning rate, which alpha and which layers at which step."""

import math
from dataclasses import dataclass, replace

from flowrepro.config.schema import Phase, TrainingConfig
from flowrepro.errors import UsageError
from flowrepro.flows.core import Chain
from flowrepro.flows.coupling import AffineCoupling


@dataclass(frozen=True)
class Stage:
    """A phase with its place in the run resolved: steps `start` to `end` (exclusive) and the values left unset."""

    start: int
    end: int
    lr: float
    optimizer: str
    schedule: str
    warmup: int
    final_lr: float
    decay_every: int
    decay_rate: float
    alpha: float
    alpha_from: float
    train_layers: tuple[int, ...] | None
    active_layers: int | None
    reset_optimizer: bool
    rotate: tuple[int, ...]

    def lr_at(self, step: int) -> float:
        """The learning rate of a step: warm-up times schedule."""
        progress = (step - self.start) / max(1, self.end - self.start)
        warm = min(1.0, (step - self.start + 1) / (self.warmup + 1))
        if self.schedule == "cosine":
            decay = self.final_lr + (1 - self.final_lr) * (1 + math.cos(math.pi * progress)) / 2
        elif self.schedule == "exponential" and self.decay_rate:
            decay = max(self.final_lr, self.decay_rate ** ((step - self.start) / 1000))
        elif self.schedule == "exponential":
            taken = step - self.start
            held = taken - taken % self.decay_every if self.decay_every else taken
            decay = self.final_lr ** (held / max(1, self.end - self.start))
        else:
            decay = 1.0
        return self.lr * warm * decay

    def alpha_at(self, step: int) -> float:
        """alpha of a step: constant, or falling geometrically from `alpha_from`."""
        if self.alpha_from == self.alpha:
            return self.alpha  # free of rounding that depends on the number of steps
        progress = (step - self.start) / max(1, self.end - self.start)
        return self.alpha_from ** (1 - progress) * self.alpha**progress if self.alpha > 0 else 0.0


def stages(
    phases: list[Phase], training: TrainingConfig, alpha: float, chain: Chain | None = None
) -> list[Stage]:
    """The phases laid out over `training.steps`, for the layers of a chain.

    With alpha 0 there is nothing to anneal to: `alpha_from` is ignored and the steps stay the same.

    Raises:
        UsageError: a phase is for each coupling and the chain has none, or it names layers that do not exist.
    """
    chain = Chain() if chain is None else chain
    phases = [p for phase in phases for p in one_for_each_layer(phase, chain)]
    for phase in phases if chain else []:
        _check_layers(phase, len(chain))
    ends = [round(training.steps * sum(p.share for p in phases[: i + 1])) for i in range(len(phases))]
    starts = [0, *ends[:-1]]
    return [_stage(training, p, alpha, a, b) for p, a, b in zip(phases, starts, ends, strict=True)]


def _check_layers(phase: Phase, layers: int) -> None:
    """Raise UsageError if a phase names layers that the model does not have."""
    named = {"train_layers": phase.train_layers, "rotate": phase.rotate}
    for key, indices in named.items():
        if wrong := [i for i in indices or () if not 0 <= i < layers]:
            raise UsageError(
                f"phases.sequence: {key}={wrong}, but the model has only {layers} layers, numbered from 0"
            )
    if (phase.active_layers or 0) > layers:
        raise UsageError(
            f"phases.sequence: active_layers={phase.active_layers}, but the model has only {layers} layers"
        )


def one_for_each_layer(phase: Phase, chain: Chain) -> list[Phase]:
    """The phase itself; or, with `each_layer`, one of equal share for each coupling with the layers before it."""
    if phase.each_layer is None:
        return [phase]
    stops = [i + 1 for i, layer in enumerate(chain) if isinstance(layer, AffineCoupling)]
    if not stops:
        raise UsageError(
            "phases with each_layer need couplings of vectors: use model=coupling or model=realnvp"
        )
    stops[-1] = len(chain)
    return [
        replace(
            phase,
            share=phase.share / len(stops),
            each_layer=None,
            active_layers=stop,
            train_layers=list(range(start if phase.each_layer == "alone" else 0, stop)),
            rotate=[i for i in range(start, stop) if chain[i].data_dependent],
        )
        for start, stop in zip([0, *stops[:-1]], stops, strict=True)
    ]


def _stage(training: TrainingConfig, phase: Phase, alpha: float, start: int, end: int) -> Stage:
    return Stage(
        start=start,
        end=end,
        lr=training.lr if phase.lr is None else phase.lr,
        optimizer=phase.optimizer or training.optimizer,
        schedule=phase.schedule or training.schedule,
        warmup=training.warmup if phase.warmup is None else phase.warmup,
        final_lr=training.final_lr,
        decay_every=training.decay_every,
        decay_rate=training.decay_rate,
        alpha=alpha,
        alpha_from=alpha if phase.alpha_from is None else phase.alpha_from,
        train_layers=None if phase.train_layers is None else tuple(phase.train_layers),
        active_layers=phase.active_layers,
        reset_optimizer=phase.reset_optimizer,
        rotate=tuple(phase.rotate or ()),
    )


def stage_at(stages: list[Stage], step: int) -> Stage:
    """The stage that a step belongs to; the last one for steps beyond the end."""
    return next((s for s in stages if step < s.end), stages[-1])
