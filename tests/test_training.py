"""The training loop through its public door: stopping, going on bit for bit, divergence, phases, schedules."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from flowrepro.config.compose import compose
from flowrepro.data import load as load_data
from flowrepro.errors import DataError, Diverged, FlowreproError, Stopped, UsageError
from flowrepro.flows.core import Chain
from flowrepro.flows.models import build
from flowrepro.randomness import generator, stream
from flowrepro.runs.checkpoints import load
from flowrepro.runs.folder import Run, claimed, find
from flowrepro.runs.trained import load_flow
from flowrepro.training import compiling, ending, loop, phases, session, validation
from flowrepro.training.loop import train
from flowrepro.training.order import Batches
from flowrepro.training.phases import stage_at

QUICK = [
    "dataset=sine",
    "model.layers=2",
    "scale=smoke",
    "dataset.n_train=450",
    "dataset.n_val=100",
    "threads=1",
    "training.steps=24",
    "training.validate_every=5",
    "training.checkpoint_seconds=0",
    "training.ema=0.9",
]


def stages(config, chain=None):
    alpha = getattr(config.regularizer, "alpha", 0.0)
    return phases.stages(config.phases.sequence, config.training, alpha, chain)


LAYERS = [
    "dataset=square",
    "dataset.fresh=true",
    "model=coupling",
    "model.layers=3",
    "model.hidden=[8]",
    "model.rotation=oas",
    "training.batch_size=64",
    "training.lr=1e-2",
]


def quick(*words):
    return compose([*QUICK, *words])


def weights(run: Run, which: str = "last"):
    state = load(run.checkpoint(which))
    return {k: state[k] for k in ("flow", "training", "optimizer") if k in state}


def equal(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def timeless(run: Run):
    return [{k: v for k, v in record.items() if k != "seconds"} for record in run.history()]


def stop_at(steps: list[int], monkeypatch) -> None:
    """Have SIGTERM arrive after each of these steps, which are taken from the list one by one."""
    take_step = loop._take_step

    def stopping(run, session, *rest):
        take_step(run, session, *rest)
        if steps and session.counters.step == steps[0]:
            steps.pop(0)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop, "_take_step", stopping)


@pytest.fixture
def undisturbed(workdir):
    train(quick("output_dir=undisturbed"))
    return find("latest", workdir / "undisturbed" / "runs")


@pytest.mark.parametrize(
    "stops", [[1], [5], [7], [3, 4, 13, 23]]
)  # an epoch has three steps, a validation five
def test_interrupted_and_continued_equals_undisturbed_bit_for_bit(undisturbed, workdir, monkeypatch, stops):
    stop_at(stops, monkeypatch)
    while stops:
        with pytest.raises(Stopped) as stopped:
            train(quick())
        assert stopped.value.code == 143
        assert find("latest", workdir / "outputs" / "runs").state == "interrupted"
    result = train(quick())
    run = find("latest", workdir / "outputs" / "runs")
    assert result["state"] == "completed"
    for which in ("last", "best"):
        assert equal(weights(run, which), weights(undisturbed, which))
    assert timeless(run) == timeless(undisturbed)


@pytest.mark.parametrize(
    ("phases", "stops"), [("layerwise", [8, 13]), ("progressive", [16]), ("layerwise_start", [1])]
)  # a layer has eight steps; four in the last
def test_layers_and_rotations_in_turn_resume_bit_for_bit(workdir, monkeypatch, phases, stops):
    check_resumes(workdir, monkeypatch, stops, *LAYERS, f"phases={phases}")


def check_resumes(workdir, monkeypatch, stops, *words):
    """A run that is stopped after these steps, and goes on each time, ends as one that is not."""
    train(quick(*words, "output_dir=undisturbed"))
    stop_at(stops, monkeypatch)
    while stops:
        with pytest.raises(Stopped):
            train(quick(*words))
    assert train(quick(*words))["state"] == "completed"
    stopped, whole = (find("latest", workdir / o / "runs") for o in ("outputs", "undisturbed"))
    assert all(equal(weights(stopped, which), weights(whole, which)) for which in ("last", "best"))
    assert timeless(stopped) == timeless(whole)


def test_kill_9_in_mid_training_and_the_same_command(workdir):
    words = [*QUICK, "training.steps=4000", "training.validate_every=200", "training.checkpoint_seconds=0.2"]
    command = [sys.executable, "-m", "flowrepro", "train", *words]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            [str(Path(loop.__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        ),
        "OMP_NUM_THREADS": "1",
    }
    train(compose([*words, "output_dir=undisturbed"]))
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while not list(workdir.glob("outputs/runs/*/checkpoints/last.pt")) or _step(workdir) < 250:
        assert process.poll() is None, "finished before it could be killed"
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert find("latest", workdir / "outputs" / "runs").state == "running"
    assert train(compose(words))["state"] == "completed"
    killed, whole = (find("latest", workdir / o / "runs") for o in ("outputs", "undisturbed"))
    assert len(json.loads((killed.path / "manifest.json").read_text())["sessions"]) == 2
    assert equal(weights(killed), weights(whole))
    assert timeless(killed) == timeless(whole)


def _step(workdir) -> int:
    history = next(iter(workdir.glob("outputs/runs/*/history.jsonl")), None)
    lines = history.read_text().splitlines() if history else []
    return json.loads(lines[-1])["step"] if lines else 0


def test_a_finished_run_is_left_alone_and_overwrite_starts_again(workdir, capsys):
    first = train(quick())
    checkpoint = find("latest", workdir / "outputs" / "runs").checkpoint("last")
    stamp = checkpoint.stat().st_mtime_ns
    assert train(quick()) == first
    assert "already finished" in capsys.readouterr().out
    assert checkpoint.stat().st_mtime_ns == stamp
    train(quick("overwrite=true"))
    assert checkpoint.stat().st_mtime_ns != stamp


def test_a_second_process_on_the_same_run_refuses(workdir):
    with claimed(quick()), pytest.raises(UsageError, match="another process"):
        train(quick())


def test_a_default_that_changed_since_is_told(workdir):
    train(quick())
    file = find("latest", workdir / "outputs" / "runs").path / "config.yaml"
    file.write_text(file.read_text().replace("lr: 0.001", "lr: 0.002"))
    with pytest.raises(UsageError, match=r"training.lr 0.002 -> 0.001.*overwrite=true"):
        train(quick())


def as_saved_of_old(run: Run, levels: int) -> None:
    """Turn a run's config.yaml into one of the time when `realnvp` took vectors or, with levels, images."""
    file = run.path / "config.yaml"
    tree = yaml.safe_load(file.read_text())
    model = tree["model"]
    if levels:
        model = {
            "layers": model["steps"],
            "passive": 1,
            "hidden": [model["hidden"]] * 2,
            "scale": model["scale"],
            "batch_norm": model["act_norm"],
            "rotation": "permutation",
        }
    tree["model"] = {**model, "name": "realnvp", "levels": levels}
    file.write_text(yaml.safe_dump(tree))


