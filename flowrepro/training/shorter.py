"""A run that differs from a finished one only in its larger number of steps goes on from where that one ended.

At a constant learning rate and alpha both take the same steps, so that the longer run ends bit for bit as if it had been
trained alone (on as many CPU threads).
"""

from typing import Any

from flowrepro.config.schema import Config
from flowrepro.errors import CheckpointError, UsageError
from flowrepro.runs import checkpoints
from flowrepro.runs.folder import Run, values
from flowrepro.runs.manifest import GOES_ON_FROM, manifest, write_manifest
from flowrepro.training.session import Session


def shorter(run: Run, config: Config) -> Run | None:
    """The longest finished run beside a new one from which that can go on; None if there is none."""
    found = {}
    for folder in run.path.parent.glob(f"{run.name.rpartition('-')[0]}-*"):
        other = Run(folder)
        try:
            if other.state == "completed" and goes_on(config, other.config) and _sound(other):
                found[other.config.training.steps] = other
        except UsageError:  # a config that cannot be read
            continue
    return found[max(found)] if found else None


def goes_on(config: Config, other: Config) -> bool:
    """Whether a run can go on from the end of another one, which has the same values but fewer steps."""
    steps = other.training.steps
    return (
        steps < config.training.steps
        and _steady(config)
        # else the other has validated at its end, where this one would not
        and steps % config.training.validate_every == 0
        and _but_steps(config) == _but_steps(other)
    )


def bring(run: Run, session: Session, other: Run) -> None:
    """Give a new run what a shorter one has at its end: weights, counters, best checkpoint, history and sessions.

    It has no `last` checkpoint before it saves one: if it is killed until then, the same command begins again here.
    """
    session.restore(other)
    checkpoints.save(run.checkpoint("best"), checkpoints.load(other.checkpoint("best")))
    run.cut_history(-1)
    for record in other.history():
        run.append_history(record)
    write_manifest(run, manifest(other) | {GOES_ON_FROM: other.name})


def _steady(config: Config) -> bool:
    """Whether nothing changes from step to step that depends on their number."""
    phases = config.phases.sequence
    return (
        len(phases) == 1
        and (phases[0].schedule or config.training.schedule) == "constant"
        and phases[0].alpha_from is None
        and phases[0].each_layer is None
        and not config.training.compile  # only long phases are
    )


def _but_steps(config: Config) -> dict[str, Any]:
    return {key: value for key, value in values(config).items() if key != "training.steps"}


def _sound(run: Run) -> bool:
    try:
        return bool(run.history()) and all(checkpoints.verify(run.checkpoint(w)) for w in ("last", "best"))
    except CheckpointError:
        return False
