"""Measures: kept for as long as they are true, made on the device that is asked for, with a record of how."""

import inspect
import json

import numpy as np
import pytest
import torch

from flowrepro.config.compose import compose
from flowrepro.data import load
from flowrepro.errors import DataError, UsageError
from flowrepro.measures import kept
from flowrepro.measures.code import code_hash, reached
from flowrepro.runs import checkpoints
from flowrepro.runs.folder import Run, find, read_json
from flowrepro.runs.trained import load_flow
from flowrepro.writing import write_json

WORDS = [
    "dataset=sine",
    "model=linear",
    "scale=smoke",
    "training.steps=5",
    "dataset.n_train=300",
    "threads=1",
]


@pytest.fixture
def run(flowrepro, workdir) -> Run:
    """A trained linear flow on the sine."""
    assert flowrepro("train", *WORDS).code == 0
    return find("latest", workdir / "outputs/runs")


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """The names of what is measured from now on; numbers come from the measures themselves."""
    made, named = [], kept.named

    def counted(name: str):
        def measure(*args, **options):
            made.append(name)
            return named(name)(*args, **options)

        return measure

    monkeypatch.setattr(kept, "named", counted)
    return made


def likelihood(run: Run, **options) -> kept.Kept:
    return kept.measured(run, "last", {"likelihood": options})["likelihood"]


def test_the_same_measure_is_made_once(run, calls):
    first, second = likelihood(run, n=100), likelihood(run, n=100)
    assert calls == ["likelihood"] and first == second
    flow, data = load_flow(run, "last"), load(run.config.dataset, torch.float64)
    assert first.values["train_log_prob"] == pytest.approx(float(flow.log_prob(data.train[:100]).mean()))


def test_another_option_is_measured_again(run, calls):
    values = [likelihood(run, **options).values["train_log_prob"] for options in ({"n": 100}, {"n": 50}, {})]
    assert len(calls) == len(set(values)) == 3


def test_other_code_is_measured_again(run, calls, monkeypatch):
    for code, made in (("a", 1), ("a", 1), ("b", 2), ("a", 2)):
        monkeypatch.setattr(kept, "code_hash", lambda *modules, code=code: code)
        assert likelihood(run).record["code"] == code
        assert len(calls) == made


def test_another_checkpoint_is_measured_again(run, calls):
    before = likelihood(run)
    state = checkpoints.load(run.checkpoint("last"))
    state["flow"] = {name: 1.1 * weights for name, weights in state["flow"].items()}
    checkpoints.save(run.checkpoint("last"), state)
    after = likelihood(run)
    assert len(calls) == 2
    assert after.values != before.values and after.record["checkpoint"] != before.record["checkpoint"]


def test_a_result_without_its_record_is_measured_again(run, calls):
    likelihood(run)
    next(run.path.glob("measures/*/likelihood-*.json")).unlink()
    likelihood(run)
    assert len(calls) == 2


def test_the_record_tells_how_it_was_measured(run):
    record = likelihood(run, n=7).record
    told = {"name": "likelihood", "options": {"n": 7}, "which": "last", "step": 5, "device": "cpu"}
    assert {k: record[k] for k in told} == told
    assert record["checkpoint"] == checkpoints.sha256(run.checkpoint("last"))
    assert record["threads"] == torch.get_num_threads()
    assert {"code", "git", "processor", "versions", "seconds", "measured"} <= record.keys()
    file = next(run.path.glob("measures/*/likelihood-*.json"))
    assert json.loads(file.read_text()) == record and file.with_suffix(".npz").exists()


def test_measures_share_a_run_but_no_flow(run, monkeypatch):
    """One may change the dtype of its flow, and the next must not see that."""
    seen = []

    def measure(flow, data):
        seen.append(next(flow.parameters()).dtype)
        flow.half()
        return {"x": torch.ones(2, dtype=torch.float64)}

    monkeypatch.setattr(kept, "named", lambda name: measure)
    monkeypatch.setattr(kept, "code_hash", lambda *modules: "0")
    found = kept.measured(run, "last", {"one": {}, "other": {}})
    assert seen == [torch.float64, torch.float64]
    assert isinstance(found["one"].values["x"], np.ndarray)