def test_a_realnvp_run_of_old_is_resumed(workdir, monkeypatch):
    words = ["model=realnvp", "model.layers=2", "model.hidden=[8]"]
    stop_at([7], monkeypatch)
    with pytest.raises(Stopped):
        train(quick(*words))
    as_saved_of_old(find("latest", workdir / "outputs" / "runs"), levels=0)
    assert train(quick(*words))["state"] == "completed"


def test_a_realnvp_run_of_old_on_images_is_loaded(workdir):
    words = ["dataset=digits", "model=realnvp_images", "scale=smoke", "model.levels=2", "training.steps=2"]
    train(compose([*words, "dataset.n_train=64", "dataset.n_val=32", "threads=1"]))
    run = find("latest", workdir / "outputs" / "runs")
    before = load_flow(run, "best")
    as_saved_of_old(run, levels=2)
    x = before.sample(3, generator=generator(0))
    assert torch.equal(load_flow(run, "best").log_prob(x), before.log_prob(x))


def test_a_time_budget_pauses_and_never_finishes(workdir, capsys):
    words = [*QUICK, "training.max_minutes=0.0000001"]
    assert train(compose(words))["state"] == "paused"
    assert "same command" in capsys.readouterr().out
    assert train(quick())["state"] == "completed"  # the budget is no part of the run's identity


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_nan_stops_before_the_optimizer_and_keeps_the_last_good_checkpoint(workdir, monkeypatch, where):
    take_step, seen = loop._take_step, {}

    def poison(run, session, *rest):
        if session.counters.step == 12:
            seen["before"] = {k: v.clone() for k, v in session.flow.state_dict().items()}
            plain = session.regularizer

            def broken(flow, x, source):
                log_prob, term = plain(flow, x, source)
                if where == "loss":
                    return log_prob * math.nan, term
                # sqrt at zero: the value is finite, its gradient is not
                zero = (next(flow.parameters()) * 0).abs().sum().sqrt()
                return log_prob + zero, term

            monkeypatch.setattr(session, "regularizer", broken)
            seen["session"] = session
        take_step(run, session, *rest)

    monkeypatch.setattr(loop, "_take_step", poison)
    with pytest.raises(Diverged, match="step 12") as error:
        train(quick())
    assert error.value.code == 5
    run = find("latest", workdir / "outputs" / "runs")
    assert run.state == "diverged"
    assert len(run.status["batch"]) == 200
    assert equal(seen["session"].flow.state_dict(), seen["before"])
    assert load(run.checkpoint("last"))["step"] == 12
    with pytest.raises(Diverged, match="overwrite=true"):
        train(quick())


