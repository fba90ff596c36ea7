"""A run with more steps continues from a finished one with fewer, and ends as if it had been trained alone."""

import json

import pytest
from test_training import QUICK, equal, quick, timeless, weights

from flowrepro.config.compose import compose
from flowrepro.errors import Diverged
from flowrepro.figures.catalogue import load_spec
from flowrepro.runs import lock
from flowrepro.runs.folder import find, run_of
from flowrepro.training import loop
from flowrepro.training.continuing import can_continue
from flowrepro.training.loop import train
from flowrepro.training.session import Session
from flowrepro.verbs import dry_run

STEADY = ["phases=end_to_end", "training.schedule=constant"]
SHORT, LONG = "training.steps=10", "training.steps=24"


def manifest(run):
    return json.loads((run.path / "manifest.json").read_text())


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["regularizer.alpha=0", "training.warmup=15", "training.optimizer=adamw"],
        ["training.optimizer=lbfgs", "training.lr=1"],
        [
            "dataset.fresh=true",
            "training.schedule=exponential",
            "phases.sequence=[{share:1,schedule:constant}]",
        ],
    ],
)
def test_a_longer_run_ends_bit_for_bit_as_one_that_was_trained_alone(workdir, capsys, words):
    words = [*STEADY, *words]
    train(quick(*words, LONG, "output_dir=alone"))
    short = train(quick(*words, SHORT))["run"]
    assert "continues" not in capsys.readouterr().out
    assert train(quick(*words, LONG))["step"] == 24
    assert f"continues  from {short}" in capsys.readouterr().out
    longer, alone = (find("latest", workdir / o / "runs") for o in ("outputs", "alone"))
    assert all(equal(weights(longer, which), weights(alone, which)) for which in ("last", "best"))
    assert timeless(longer) == timeless(alone)
    told = manifest(longer)
    assert told["continued_from"] == short and [s["step"] for s in told["sessions"]] == [10, 24]
    assert "continued_from" not in manifest(alone)


def test_it_continues_from_the_longest_one(workdir, capsys):
    runs = {steps: train(quick(*STEADY, f"training.steps={steps}"))["run"] for steps in (5, 10, 30)}
    capsys.readouterr()
    train(quick(*STEADY, LONG))
    assert f"continues  from {runs[10]}" in capsys.readouterr().out
    assert f"continues  from {runs[10]}" in (run_of(quick(*STEADY, LONG)).path / "run.log").read_text()
    train(quick(*STEADY, LONG, "overwrite=true"))
    assert "continues" not in capsys.readouterr().out
    assert "continued_from" not in manifest(run_of(quick(*STEADY, LONG)))


def damaged(run):
    run.checkpoint("last").write_bytes(run.checkpoint("last").read_bytes()[:-1])


def of_other(name, value):
    def change(run):
        told = manifest(run)
        told["sessions"][0][name] = value
        (run.path / "manifest.json").write_text(json.dumps(told))

    return change


def of_other_data(run):
    (run.path / "manifest.json").write_text(json.dumps(manifest(run) | {"data": "0"}))


def unfinished(run):
    run.set_status("interrupted", step=10, steps=10)


@pytest.mark.parametrize(
    "change",
    [
        damaged,
        unfinished,
        of_other_data,
        of_other("source", "0"),
        of_other("versions", {}),
        of_other("hardware", {}),
    ],
)
def test_it_begins_at_its_start_where_the_shorter_run_does_not_serve(workdir, capsys, change):
    train(quick(*STEADY, LONG, "output_dir=alone"))
    train(quick(*STEADY, SHORT))
    change(run_of(quick(*STEADY, SHORT)))
    capsys.readouterr()
    train(quick(*STEADY, LONG))
    assert "continues" not in capsys.readouterr().out
    longer, alone = run_of(quick(*STEADY, LONG)), find("latest", workdir / "alone" / "runs")
    assert equal(weights(longer), weights(alone)) and timeless(longer) == timeless(alone)


def test_it_does_not_wait_for_a_shorter_run_that_is_being_trained_again(workdir, capsys):
    train(quick(*STEADY, SHORT))
    with lock.locked(run_of(quick(*STEADY, SHORT)).path):
        train(quick(*STEADY, LONG))
    assert "continues" not in capsys.readouterr().out


