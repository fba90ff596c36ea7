"""Odd command lines, generated: each ends in an exit code with one sentence, and leaves nothing behind.

FLOWREPRO_ODD=1500 tries that many of them instead of a sample.
"""

import os
import random
from pathlib import Path

import pytest

from flowrepro.config.keys import all_keys
from flowrepro.config.schema import GROUPS

COUNT = int(os.environ.get("FLOWREPRO_ODD", "24"))
VALUES = [
    *("", "=", "nan", "inf", "-inf", "1e400", "1e-400", "-1", "0", "-0", ".5", "0x10", "1_0", "null", "true"),
    *(
        "99999999999999999999",
        "[]",
        "[1,2",
        "{a:1}",
        "{}",
        "[[8]]",
        "[{lr:1}]",
        "[{lr:x}]",
        "'",
        '"',
        "\\",
        "#",
    ),
    *(
        "${nope}",
        "${seed}",
        "${oc.env:NOPE}",
        "${",
        "größe",
        "a b",
        "(1)",
        "points (1).npy",
        "~/p.npy",
        "..",
        "/",
    ),
    *("/dev/null", "a" * 300, "😀", "a\nb", "1,2", ",", "1,,2", "range(3)", "range(0,1,0)", "interval(0,1)"),
    *(
        "glob(*)",
        "glob(",
        "choice(1,2)",
        "sort(3,1)",
        "shuffle(1,2)",
        "int(x)",
        "cast(1)",
        "!x",
        "@x",
        "sine",
    ),
]
# steps and threads would only take time
KEYS = sorted(
    {*all_keys(), "training", "seed.", ".seed", "a.b.c", "dataset@x", "+seed", "++model.x", "~seed", "nope"}
    - {"training.steps", "training.steps_per_layer", "threads", "jobs", "figure", "output_dir"}
)
HYDRA = ["hydra/launcher", "hydra.nope", "hydra/nope", "hydra.job.name", "hydra.searchpath"]
SMALL = [
    *("model=linear", "scale=smoke", "training.steps=1", "dataset.n_train=40", "dataset.n_val=10"),
    *("training.batch_size=20", "threads=1"),
]


def odd_words(chosen: random.Random) -> list[str]:
    """A command line with one or two odd words, and a cheap one if they should turn out to mean something."""
    sweep = chosen.random() < 0.3
    keys = KEYS if chosen.random() < 0.7 else [*GROUPS, *HYDRA * sweep]
    words = [f"{chosen.choice(keys)}={chosen.choice(VALUES)}" for _ in range(chosen.choice((1, 1, 2)))]
    if chosen.random() < 0.1:
        words.append(
            chosen.choice(["--nope", "-x", "seed", "==", "=1", "--config-dir", "--config-dir=nope", ""])
        )
    verb = "train" if sweep else chosen.choice(["train", "train", "train", "evaluate", "plot"])
    if verb != "train":
        return [verb, f"run={chosen.choice(VALUES)}", *words[1:]]
    # a sweep of every option of a group would only take time
    dry = sweep or chosen.random() < 0.5
    return [verb, *["-m"] * sweep, *SMALL, *words, *["dry_run=true"] * dry]


@pytest.mark.parametrize("number", range(COUNT))
def test_odd_words_are_told_in_one_sentence_and_leave_nothing(number, flowrepro, workdir):
    words = odd_words(random.Random(number))
    answer = flowrepro(*words)
    told = f"{words}\n{answer.out}\n{answer.err}"
    assert answer.code in (0, 2, 3, 4, 5, 6), told
    assert "a bug in flowrepro" not in told and "Traceback" not in told
    if answer.code in (2, 3, 4):
        assert len(answer.err.strip().splitlines()) == 1 and answer.err.startswith("flowrepro: "), told
        assert not list(Path(workdir).iterdir()), told
    assert not list(Path(workdir).rglob(".*.tmp")), told