def test_history_has_curves_and_the_trace_of_every_layer(undisturbed):
    history = undisturbed.history()
    assert [r["step"] for r in history] == [0, 5, 10, 15, 20, 24]
    assert {"val_log_prob", "val_se", "val_worst", "lr", "alpha", "layers"} <= history[-1].keys()
    assert len(history[-1]["layers"]) == 6  # centre, two hidden layers of two, the last affine
    assert history[-1]["val_log_prob"] > history[0]["val_log_prob"]


def test_validation_is_a_mean_over_samples_not_over_batches(workdir):
    """A last batch of 10 must not count as much as one of 90 (the trap of the authors' code)."""
    results = [train(quick(f"training.eval_batch_size={b}", f"output_dir=out{b}")) for b in (90, 100)]
    assert results[0]["val_log_prob"] == pytest.approx(results[1]["val_log_prob"], rel=1e-12)


def test_every_sample_is_seen_once_an_epoch_and_orders_differ():
    batches = Batches(45, 20, seed=0)
    epochs = [torch.cat([batches.at(3 * e + i) for i in range(3)]) for e in range(2)]
    assert [len(batches.at(i)) for i in range(3)] == [20, 20, 5]
    assert all(sorted(e.tolist()) == list(range(45)) for e in epochs)
    assert not torch.equal(*epochs)
    assert torch.equal(Batches(45, 20, seed=0).at(4), epochs[1][20:40])


@pytest.mark.parametrize(
    ("n", "sizes"), [(45, [20, 25]), (50, [20, 20, 10]), (41, [20, 21]), (40, [20, 20]), (7, [7])]
)
def test_statistics_of_a_batch_never_come_from_a_few_rows(n, sizes):
    """A last batch of less than half the size joins the one before, where layers take statistics of their batch."""
    batches = Batches(n, 20, seed=0, fold=True)
    epoch = [batches.at(len(sizes) + i) for i in range(len(sizes))]
    assert [len(batch) for batch in epoch] == sizes and batches.epoch(2 * len(sizes)) == 2
    assert sorted(torch.cat(epoch).tolist()) == list(range(n))


