"""The training loop: one for all models, regularizers and phases."""

import math
import time
from contextlib import closing, nullcontext, suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from flowrepro.config.quoting import place_of
from flowrepro.config.schema import Config
from flowrepro.data import Data, ImageData, load_data, notes
from flowrepro.device import choose_device
from flowrepro.errors import Diverged, Stopped
from flowrepro.metrics.likelihood import bits_per_dim, log_prob_of, log_probs, lost, summary
from flowrepro.runs.data import remember
from flowrepro.runs.folder import Run, claimed, mark_latest, started_over
from flowrepro.runs.manifest import begin_session, check_data, end_session
from flowrepro.training import tensorboard
from flowrepro.training.bfloat16 import slow_bf16
from flowrepro.training.continuing import continue_from, continues_from, shorter
from flowrepro.training.distributed import World, claimed_together, world
from flowrepro.training.ending import check_space, diverge, record_end, save
from flowrepro.training.large_vectors import large_vectors
from flowrepro.training.phases import Stage, stage_at
from flowrepro.training.progress import Progress
from flowrepro.training.session import FULL_BATCH, Session
from flowrepro.training.signals import Interrupted, StopRequest, stop_request
from flowrepro.training.validation import check_inverse, due, not_finite, validate

HEARTBEAT_SECONDS = 5.0


def train(config: Config, bar: bool | None = None) -> dict[str, Any]:
    """Train the run of a config, or resume it, or leave it alone if it is finished.

    Returns the run's result: state, step, log-likelihoods in nats per sample with standard errors, and bits/dim.

    Args:
        config: the run's.
        bar: whether to show a bar of progress (None: on a terminal).

    Raises:
        Diverged: a loss or gradient is not finite; the last good checkpoint is kept.
        Stopped: Ctrl-C or SIGTERM; the state of the last finished step is saved.
        UsageError, DataError, CheckpointError: see flowrepro/errors.py.
    """
    device = choose_device(config.device, config.threads)
    tensorboard.check(config.training.log)
    with world(device) as together, claimed_together(claimed(config), together) as run:
        if run.state == "completed" and not config.overwrite:
            mark_latest(run)
            print(f"already finished: {run.path} (overwrite=true retrains)")
            return _told(run, config)
        if run.state == "diverged" and not config.overwrite:
            raise Diverged(
                f"{run.path} diverged before: {run.status.get('error')}; overwrite=true retrains from scratch"
            )
        try:
            _train(config, run, device, together, bar)
        except BaseException as error:
            record_end(run, error)
            raise
        return _told(run, config)


def _train(config: Config, run: Run, device: str, together: World, bar: bool | None) -> None:
    # everything is checked before an old run gives way
    with together.in_turn():
        data = load_data(config.dataset, config.dtype, config.seed, config.model.takes_images)
    # torch's optimizers take a second to import
    opening = _opening(run, config, data)
    print("\n".join(opening), flush=True)
    replaces = config.overwrite and run.state != "new"
    if not replaces:
        check_data(run, data.fingerprint)
    session = Session(config, data, device, together)
    check_space(run, session)
    resumes = not replaces and _restored(run, config, session, opening)
    training = session.training
    wanted = training.log == tensorboard.NAME and together.first
    board = tensorboard.Board(run.path, run.history() if resumes else []) if wanted else None
    with (
        stop_request(patient=together.size > 1) as request,
        closing(
            Progress(session.counters.step, training.steps, training.log_seconds, bar, board)
        ) as progress,
    ):
        with started_over(run, config) if replaces else nullcontext():
            _begin(run, config, session, resumes)
            _introduce(run, config, session, opening)
            _first(run, session, progress, request, resumes)
        _steps(run, session, progress, request)
    _finish(run, session)


def _restored(run: Run, config: Config, session: Session, opening: list[str]) -> bool:
    """Go back to where the run was interrupted, or to the end of a shorter one; False if it is at its start."""
    if run.checkpoint("last").exists():
        session.restore(run)
        return True
    if config.overwrite or session.together.size > 1:
        return False
    other = shorter(run, config, session.device, session.data.fingerprint)
    if other is None or not continue_from(other, run, session):
        return False
    opening.append(continues_from(other))
    print(opening[-1], flush=True)
    return True


def _begin(run: Run, config: Config, session: Session, resumes: bool) -> None:
    """Write what a session begins with."""
    counters = session.counters
    if not resumes:
        # of sessions that were killed before they saved anything
        (run.path / "manifest.json").unlink(missing_ok=True)
    run.set_status("running", step=counters.step, steps=session.training.steps)
    run.cut_history(counters.step if resumes else -1)
    mark_latest(run)
    parameters = sum(p.numel() for p in session.flow.parameters())
    columns = getattr(session.data, "columns", ())
    begin_session(run, session.device, session.data.fingerprint, parameters, columns)
    remember(run, config.dataset)


