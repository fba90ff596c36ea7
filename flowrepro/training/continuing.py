"""A run that has only more steps than a finished one continues from where that one ended.

At a constant learning rate and alpha both take the same steps, so that the longer run ends bit for bit as if it had been
trained alone. The shorter one must have been trained by the same code, versions and hardware.
"""

from contextlib import suppress
from typing import Any

from flowrepro.config.schema import Config
from flowrepro.errors import CheckpointError, Held, UsageError
from flowrepro.runs import checkpoints, lock
from flowrepro.runs.folder import Run, values
from flowrepro.runs.manifest import CONTINUED_FROM, made_with, manifest, write_manifest
from flowrepro.training.session import Session

LENGTHS = ("training.steps", "training.steps_per_layer")
# other ways to compute the same
ROUNDING = ("backward", "compile", "cuda_graph")


def shorter(run: Run, config: Config, device: str, fingerprint: str | None = None) -> Run | None:
    """The longest finished run beside a new one from which that can continue; None if there is none.

    Args:
        run: the new run.
        config: the new run's.
        device: on which it is trained.
        fingerprint: of its data; None leaves that unchecked.
    """
    if not _steady(config):
        return None
    found = {}
    for folder in run.path.parent.glob(f"{run.name.rpartition('-')[0]}-*"):
        other = Run(folder)
        status = other.status
        # reading a config takes long where there are many runs
        if status.get("state") == "completed" and _is_part(status.get("steps"), config):
            with suppress(UsageError):  # a config that cannot be read
                if can_continue(config, other.config) and _same(other, device, fingerprint):
                    found[status["steps"]] = other
    return found[max(found)] if found else None


def can_continue(config: Config, other: Config) -> bool:
    """Whether a run can continue from the end of another one, which has the same values but fewer steps."""
    return (
        _steady(config)
        and _is_part(other.training.steps, config)
        and _but_length(config) == _but_length(other)
    )


def continue_from(other: Run, run: Run, session: Session) -> bool:
    """Give a new run what a shorter one has at its end: weights, counters, best checkpoint, history and sessions.

    Returns False, with nothing done, if another process has begun to retrain the shorter run, or if it is damaged.
    """
    try:
        with lock.locked(other.path):
            best, history, sessions = _best(other), other.history(), manifest(other)
            if best is None:
                return False
            session.restore(other)
    except Held:
        return False
    checkpoints.save(run.checkpoint("best"), best)
    run.replace_history(history)
    write_manifest(run, sessions | {CONTINUED_FROM: other.name})
    # from here on it is as if it had been interrupted
    session.save(run, "last")
    return True


def _best(run: Run) -> dict[str, Any] | None:
    """The state of a finished run's best checkpoint; None if it has not finished any more, or a checkpoint is damaged."""
    with suppress(CheckpointError):
        checkpoints.verify(run.checkpoint("last"))
        return checkpoints.load(run.checkpoint("best")) if run.state == "completed" else None
    return None


def continues_from(other: Run) -> str:
    """The line of a command that says so."""
    return f"continues  from {other.name}, the same run with fewer steps"


def _steady(config: Config) -> bool:
    """Whether no step depends on how many there are."""
    phases = config.phases.sequence
    return (
        len(phases) == 1
        and (phases[0].schedule or config.training.schedule) == "constant"
        and phases[0].alpha_from is None
        and phases[0].each_layer is None
        and not config.training.compile  # only long phases are
    )


def _is_part(steps: Any, config: Config) -> bool:
    """Whether a run of so many steps is the first part of this one, with its last validation where this one has one too."""
    whole, every = config.training.steps, config.training.validate_every
    return isinstance(steps, int) and 0 < steps < whole and steps % every == 0


def _but_length(config: Config) -> dict[str, Any]:
    counting = {key: value for key, value in values(config).items() if key not in LENGTHS}
    return counting | {name: getattr(config.training, name) for name in ROUNDING}


def _same(run: Run, device: str, fingerprint: str | None) -> bool:
    """Whether a run was trained on these data, and in all its sessions by what would train it now."""
    told, now = manifest(run), made_with(device)
    return (
        fingerprint in (None, told.get("data"))
        and run.config.run_name == run.name  # else a data file has changed
        and all(session | now == session for session in told.get("sessions", [{}]))
    )