def test_only_flows_with_batch_statistics_fold_and_they_refuse_tiny_batches(workdir):
    words = ["dataset.n_train=401", "training.steps=1"]
    for model, per_epoch in (("realnvp", 2), ("dense_asinh", 3)):
        config = quick(*words, f"model={model}")
        made = session.Session(config, load_data(config.dataset, torch.float64), "cpu")
        assert made.batches.per_epoch == per_epoch
    with pytest.raises(UsageError, match="at least 3 rows, not 2"):
        train(quick(*words, "model=realnvp", "training.batch_size=2"))


def test_streams_of_different_purposes_differ():
    assert (
        len({stream(0, "order", 1), stream(0, "probes", 1), stream(1, "order", 1), stream(0, "order", 2)})
        == 4
    )
    assert torch.equal(torch.rand(3, generator=generator(0, "a")), torch.rand(3, generator=generator(0, "a")))


def test_phases_lay_out_alpha_and_learning_rate():
    config = compose(["phases=annealed", "training.steps=1000", "training.lr=0.01", "regularizer.alpha=5e-5"])
    annealing, decaying = stages(config)
    assert (annealing.start, annealing.end, decaying.end) == (0, 600, 1000)
    assert annealing.alpha_at(0) == pytest.approx(0.5)
    assert annealing.alpha_at(300) == pytest.approx(math.sqrt(0.5 * 5e-5))
    assert decaying.alpha_at(700) == pytest.approx(5e-5)
    assert annealing.lr_at(0) < annealing.lr_at(50) < annealing.lr_at(100) == pytest.approx(0.01)
    assert decaying.lr_at(800) == pytest.approx(0.01 * (0.01 + 0.99 / 2))
    assert stage_at(stages(config), 599) is not stage_at(stages(config), 600)
    exponential = stages(
        compose(
            ["dataset=moons", "training.schedule=exponential", "training.steps=100", "training.final_lr=0.25"]
        )
    )[0]
    assert exponential.lr_at(50) == pytest.approx(0.5 * exponential.lr)


def test_annealing_is_skipped_at_alpha_zero():
    annealing, _ = stages(compose(["phases=annealed", "regularizer.alpha=0"]))
    assert annealing.alpha_at(0) == annealing.alpha_at(10) == 0


def test_frozen_and_inactive_layers_do_not_move(workdir):
    words = [
        "phases.sequence=[{share:0.5,train_layers:[1],active_layers:4},{share:0.5,reset_optimizer:true}]"
    ]
    config = compose([*QUICK, *words, "training.ema=0"])
    snapshots, take_step = {}, loop._take_step

    def record(run, session, *rest):
        take_step(run, session, *rest)
        snapshots[session.counters.step] = {k: v.clone() for k, v in session.flow.state_dict().items()}

    loop_take = pytest.MonkeyPatch()
    loop_take.setattr(loop, "_take_step", record)
    train(config)
    loop_take.undo()
    moved = [
        {k for k in snapshots[a] if not torch.equal(snapshots[a][k], snapshots[b][k])}
        for a, b in ((1, 12), (12, 24))
    ]
    assert {k.split(".")[1] for k in moved[0]} == {"1"}
    assert {k.split(".")[1] for k in moved[1]} == {"1", "3", "5"}


def test_a_phase_for_each_coupling():
    config = compose([*LAYERS, "phases=layerwise", "training.steps=30"])
    chain = build(config.model, (2,), None, generator(0), torch.float64).chain
    alone = stages(config, chain)  # centre, then rotation and coupling three times
    assert [(s.start, s.end) for s in alone] == [(0, 10), (10, 20), (20, 30)]
    assert [s.active_layers for s in alone] == [3, 5, 7]
    assert [s.train_layers for s in alone] == [(0, 1, 2), (3, 4), (5, 6)]
    assert [s.rotate for s in alone] == [(0, 1), (3,), (5,)]
    config.phases.sequence[0].each_layer = "together"
    assert [s.train_layers for s in stages(config, chain)] == [tuple(range(n)) for n in (3, 5, 7)]
    assert sum(s.end - s.start for s in stages(config, chain)) == 30
    with pytest.raises(UsageError, match="couplings of vectors"):
        stages(config, Chain())
    config.phases.sequence[0].each_layer, config.phases.sequence[0].rotate = None, [9]
    with pytest.raises(UsageError, match=r"rotate=\[9\].*7 layers"):
        stages(config, chain)


