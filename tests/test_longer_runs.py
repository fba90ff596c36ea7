"""A run with more steps goes on from a finished one with fewer, and ends as if it had been trained alone."""

import json

import pytest
from test_training import QUICK, equal, quick, timeless, weights

from flowrepro.config.compose import compose
from flowrepro.figures.catalogue import load_spec
from flowrepro.runs.folder import find, run_of
from flowrepro.training import loop
from flowrepro.training.loop import train
from flowrepro.training.shorter import goes_on
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
    assert "goes on" not in capsys.readouterr().out
    assert train(quick(*words, LONG))["step"] == 24
    assert f"goes on    from {short}" in capsys.readouterr().out
    longer, alone = (find("latest", workdir / o / "runs") for o in ("outputs", "alone"))
    assert all(equal(weights(longer, which), weights(alone, which)) for which in ("last", "best"))
    assert timeless(longer) == timeless(alone)
    told = manifest(longer)
    assert told["goes_on_from"] == short and [s["step"] for s in told["sessions"]] == [10, 24]
    assert "goes_on_from" not in manifest(alone)


def test_it_goes_on_from_the_longest_one_and_only_if_that_is_sound(workdir, capsys):
    runs = {steps: train(quick(*STEADY, f"training.steps={steps}"))["run"] for steps in (5, 10, 30)}
    last = workdir / "outputs" / "runs" / runs[10] / "checkpoints" / "last.pt"
    last.write_bytes(last.read_bytes()[:-1])
    capsys.readouterr()
    train(quick(*STEADY, LONG))
    assert f"goes on    from {runs[5]}" in capsys.readouterr().out
    train(quick(*STEADY, LONG, "overwrite=true"))
    assert "goes on" not in capsys.readouterr().out


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
    assert "goes on" not in capsys.readouterr().out


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
def test_a_run_whose_steps_depend_on_their_number_never_goes_on(words):
    assert goes_on(*(compose([*QUICK, *STEADY, steps]) for steps in (LONG, SHORT)))
    assert not goes_on(*(compose([*QUICK, *STEADY, *words, steps]) for steps in (LONG, SHORT)))


def test_a_run_that_is_killed_before_its_first_checkpoint_begins_there_again(workdir, monkeypatch):
    train(quick(*STEADY, LONG, "output_dir=alone"))
    train(quick(*STEADY, SHORT))
    config = quick(*STEADY, LONG)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "record_end", lambda *_: None)
        patched.setattr("flowrepro.runs.folder._remove", lambda *_: None)
        patched.setattr(loop, "_steps", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(config)
    assert run_of(config).state == "running" and not run_of(config).checkpoint("last").exists()
    train(config)
    alone = find("latest", workdir / "alone" / "runs")
    assert equal(weights(run_of(config)), weights(alone)) and timeless(run_of(config)) == timeless(alone)
    assert [s["step"] for s in manifest(run_of(config))["sessions"]] == [10, 24]


def test_a_dry_run_counts_only_the_steps_that_are_left(workdir, monkeypatch, capsys):
    monkeypatch.setattr(dry_run, "estimate", lambda config: dry_run.Cost(1, 60.0, 1e6))
    runs = {name: quick(*STEADY, steps) for name, steps in (("short", SHORT), ("long", LONG))}
    dry_run.train_figure("figure", runs)
    assert capsys.readouterr().out.splitlines()[-1].startswith("total  about 24 minutes")
    name = train(runs["short"])["run"]
    capsys.readouterr()
    dry_run.train(runs["long"])
    told = capsys.readouterr().out
    assert f"goes on    from {name}" in told and "time       about 14 minutes" in told


def test_the_long_flows_of_figures_3_and_4_go_on_from_those_of_half_the_length():
    for key, long in (("fig3", "sine realnvp"), ("fig4", "mnist2 long regularised")):
        planned = [p for p in load_spec(f"linear_systems/{key}").planned("cpu") if p.seed == 0]
        config = next(p.config for p in planned if p.case == long)
        assert [p.case for p in planned if goes_on(config, p.config)]