def test_a_run_that_diverges_at_once_has_the_checkpoint_that_it_continued_from(workdir, monkeypatch):
    train(quick(*STEADY, SHORT))
    monkeypatch.setattr(loop, "take_step", lambda *_: "loss nan")
    with pytest.raises(Diverged):
        train(quick(*STEADY, LONG, "training.checkpoint_seconds=30"))
    run = run_of(quick(*STEADY, LONG))
    assert run.state == "diverged" and equal(weights(run), weights(run_of(quick(*STEADY, SHORT))))


@pytest.mark.parametrize(
    "words",
    [
        ["training.lr=2e-3"],
        ["seed=1"],
        ["training.steps=12"],  # its last validation is not one of the longer run
        ["dataset.n_val=101"],
        ["output_dir=elsewhere"],
    ],
)
def test_it_does_not_go_on_from_another_run(workdir, capsys, words):
    train(quick(*STEADY, SHORT, *words))
    train(quick(*STEADY, LONG))
    assert "continues" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["training.schedule=cosine"],
        ["training.schedule=exponential"],
        ["training.compile=true"],
        ["phases=annealed"],
        ["dataset=square", "model=coupling", "phases=layerwise"],
    ],
)
def test_a_run_whose_steps_depend_on_their_number_never_continues(words):
    assert can_continue(*(compose([*QUICK, *STEADY, steps]) for steps in (LONG, SHORT)))
    assert not can_continue(*(compose([*QUICK, *STEADY, *words, steps]) for steps in (LONG, SHORT)))


def test_a_run_that_is_killed_while_it_takes_over_a_shorter_one_does_so_again(workdir, monkeypatch):
    train(quick(*STEADY, LONG, "output_dir=alone"))
    train(quick(*STEADY, SHORT))
    config = quick(*STEADY, LONG)
    killed_at_its_first_save(config, monkeypatch)
    train(config)
    run, alone = run_of(config), find("latest", workdir / "alone" / "runs")
    assert equal(weights(run), weights(alone)) and timeless(run) == timeless(alone)
    assert [s["step"] for s in manifest(run)["sessions"]] == [10, 24]


def killed_at_its_first_save(config, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("flowrepro.runs.folder._remove", lambda *_: None)
        patched.setattr(Session, "save", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(config)
    run = run_of(config)
    assert "continued_from" in manifest(run) and not run.checkpoint("last").exists()


def test_what_a_killed_session_left_is_not_told_of_a_run_that_starts_over(workdir, monkeypatch):
    train(quick(*STEADY, SHORT))
    killed_at_its_first_save(quick(*STEADY, LONG), monkeypatch)
    unfinished(run_of(quick(*STEADY, SHORT)))
    train(quick(*STEADY, LONG))
    told = manifest(run_of(quick(*STEADY, LONG)))
    assert "continued_from" not in told and [s["step"] for s in told["sessions"]] == [24]


def test_a_dry_run_counts_only_the_steps_that_are_left(workdir, monkeypatch, capsys):
    monkeypatch.setattr(dry_run, "estimate", lambda config: dry_run.Cost(1, 60.0, 1e6))
    runs = {name: quick(*STEADY, steps) for name, steps in (("short", SHORT), ("long", LONG))}
    dry_run.train_figure("figure", runs)
    assert capsys.readouterr().out.splitlines()[-1].startswith("total  about 24 minutes")
    name = train(runs["short"])["run"]
    capsys.readouterr()
    dry_run.train(runs["long"])
    told = capsys.readouterr().out
    assert f"continues  from {name}" in told and "time       about 14 minutes" in told


def test_the_long_flows_of_figures_3_and_4_go_on_from_those_of_half_the_length():
    for key, long in (("fig3", "sine realnvp"), ("fig4", "mnist2 long regularised")):
        planned = [p for p in load_spec(f"linear_systems/{key}").planned("cpu") if p.seed == 0]
        config = next(p.config for p in planned if p.case == long)
        assert [p.case for p in planned if can_continue(config, p.config)]