def test_layerwise_training_moves_one_coupling_at_a_time_and_rotates_as_it_comes(workdir, monkeypatch):
    take_step, states = loop._take_step, {}

    def record(run, session, *rest):
        states[session.counters.step] = {k: v.clone() for k, v in session.flow.state_dict().items()}
        take_step(run, session, *rest)

    monkeypatch.setattr(loop, "_take_step", record)
    train(quick(*LAYERS, "phases=layerwise", "training.ema=0"))
    run = find("latest", workdir / "outputs" / "runs")
    states[24] = load(run.checkpoint("last"))["training"]
    for first, last, layers in ((1, 8, {2}), (9, 16, {4}), (17, 24, {6})):
        moved = {k for k in states[first] if not torch.equal(states[first][k], states[last][k])}
        assert {int(k.split(".")[1]) for k in moved} == layers
    for step, layer in ((8, 3), (16, 5)):
        key = f"chain.{layer}.matrix"
        assert not torch.equal(states[step][key], states[step + 1][key]), "chosen anew by the trained layers"
    assert [len(r["layers"]) for r in run.history()] == [3, 3, 3, 5, 5, 5, 7, 7]


def test_the_best_checkpoint_has_the_layers_that_were_active(workdir, monkeypatch):
    """Layers not trained yet are no part of the flow that is validated, saved as best, and loaded."""
    words = [*LAYERS, "phases=layerwise", "training.ema=0", "model.output_scale=5"]
    take_step = loop._take_step

    def stop(run, session, *rest):
        take_step(run, session, *rest)
        if session.counters.step == 12:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop, "_take_step", stop)
    with pytest.raises(Stopped):
        train(quick(*words))
    run = find("latest", workdir / "outputs" / "runs")
    best, flow = load(run.checkpoint("best")), load_flow(run, "best")
    assert len(load_flow(run, "last").chain) == 5
    assert len(flow.chain) == best["active_layers"]
    held_out = load_data(run.config.dataset, torch.float64).val
    assert float(flow.log_prob(held_out).mean()) == pytest.approx(best["best"], abs=1e-9)


def test_fresh_points_are_new_at_every_step_and_a_function_of_seed_and_step(workdir, monkeypatch):
    seen, take_step = {}, loop._take_step

    def record(run, session, *rest):
        seen[session.seed, session.counters.step] = session.batch(session.counters.step).x
        take_step(run, session, *rest)

    monkeypatch.setattr(loop, "_take_step", record)
    for seed in (0, 1):
        train(quick(*LAYERS, "training.steps=3", f"seed={seed}"))
    assert len({tuple(x.flatten().tolist()) for x in seen.values()}) == 6
    assert all(x.shape == (64, 2) for x in seen.values())
    before = dict(seen)
    train(quick(*LAYERS, "training.steps=3", "overwrite=true"))
    assert all(torch.equal(seen[key], before[key]) for key in before)