def _first(run: Run, session: Session, progress: Progress, request: StopRequest, resumes: bool) -> None:
    """Before the first step: a validation and a checkpoint of a new run, or what an interrupted one has left to do."""
    step, plan = session.counters.step, session.plan
    session.flow.train()
    if not resumes:
        validate(run, session, progress, plan[0], request)
        save(run, session, "last")
        return
    check_inverse(run, session, progress)
    stage = stage_at(plan, max(0, step - 1))
    if due(session, stage) and [record["step"] for record in run.history()][-1:] != [step]:
        validate(run, session, progress, stage, request)


def _steps(run: Run, session: Session, progress: Progress, request: StopRequest) -> None:
    """Run from the current step to the last, with validation, saving, heartbeat, time budget and signals."""
    training, counters, plan = session.training, session.counters, session.plan
    began = saved = beaten = time.monotonic()
    while counters.step < training.steps:
        before = time.monotonic()
        stage = stage_at(plan, counters.step)
        _take_step(run, session, stage)
        counters.seconds += time.monotonic() - before
        if due(session, stage):
            # one that a signal cuts short is done when the run resumes
            with suppress(Interrupted):
                validate(run, session, progress, stage, request)
        progress.update(counters.step)
        now = time.monotonic()
        if now - beaten > HEARTBEAT_SECONDS:
            beaten = now
            run.set_status("running", step=counters.step, steps=training.steps)
        if now - saved > training.checkpoint_seconds:
            save(run, session, "last")
            saved = time.monotonic()
        if stop := session.together.agree(request.signal):
            _stop(run, session, "interrupted")
            raise Stopped(f"stopped at step {counters.step}; saved in {run.path}; {_go_on()}", 128 + stop)
        if _over(session, now - began) and counters.step < training.steps:
            return _stop(run, session, "paused")
    save(run, session, "last")


def _over(session: Session, seconds: float) -> bool:
    """Whether the time budget of this session is used up on the clock of any process."""
    budget = session.training.max_minutes
    return budget is not None and bool(session.together.agree(seconds > 60 * budget))


def _take_step(run: Run, session: Session, stage: Stage) -> None:
    """`take_step`; raises Diverged if it takes none, and records that in the run."""
    if wrong := take_step(session, stage):
        diverge(run, session, stage, wrong)


def take_step(session: Session, stage: Stage) -> str:
    """One optimizer step; none, and the answer says why, if the loss or a gradient is not finite."""
    counters, step = session.counters, session.counters.step
    if stage is not session.stage:
        session.enter(stage)
    for group in session.optimizer.param_groups:
        group["lr"] = stage.lr_at(step)
    found = backward(session, stage, step)
    whole = session.uses == FULL_BATCH
    norm = gradient_norm(session.parameters, 0.0 if whole else session.training.clip)
    if not (math.isfinite(found.loss) and norm.isfinite()):
        return f"loss {found.loss:.4g}, gradient norm {norm.item():.4g}"
    if not whole:
        session.optimizer.step()
    elif wrong := line_search(session, stage, found.loss):
        return wrong
    session.average()
    counters.step += 1
    counters.log_prob_sum += found.log_prob_sum
    counters.term_sum += found.term_sum
    counters.samples += found.samples
    return ""


def line_search(session: Session, stage: Stage, loss: float) -> str:
    """One iteration of L-BFGS; none, and the answer says why, if it ends where weights are not finite."""
    step, before = session.counters.step, [p.detach().clone() for p in session.parameters]
    known = [loss]  # with its gradients, of the point that the iteration starts from

    def closure() -> float:
        at = known.pop() if known else backward(session, stage, step).loss
        for p in session.parameters:
            # the optimizer takes views of them
            p.grad = None if p.grad is None else p.grad.contiguous()
        return at

    session.optimizer.step(closure)
    if session.finite:
        return ""
    with torch.no_grad():
        for p, old in zip(session.parameters, before, strict=True):
            p.copy_(old)
    return "the line search found no finite weights"


class Sums(NamedTuple):
    """The loss of a step, and log-likelihood and regularizer summed over the samples of its batch."""

    loss: float
    log_prob_sum: float
    term_sum: float
    samples: int