def test_an_unknown_measure_is_told(run):
    with pytest.raises(UsageError, match="Did you mean 'likelihood'"):
        kept.measured(run, "last", {"likelyhood": {}})


def test_data_of_another_fingerprint_are_not_measured(run):
    write_json(run.path / "manifest.json", read_json(run.path / "manifest.json") | {"data": "others"})
    with pytest.raises(DataError, match="others"):
        likelihood(run)


def test_every_measure_takes_a_flow_and_data():
    assert {"manifold", "likelihood", "image_quality"} <= set(kept.names())
    for name in kept.names():
        assert list(inspect.signature(kept.named(name)).parameters)[:2] == ["flow", "data"], name


def test_data_move_as_a_whole():
    data = load(compose(["dataset=sine", "scale=smoke", "dataset.n_train=30"]).dataset, torch.float32)
    moved = data.to(torch.float64)
    assert {moved.train.dtype, moved.val.dtype, moved.train_latents.dtype} == {torch.float64}
    assert moved.fingerprint == data.fingerprint and data.train.dtype == torch.float32
    torch.testing.assert_close(moved.train.float(), data.train)


@pytest.fixture
def package(tmp_path):
    """A package of four modules: a imports b inside a function, b imports c.d, e stands alone. A function writes one."""

    def write(name: str, text: str) -> None:
        file = tmp_path / "flowrepro" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    write("a.py", '"""Doc."""\n\ndef f():\n    from flowrepro import b\n    return b.g() + 1\n')
    write("b.py", "from flowrepro.c.d import h\nimport json\n\ndef g():\n    return h\n")
    write("c/__init__.py", "")
    write("c/d.py", "h = 1\n")
    write("e.py", "x = 1\n")
    write("__init__.py", "")
    return write


def test_the_hash_of_code_follows_imports_and_sees_code_alone(package, tmp_path):
    def now() -> str:
        return hash_of("flowrepro.a", tmp_path)

    assert reached(["flowrepro.a"], tmp_path) == {
        "flowrepro", "flowrepro.a", "flowrepro.b", "flowrepro.c.d",
    }  # fmt: skip
    before = now()
    package(
        "a.py",
        '"""Other."""\n\n# why\ndef f():\n    """More."""\n    from flowrepro import b\n\n    return (b.g() + 1)\n',
    )
    package("e.py", "x = 2\n")
    assert now() == before
    for name, text in (
        ("c/d.py", "h = 2\n"),
        ("b.py", "from flowrepro.c.d import h\n\ndef g():\n    return -h\n"),
        ("a.py", "def f():\n    from flowrepro import b\n    return b.g() + 2\n"),
    ):
        package(name, text)
        assert now() != before, name
        before = now()


def test_an_option_more_measures_nothing_again(tmp_path):
    folder = tmp_path / "flowrepro"
    (folder / "config").mkdir(parents=True)
    (folder / "a.py").write_text("from flowrepro.config.schema import Config\nfrom flowrepro.b import g\n")
    (folder / "b.py").write_text("def g():\n    return 1\n")
    for name in ("__init__.py", "config/__init__.py", "config/schema.py"):
        (folder / name).write_text("")
    before = hash_of("flowrepro.a", tmp_path)
    (folder / "config/schema.py").write_text("class Config:\n    new = 1\n")
    assert "flowrepro.config.schema" in reached(["flowrepro.a"], tmp_path)
    assert hash_of("flowrepro.a", tmp_path) == before
    (folder / "b.py").write_text("def g():\n    return 2\n")
    assert hash_of("flowrepro.a", tmp_path) != before


def hash_of(module: str, root) -> str:
    from flowrepro.measures import code

    code._tree.cache_clear()
    return code_hash.__wrapped__(module, root=root)


def test_the_hash_of_a_measure_knows_flows_and_data_but_no_training_and_no_figures():
    modules = reached(["flowrepro.measures.manifold", *kept.LOADING])
    assert {"flowrepro.analysis.components", "flowrepro.flows.coupling", "flowrepro.data.toy"} <= modules
    parts = {name.split(".")[1] for name in modules if "." in name}
    assert not parts & {"training", "verbs", "figures", "report", "pictures", "cli"}