def test_steps_for_each_layer_and_drops_of_the_learning_rate():
    config = compose([*LAYERS, "training.steps_per_layer=100"])
    assert config.training.steps == 300
    words = ["training.schedule=exponential", "training.final_lr=0.9", "training.decay_every=100"]
    stage = stages(compose([*LAYERS, *words, "training.lr=0.1", "training.steps=100"]))[0]
    assert stage.lr_at(0) == stage.lr_at(99) == 0.1
    # x 0.9 every 100 steps of 4,096, as single_coupling Ex. 1 has it
    words[1] = f"training.final_lr={0.9**40.96}"
    stage = stages(compose([*LAYERS, *words, "training.lr=0.1", "training.steps=4096"]))[0]
    for step in (0, 99, 100, 250, 4095):
        assert stage.lr_at(step) == pytest.approx(0.1 * 0.9 ** (step // 100))


@pytest.mark.parametrize("rotation", ["oas", "random", "axis"])
def test_realnvp_takes_the_same_rotations_and_phases(workdir, rotation):
    words = ["model=realnvp", "model.layers=2", "model.hidden=[8]", f"model.rotation={rotation}"]
    train(quick("dataset=scurve", *words, "phases=layerwise", "training.ema=0", "training.lr=1e-2"))
    history = find("latest", workdir / "outputs" / "runs").history()
    assert history[-1]["val_log_prob"] > history[0]["val_log_prob"]
    assert [len(r["layers"]) for r in history][-1] == 7


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "adamax", "lbfgs"])
def test_every_optimizer_improves_the_likelihood(workdir, optimizer):
    train(quick(f"training.optimizer={optimizer}", "training.clip=10", "training.ema=0"))
    history = find("latest", workdir / "outputs" / "runs").history()
    assert history[-1]["val_log_prob"] > history[0]["val_log_prob"]


LBFGS = "{share:0.5,optimizer:lbfgs,lr:1}"


@pytest.mark.parametrize("stops", [[5], [12], [13, 20]])  # the first half has twelve steps
def test_lbfgs_after_minibatches_resumes_bit_for_bit(workdir, monkeypatch, stops):
    check_resumes(workdir, monkeypatch, stops, f"phases.sequence=[{{share:0.5}},{LBFGS}]")


def test_lbfgs_reaches_the_closed_form_of_a_linear_flow(workdir):
    words = ["model=linear", "dtype=float64", "training.ema=0", "training.optimizer=lbfgs", "training.lr=1"]
    config = compose([*QUICK[:1], *QUICK[2:], *words, "regularizer.alpha=1e-2", "training.steps=80"])
    found = train(config)["train_log_prob"]
    x = load_data(config.dataset, getattr(torch, config.dtype), config.seed).train
    covariance = torch.cov(x.mT, correction=0)
    blurred = covariance + 1e-2 * torch.eye(x.shape[1])
    # linear_systems Eq. 6: the minimiser's precision is that of the blurred data
    expected = -0.5 * (
        blurred.logdet() + (covariance @ blurred.inverse()).trace() + 3 * math.log(2 * math.pi)
    )
    assert found == pytest.approx(float(expected), abs=1e-6)


def test_lbfgs_goes_back_where_its_line_search_finds_nothing_finite(workdir, monkeypatch):
    config = quick("training.optimizer=lbfgs", "training.lr=1", "training.ema=0")
    whole = session.Session(
        config, load_data(config.dataset, getattr(torch, config.dtype), config.seed), "cpu"
    )
    before = [p.detach().clone() for p in whole.flow.parameters()]

    def ruined(closure):
        closure()
        whole.flow.chain[1].weight.data.fill_(math.nan)

    monkeypatch.setattr(whole.optimizer, "step", ruined)
    assert "finite" in loop.take_step(whole, whole.plan[0])
    assert all(torch.equal(p, old) for p, old in zip(whole.flow.parameters(), before, strict=True))


def test_lbfgs_is_refused_on_points_that_change(workdir):
    words = ["dataset.fresh=true", f"phases.sequence=[{{share:0.5}},{LBFGS}]"]
    with pytest.raises(UsageError, match="dataset.fresh=false"):
        train(compose([*QUICK, "dataset=square", "model=coupling", "model.layers=1", *words]))


def test_a_flow_that_is_never_finite_on_validation_still_has_both_checkpoints(workdir, monkeypatch):
    for module in (loop, validation):
        monkeypatch.setattr(module, "log_probs", lambda f, x, *rest: torch.full((len(x),), math.nan).double())
    result = train(quick())
    run = find("latest", workdir / "outputs" / "runs")
    assert load(run.checkpoint("best"))["step"] == 0 and load(run.checkpoint("last"))["step"] == 24
    assert result["best_val_log_prob"] == -math.inf


