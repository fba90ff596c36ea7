"""Phases as data: which learning rate, which alpha and which layers at which step."""

import math
from dataclasses import dataclass

from flowrepro.config import Config, Phase


@dataclass(frozen=True)
class Stage:
    """A phase with its place in the run resolved: steps `start` to `end` (exclusive) and the values left unset."""

    start: int
    end: int
    lr: float
    schedule: str
    warmup: int
    final_lr: float
    alpha: float
    alpha_from: float
    train_layers: tuple[int, ...] | None
    active_layers: int | None
    reset_optimizer: bool

    def lr_at(self, step: int) -> float:
        """The learning rate of a step: warm-up times schedule."""
        progress = (step - self.start) / max(1, self.end - self.start)
        warm = min(1.0, (step - self.start + 1) / (self.warmup + 1))
        if self.schedule == "cosine":
            decay = self.final_lr + (1 - self.final_lr) * (1 + math.cos(math.pi * progress)) / 2
        elif self.schedule == "exponential":
            decay = self.final_lr**progress
        else:
            decay = 1.0
        return self.lr * warm * decay

    def alpha_at(self, step: int) -> float:
        """alpha of a step: constant, or falling geometrically from `alpha_from`."""
        progress = (step - self.start) / max(1, self.end - self.start)
        return self.alpha_from ** (1 - progress) * self.alpha**progress if self.alpha > 0 else 0.0


def stages(config: Config) -> list[Stage]:
    """The phases of a config laid out over `training.steps`.

    With alpha 0 there is nothing to anneal to: `alpha_from` is ignored and the steps stay the same.
    """
    alpha = getattr(config.regularizer, "alpha", 0.0)
    total, phases = config.training.steps, config.phases.sequence
    ends = [round(total * sum(p.share for p in phases[: i + 1])) for i in range(len(phases))]
    starts = [0, *ends[:-1]]
    return [_stage(config, p, alpha, a, b) for p, a, b in zip(phases, starts, ends, strict=True)]


def _stage(config: Config, phase: Phase, alpha: float, start: int, end: int) -> Stage:
    training = config.training
    return Stage(
        start=start,
        end=end,
        lr=training.lr if phase.lr is None else phase.lr,
        schedule=phase.schedule or training.schedule,
        warmup=training.warmup if phase.warmup is None else phase.warmup,
        final_lr=training.final_lr,
        alpha=alpha,
        alpha_from=alpha if phase.alpha_from is None else phase.alpha_from,
        train_layers=None if phase.train_layers is None else tuple(phase.train_layers),
        active_layers=phase.active_layers,
        reset_optimizer=phase.reset_optimizer,
    )


def stage_at(stages: list[Stage], step: int) -> Stage:
    """The stage that a step belongs to; the last one beyond the end."""
    return next((s for s in stages if step < s.end), stages[-1])
