"""Data-parallel training under torchrun: two processes on the CPU are one process with the same batch."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lookalikes
import pytest
import torch

from flowrepro.config.compose import compose
from flowrepro.data import load_images, vectors
from flowrepro.errors import UsageError
from flowrepro.runs.checkpoints import load
from flowrepro.runs.folder import find
from flowrepro.training.distributed import World, world
from flowrepro.training.loop import train
from flowrepro.training.session import Session, initial_flow

ROOT = Path(__file__).resolve().parents[1]
WORDS = [
    "dataset=celeba_hq",
    "model=glow",
    "scale=smoke",
    "training.batch_size=33",
    "training.ema=0.5",
    "training.clip=50",
    "training.steps=12",  # an epoch has five steps, the last of a single image
    "training.validate_every=4",
    "threads=1",
]


@pytest.fixture(autouse=True)
def images(workdir, monkeypatch):
    """133 training images and 14 others."""
    lookalikes.celeba_hq(workdir / "data", n=147, side=32)
    monkeypatch.setenv("FLOWREPRO_DATA", str(workdir / "data"))


@contextmanager
def torchrun(*words: str) -> Iterator[subprocess.Popen[str]]:
    """`flowrepro train` by two processes; a test that fails leaves none behind."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    with subprocess.Popen(
        [*command, "-m", "flowrepro", "train", *words],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            # torchrun ends its own processes on SIGTERM
            process.terminate()


def flow_of(folder: Path) -> dict[str, torch.Tensor]:
    return load(find("latest", folder / "runs").checkpoint("last"))["training"]


def test_two_processes_are_one_with_the_same_batch(workdir):
    # the two go on with what one has begun
    assert train(compose([*WORDS, "output_dir=two", "training.max_minutes=1e-9"]))["step"] == 1
    with torchrun(*WORDS, "output_dir=two") as process:
        out, err = process.communicate(timeout=250)
    assert process.returncode == 0, err
    assert "resumes at step 1" in out and out.count("log-likelihood") == 1, "one process speaks"
    train(compose([*WORDS, "output_dir=one"]))
    one, two = flow_of(workdir / "one"), flow_of(workdir / "two")
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-5, msg=name)
    config = compose(WORDS)
    data = load_images(config.dataset, torch.float32, config.seed)
    start = initial_flow(config.model, data, config.dtype, config.seed).state_dict()
    assert max(float((one[name] - value).abs().max()) for name, value in start.items()) > 1e-3
    runs = [p for p in (workdir / "two" / "runs").iterdir() if p.is_dir() and not p.is_symlink()]
    histories = [find("latest", workdir / o / "runs").history() for o in ("one", "two")]
    assert len(runs) == 1 and [len(h) for h in histories] == [4, 4]
    for a, b in zip(*histories, strict=True):
        assert abs(a["val_log_prob"] - b["val_log_prob"]) < 1e-2
        assert a["train_log_prob"] is None or abs(a["train_log_prob"] - b["train_log_prob"]) < 1e-2


def test_what_stops_one_process_is_told_once(workdir):
    with torchrun(*WORDS, "dataset=faces64") as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert err.count("flowrepro: missing: faces64") == 1 and "a bug in flowrepro" not in err


def test_all_stop_together_on_sigterm_and_go_on(workdir):
    words = [*WORDS, "training.steps=100000", "training.validate_every=5"]
    with torchrun(*words) as process:
        history = Path("/dev/null")
        while len(history.read_text().splitlines()) < 3:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.05)
            history = next(iter(workdir.glob("outputs/runs/*/history.jsonl")), history)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode != 0 and 'Traceback (most recent call last):\n  File "' + str(ROOT) not in err
    run = find("latest", workdir / "outputs" / "runs")
    status = json.loads((run.path / "status.json").read_text())
    assert status["state"] == "interrupted"
    assert load(run.checkpoint("last"))["step"] == status["step"]
    # from the start on the two were one
    for _ in range(5):
        train(compose([*words, "output_dir=alone", "training.max_minutes=1e-9"]))
    alone = find("latest", workdir / "alone" / "runs").history()
    for both, one in zip(run.history()[:2], alone[:2], strict=True):
        assert abs(both["val_log_prob"] - one["val_log_prob"]) < 1e-2
    # a single process goes on where the two stopped
    assert train(compose([*words, "training.max_minutes=0.001"]))["state"] == "paused"
    assert run.status["step"] > status["step"]


def test_shares_are_the_batch_and_their_weights_one():
    for n, size in ((10, 3), (2, 4), (7, 1)):
        shares = [World(rank, size).share(torch.arange(n)) for rank in range(size)]
        assert sum(weight for _, weight in shares) == 1
        seen = torch.cat([own for own, weight in shares if weight])
        assert sorted(seen.tolist()) == list(range(n)) and all(len(own) for own, _ in shares)


@pytest.mark.parametrize("fresh", [False, True])
def test_processes_share_the_batch_of_one(fresh):
    config = compose(["dataset=sine", "model=coupling", f"dataset.fresh={fresh}", "training.batch_size=7"])
    session = Session(config, vectors.load(config.dataset, torch.float64), "cpu")
    whole, parts = session.batch(3), []
    for rank in range(2):
        session.together = World(rank, 2)
        parts.append(session.batch(3))
    assert [part.size for part in parts] == [whole.size] * 2 == [7, 7]
    assert torch.equal(parts[0].x, whole.x[::2]) and torch.equal(parts[1].x, whole.x[1::2])
    assert sum(part.weight for part in parts) == whole.weight == 1


def test_batch_norm_is_refused_by_several_processes():
    config = compose(["dataset=sine", "model=realnvp"])
    with pytest.raises(UsageError, match="model.batch_norm=false"):
        Session(config, vectors.load(config.dataset, torch.float64), "cpu", World(0, 2))


def test_a_world_size_set_by_hand_is_told(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(UsageError, match="WORLD_SIZE=2 is set, but RANK"), world("cpu"):
        pass


def test_glow_goes_on_bit_for_bit(workdir):
    """With averaged weights and new noise in every epoch, stopped within the second one."""
    train(compose([*WORDS, "output_dir=whole"]))
    words = [*WORDS, "output_dir=parts"]
    steps = []
    while not steps or steps[-1] < 12:
        steps.append(train(compose([*words, "training.max_minutes=1e-9"]))["step"])
    assert steps == list(range(1, 13))
    whole, parts = (load(find("latest", workdir / o / "runs").checkpoint("last")) for o in ("whole", "parts"))
    for part in ("flow", "training"):
        assert all(torch.equal(value, parts[part][name]) for name, value in whole[part].items())