@pytest.mark.parametrize(("rows", "best_step"), [([17], 24), (range(40), 0)])
def test_rows_without_density_are_told_and_one_does_not_decide_what_is_best(
    flowrepro, workdir, monkeypatch, rows, best_step
):
    """After step 0 some held-out rows get density zero: a single one is an outlier, forty of a hundred are the flow's."""
    log_probs, seen = validation.log_probs, []

    def losing(f, x, *rest):
        values = log_probs(f, x, *rest)
        if len(x) == 100 and seen:
            values[list(rows)] = -math.inf
        seen.append(len(x))
        return values

    for module in (loop, validation):
        monkeypatch.setattr(module, "log_probs", losing)
    answer = flowrepro("train", *QUICK)
    assert answer.code == 5 and f"log-likelihoods of {len(rows)} of 100 held-out rows" in answer.err
    assert f"(row{'s' * (len(rows) > 1)} {rows[0]}" in answer.err and "not finite  " in answer.out
    run = find("latest", workdir / "outputs/runs")
    assert run.state == "completed" and load(run.checkpoint("best"))["step"] == best_step
    result = run.status["result"]
    assert result["val_non_finite"] == len(rows) and result["val_lost"] == list(rows)[:5]
    assert math.isfinite(result["best_val_log_prob"]) and result["val_log_prob"] == -math.inf
    again = flowrepro("train", *QUICK)
    assert again.code == 5 and "already finished" in again.out


def test_a_signal_in_a_validation_stops_it_and_it_is_done_when_the_run_resumes(
    undisturbed, workdir, monkeypatch
):
    log_probs, calls = validation.log_probs, []

    def interrupted(f, x, *rest):
        calls.append(len(x))
        if len(calls) == 3:  # at step 10
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause() if hasattr(signal, "pause") else time.sleep(1)
            pytest.fail("the validation went on")
        return log_probs(f, x, *rest)

    monkeypatch.setattr(validation, "log_probs", interrupted)
    with pytest.raises(Stopped, match="step 10") as stopped:
        train(quick())
    assert stopped.value.code == 143
    train(quick())
    run = find("latest", workdir / "outputs" / "runs")
    assert equal(weights(run), weights(undisturbed)) and equal(
        weights(run, "best"), weights(undisturbed, "best")
    )
    assert timeless(run) == timeless(undisturbed)


def test_weights_that_are_not_finite_are_never_saved(workdir, monkeypatch):
    take_step = loop._take_step

    def overflowing(run, session, *rest):
        take_step(run, session, *rest)
        if session.counters.step == 12:
            next(session.flow.parameters()).data.fill_(math.inf)

    monkeypatch.setattr(loop, "_take_step", overflowing)
    with pytest.raises(Diverged, match="weights that are not finite"):
        train(quick())
    run = find("latest", workdir / "outputs" / "runs")
    state = load(run.checkpoint("last"))
    assert run.state == "diverged" and state["step"] == 11
    assert all(value.isfinite().all() for value in state["flow"].values())


def test_an_unreadable_line_of_the_history_costs_that_line(undisturbed, capsys):
    lines = (undisturbed.path / "history.jsonl").read_bytes().splitlines(keepends=True)
    broken = [*lines[:2], b"\0\xff\0\n", b"[1]\n", *lines[2:]]
    (undisturbed.path / "history.jsonl").write_bytes(b"".join(broken))
    assert [record["step"] for record in undisturbed.history()] == [0, 5, 10, 15, 20, 24]
    assert "history.jsonl: line 3, 4 cannot be read" in capsys.readouterr().err
    undisturbed.cut_history(10)
    assert (undisturbed.path / "history.jsonl").read_bytes() == b"".join(lines[:3])