def backward(session: Session, stage: Stage, step: int) -> Sums:
    """Set the gradients of the mean loss over the batch of a step; all processes get the same ones."""
    together, batch, alpha = session.together, session.batch(step), stage.alpha_at(step)
    if recorded := None if alpha > 0 else session.recorded_for(batch.x):
        log_prob = recorded(batch.x) + batch.dlogp
        term, loss = torch.zeros_like(log_prob), -log_prob.mean()
    else:
        regularizer = session.regularizer if alpha > 0 else session.plain
        log_prob, term = regularizer(session.trained, batch.x, session.probes(step))
        log_prob = log_prob + batch.dlogp
        # summed over the processes, this is the mean over the batch
        loss = (alpha * term - log_prob).mean() * batch.weight
        session.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        together.sum_gradients(session.parameters)
    counted = [bool(batch.weight) * values.detach().sum() for values in (log_prob, term)]
    total, log_prob_sum, term_sum = together.sums(loss.detach(), *counted)
    return Sums(total, log_prob_sum, term_sum, batch.size)


def gradient_norm(parameters: list[nn.Parameter], clip: float) -> Tensor:
    """The norm of all gradients together; they are scaled down to `clip` if that is set and smaller."""
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if clip:
        torch.nn.utils.clip_grads_with_norm_(parameters, clip, norm)
    return norm


def _stop(run: Run, session: Session, state: str) -> None:
    session.settle()
    save(run, session, "last")
    run.set_status(state, step=session.counters.step, steps=session.training.steps)
    end_session(run, state, session.counters.step)


def _finish(run: Run, session: Session) -> None:
    """Evaluate the training and held-out sets, if all steps are done."""
    training, counters = session.training, session.counters
    if counters.step < training.steps:
        return
    result: dict[str, Any] = {
        "best_val_log_prob": counters.best,
        "best_step": counters.best_step,
        "best_of": len(session.data.validation(training.validate_samples)),
    }
    for split, x in session.data.reported.items():
        log_prob = log_prob_of(session.applied().eval(), session.seed, session.device)
        values = log_probs(log_prob, x, training.eval_batch_size, session.device)
        found = summary(values)
        result |= {f"{split}_{name}": found[name] for name in ("n", "log_prob", "se", "non_finite")}
        result[f"{split}_lost"] = lost(values)
        result[f"{split}_bits_per_dim"] = bits_per_dim(found["log_prob"], session.data.dim)
    result["minutes"] = round(counters.seconds / 60, 2)
    run.set_status("completed", step=counters.step, steps=training.steps, result=result)
    end_session(run, "completed", counters.step)


def _opening(run: Run, config: Config, data: Data | ImageData) -> list[str]:
    """The first lines of a run: where it is, and on what data."""
    large = large_vectors(data, config.model.name)
    return [
        f"run        {run.path}",
        f"data       {config.dataset.name}: {data.source}, fingerprint {data.fingerprint}",
        *(f"note       {note}" for note in (*notes(data, config), *([large] if large else []))),
    ]


def _introduce(run: Run, config: Config, session: Session, opening: list[str]) -> None:
    """Print and log what is trained, and log the opening."""
    counters = session.counters
    parameters = sum(p.numel() for p in session.flow.parameters())
    begin = f"resumes at step {counters.step} of" if counters.step else "steps"
    remark = slow_bf16(config, session.device)
    lines = [
        *([f"note       {remark}"] if remark else []),
        f"model      {config.model.name}, {parameters:,} parameters, {next(session.flow.parameters()).dtype}",
        f"training   {begin} {config.training.steps}, seed {config.seed}, scale {config.scale.name}, "
        f"{session.device}, threads {torch.get_num_threads()}",
    ]
    lines = [line.replace("torch.", "") for line in lines]
    print("\n".join(lines), flush=True)
    for line in (*opening, *lines):
        run.log(line)


def _told(run: Run, config: Config) -> dict[str, Any]:
    """The run's state and results; prints the last lines of the command."""
    status = run.status
    result = status.get("result") or {}
    if status.get("state") == "paused":
        print(f"paused at step {status['step']}/{status['steps']} by training.max_minutes; {_go_on()}")
    elif result:
        # older runs do not record it
        on = (
            f", on the first {result['best_of']:,}"
            if result.get("best_of", 0) < result.get("val_n", 0)
            else ""
        )
        print(
            f"log-likelihood  train {result['train_log_prob']:.4f}  validation {result['val_log_prob']:.4f} "
            f"± {result['val_se']:.2g} nats  (best {result['best_val_log_prob']:.4f} at step {result['best_step']}{on})"
        )
        if config.model.takes_images:
            train, val = result["train_bits_per_dim"], result["val_bits_per_dim"]
            print(f"bits/dim        train {train:.4f}  validation {val:.4f}")
        if count := result.get("val_non_finite"):
            print(f"not finite      {not_finite(result['val_n'], count, result['val_lost'])}")
        print(f"checkpoint      {run.checkpoint('best')}")
        place = place_of(config.output_dir)
        print(f"next            flowrepro evaluate run={run.name}{place}")
    return {"run": run.name, "state": status.get("state"), "step": status.get("step"), **result}


def _go_on() -> str:
    return "rerun the same command to resume (not with overwrite=true)"
