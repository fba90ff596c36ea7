"""What a run keeps when it is saved, and when it ends otherwise than it should."""

import shutil
import traceback

from flowrepro.errors import Diverged, FlowreproError
from flowrepro.metrics.likelihood import layer_trace
from flowrepro.runs.folder import Run
from flowrepro.runs.manifest import end_session
from flowrepro.runs.traces import first_not_finite
from flowrepro.training.phases import Stage, stage_at
from flowrepro.training.session import Session

# in sizes of the weights: two copies, two moments, and twice as much while a checkpoint is replaced
CHECKPOINT_SIZE = 10


def save(run: Run, session: Session, which: str) -> None:
    """Write a checkpoint; raise Diverged instead if the weights are not finite."""
    if not session.finite:
        stage = stage_at(session.plan, max(0, session.counters.step - 1))
        diverge(run, session, stage, "weights that are not finite")
    session.save(run, which)


def diverge(run: Run, session: Session, stage: Stage, what: str) -> None:
    """Record where a run diverged, with the rows of the batch and what the layers made of it, and raise Diverged."""
    step = session.counters.step
    indices = [] if session.data.fresh else session.batches.at(step).tolist()
    layers = layer_trace(session.flow.slice(stage.active_layers), session.drawn(step).x)
    where = f", first in layer {lost}" if (lost := first_not_finite(layers)) else ""
    message = (
        f"diverged at step {step} ({what}{where}); the last good checkpoint is kept; "
        "try a smaller training.lr, training.clip=1 or stronger regularisation"
    )
    run.set_status("diverged", step=step, error=message, batch=indices, layers=layers)
    end_session(run, "diverged", step)
    raise Diverged(f"{run.path}: {message}")


def check_space(run: Run, session: Session) -> None:
    """Raise FlowreproError if the disk has no room for the checkpoints."""
    weights = sum(p.numel() * p.element_size() for p in session.flow.parameters())
    free = shutil.disk_usage(run.path).free
    if free < CHECKPOINT_SIZE * weights:
        raise FlowreproError(
            f"{run.path}: the checkpoints need about {CHECKPOINT_SIZE * weights / 1e6:,.0f} MB, "
            f"and {free / 1e6:,.0f} MB are free; make room, or choose another output_dir=..."
        )


def record_end(run: Run, error: BaseException) -> None:
    """Say in the folder of a run that was under way why it is not any more."""
    if run.state != "running":
        return
    ours = isinstance(error, FlowreproError | KeyboardInterrupt)
    status = {k: v for k, v in run.status.items() if k in ("step", "steps")}
    state = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
    run.set_status(state, **status, error=str(error) if ours else repr(error))
    run.log(str(error) if ours else traceback.format_exc())
