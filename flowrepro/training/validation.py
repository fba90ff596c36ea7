"""Validation on the held-out set: the history's records, the best checkpoint, and what is told of rows without density."""

from torch import Tensor

from flowrepro.data import ImageData
from flowrepro.metrics.likelihood import (
    bits_per_dim,
    finite_mean,
    layer_trace,
    log_prob_of,
    log_probs,
    lost,
    summary,
)
from flowrepro.runs.folder import Run
from flowrepro.training.ending import save
from flowrepro.training.gradients import inexact
from flowrepro.training.phases import Stage
from flowrepro.training.progress import Progress
from flowrepro.training.session import Counters, Session
from flowrepro.training.signals import StopRequest

TRACE_SAMPLES = 256
ROUND_TRIPS = 32
# of held-out rows whose log-likelihood may be -inf in a flow that counts as sound
LOST_SHARE = 0.01


def validate(run: Run, session: Session, progress: Progress, stage: Stage, request: StopRequest) -> None:
    """Append one record to the history; keep the best checkpoint by held-out log-likelihood."""
    training, counters, flow = session.training, session.counters, session.settle()
    held_out, batch_size = session.data.validation(training.validate_samples), training.eval_batch_size
    with request.at_once():
        log_prob = log_prob_of(flow, session.seed, session.device)
        values = log_probs(log_prob, held_out, batch_size, session.device)
        traced = layer_trace(flow, session.data.train[: min(TRACE_SAMPLES, batch_size)].to(session.device))
    val = summary(values)
    record = {
        "step": counters.step,
        "train_log_prob": counters.log_prob_sum / counters.samples if counters.samples else None,
        "term": counters.term_sum / counters.samples if counters.samples else None,
        **{f"val_{name}": value for name, value in val.items()},
        "lr": stage.lr_at(max(0, counters.step - 1)),
        "alpha": stage.alpha_at(counters.step),
        "seconds": round(counters.seconds, 2),
        "layers": traced,
    }
    counters.log_prob_sum = counters.term_sum = 0.0
    counters.samples = 0
    session.flow.train()
    check_inverse(run, session, progress)
    run.append_history(record)
    if val["non_finite"]:
        progress.tell(not_finite(val["n"], val["non_finite"], lost(values)))
    better = _improves(counters, values)
    bits = f" ({bits_per_dim(val['log_prob'], session.data.dim):.3f} bits/dim)"
    told = f"{val['log_prob']:.4g} nats{bits if isinstance(session.data, ImageData) else ''}"
    progress.record(f"validation {told}, best {counters.best:.4g}", record)
    if better:
        save(run, session, "best")


def _improves(counters: Counters, values: Tensor) -> bool:
    """Whether the log-likelihoods of the held-out rows are the best so far; the counters then keep that.

    By the mean of those that are finite, as long as no more than one in a hundred, or a single one, are not: an
    outlier that every trained flow gives density zero must not leave the untrained one the best. Beyond that the
    fewer are lost, the better. At step 0 anything is the best so far, so that a best checkpoint always exists.
    """
    allowed = max(1, int(LOST_SHARE * len(values)))
    excess = max(0, int((~values.isfinite()).sum()) - allowed)
    mean = finite_mean(values)
    better = counters.step == 0 or (-excess, mean) > (-counters.best_excess, counters.best)
    if better:
        counters.best, counters.best_step, counters.best_excess = mean, counters.step, excess
    return better


def not_finite(n: int, count: int, first: list[int]) -> str:
    """One line on the held-out rows whose log-likelihood is not finite."""
    rows = f"row{'s' * (len(first) > 1)} {', '.join(map(str, first))}{', ...' * (count > len(first))}"
    return f"log-likelihoods of {count:,} of {n:,} held-out rows are not finite ({rows}, numbered from 0)"


def check_inverse(run: Run, session: Session, progress: Progress) -> None:
    """Warn where `training.backward=invert` no longer gives the gradients of the loss."""
    if session.training.backward == "invert" and isinstance(session.data, ImageData):
        x = session.data.val[:ROUND_TRIPS].to(session.device)
        if warning := inexact(session.flow, x, session.data.levels, session.training.eval_batch_size):
            progress.tell(warning)
            run.log(warning)


def due(session: Session, stage: Stage) -> bool:
    """Whether a validation comes after the last step, which was of this stage."""
    step = session.counters.step
    return step % session.training.validate_every == 0 or step == stage.end