def test_a_disk_without_room_is_told_before_anything_is_replaced(undisturbed, monkeypatch):
    before = undisturbed.checkpoint("last").read_bytes()
    monkeypatch.setattr(ending.shutil, "disk_usage", lambda path: SimpleNamespace(free=1e3))
    with pytest.raises(FlowreproError, match="MB are free"):
        train(quick("output_dir=undisturbed", "overwrite=true"))
    assert undisturbed.checkpoint("last").read_bytes() == before and undisturbed.state == "completed"


def test_a_run_does_not_go_on_with_other_data(workdir, monkeypatch):
    stop_at([1], monkeypatch)
    with pytest.raises(Stopped):
        train(quick())
    manifest = find("latest", workdir / "outputs" / "runs").path / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"data": "0123456789abcdef"}))
    with pytest.raises(DataError, match="trained on different data"):
        train(quick())


def test_layers_that_are_frozen_are_passed_in_blocks_with_the_same_result(workdir, monkeypatch):
    words = [*LAYERS, "phases=layerwise", "training.steps=30", "training.validate_every=10", "scale=smoke"]
    found = []
    for block in (1, 4):
        monkeypatch.setattr(session, "BLOCK", block)
        train(compose([*words, f"output_dir={block}"]))
        found.append(find("latest", workdir / str(block) / "runs").history())
    for one, four in zip(*found, strict=True):
        assert four["val_log_prob"] == pytest.approx(one["val_log_prob"], abs=1e-9)
        assert four["train_log_prob"] == pytest.approx(one["train_log_prob"], abs=1e-9)
    monkeypatch.setattr(session, "BLOCK", 4)
    for _ in range(17):
        train(compose([*words, "output_dir=parts", "training.max_minutes=1e-9"]))
    train(compose([*words, "output_dir=parts"]))
    whole, parts = (weights(find("latest", workdir / o / "runs")) for o in ("4", "parts"))
    assert equal(whole, parts)
    # a dry run tries more steps than a short phase has
    config = compose(words)
    tried = session.Session(config, load_data(config.dataset, torch.float64), "cpu")
    tried.enter(tried.plan[1])
    assert tried.batch(tried.plan[1].end + 1).x.shape == (64, 2)


# torch warns of its own ways while it compiles
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_flow_has_the_same_gradients_and_goes_on_bit_for_bit(workdir, monkeypatch):
    if not compiling.has_compiler():
        pytest.skip("no C++ compiler")
    made = []
    monkeypatch.setattr(session, "compiled", lambda *args: made.append(compiling.compiled(*args)) or made[-1])
    monkeypatch.setattr(compiling, "WORTH_STEPS", 5)
    words = [
        *LAYERS,
        "model.rotation=random",
        "model.layers=1",
        "training.steps=6",
        "scale=smoke",
        "threads=1",
    ]
    plain, compiled = (
        train(compose([*words, f"training.compile={on}", f"output_dir={on}"])) for on in (False, True)
    )
    assert plain["run"] == compiled["run"], "an option of how, not of what"
    assert compiled["val_log_prob"] == pytest.approx(plain["val_log_prob"], abs=1e-5)
    assert isinstance(made[0], compiling.Compiled)
    words += ["training.compile=True", "output_dir=parts"]
    assert train(compose([*words, "training.max_minutes=1e-9"]))["step"] == 1
    train(compose(words))
    whole, parts = (weights(find("latest", workdir / o / "runs")) for o in ("True", "parts"))
    assert equal(whole, parts)


def test_without_a_compiler_training_says_so_and_goes_on(monkeypatch, capsys):
    compiling.has_compiler.cache_clear()
    monkeypatch.setenv("CXX", "no-such-compiler")
    flow = build(compose(["dataset=sine", "model=linear"]).model, (3,), None, generator(0), torch.float64)
    assert compiling.compiled(flow, 10) is flow and compiling.compiled(flow, 2000) is flow
    assert capsys.readouterr().out.count("needs the C++ compiler no-such-compiler") == 1
    compiling.has_compiler.cache_clear()
