"""Training without a run: the steps of a session one after another, for callers that keep the flow themselves."""

from collections.abc import Iterator

from flowrepro.errors import Diverged
from flowrepro.training.loop import take_step
from flowrepro.training.phases import Stage, stage_at
from flowrepro.training.session import Session


def steps(session: Session) -> Iterator[Stage]:
    """Take the steps that a session has left; after each, the stage that it belonged to. Nothing is written.

    Raises:
        Diverged: a loss or gradient is not finite; the weights are those before that step.
    """
    while session.counters.step < session.training.steps:
        stage = stage_at(session.plan, session.counters.step)
        if wrong := take_step(session, stage):
            raise Diverged(f"diverged at step {session.counters.step} ({wrong})")
        yield stage
