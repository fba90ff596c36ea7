"""Which keys have an effect in which command. Any other is refused, so that none is silently ignored."""

from collections.abc import Iterable

from flowrepro.config.keys import all_keys
from flowrepro.config.schema import GROUPS
from flowrepro.errors import UsageError

ALL = ("output_dir", "dry_run", "debug")
RUN = ("dataset", "model", "regularizer", "phases", "scale", "training", "evaluation", "seed", "dtype")
DEVICE = ("device", "threads")

# command -> the keys that have an effect (a group or prefix stands for all its keys), and why others have none
COMMANDS: dict[str, tuple[tuple[str, ...], str]] = {
    "train": (
        (*RUN, "overwrite", *DEVICE, *ALL),
        "jobs is for figure=KEY and hydra for sweeps with -m",
    ),
    "train -m": (
        (*RUN, "overwrite", *DEVICE, *ALL, "hydra"),
        "hydra/launcher=joblib runs the jobs of a sweep in parallel",
    ),
    "train figure=KEY": (
        ("figure", "scale", "jobs", "overwrite", "dataset.download", *DEVICE, *ALL),
        "conf/figure/KEY.yaml lists the runs of the figure",
    ),
    "evaluate": (
        ("dataset", "model", "regularizer", "phases", "scale", "seed", "sort", *ALL),
        "it lists the runs that have these values; with run=R it evaluates one",
    ),
    "evaluate run=R": (
        ("run", "evaluation", "dataset.path", "seed", *DEVICE, *ALL),
        "the run keeps the data, model and training settings it was started with (dataset.path= says where they are now)",
    ),
    "evaluate figure=KEY": (
        ("figure", "scale", "claims", *DEVICE, *ALL),
        "conf/figure/KEY.yaml sets what is measured",
    ),
    "evaluate figure=all": (
        ("figure", "claims", *ALL),
        "it prints the verdicts of every figure from its stored table; claims=judge or verify judges them again",
    ),
    "plot run=R": (("run", "evaluation.checkpoint", "format", *ALL), "it draws what evaluate run=R stored"),
    "plot figure=KEY": (("figure", "scale", "format", *ALL), "it draws what evaluate figure=KEY stored"),
    "plot figure=all": (
        ("figure", "format", "single", *ALL),
        "it draws every figure at every scale it was evaluated at",
    ),
}


def command(verb: str, words: Iterable[str], multirun: bool = False) -> str:
    """The command of `COMMANDS` that a verb and its arguments select.

    Raises:
        UsageError: they select none, or two.
    """
    given = {key: value for key, _, value in (word.lstrip("+").partition("=") for word in words)}
    figure, run = given.get("figure"), given.get("run")
    if multirun and (verb != "train" or figure):
        raise UsageError(
            "-m is only for train, and cannot be combined with figure=, which defines its own runs"
        )
    if figure and run:
        raise UsageError(f"run={run} and figure={figure} name two different things; leave one of them out")
    if verb == "train" and run:
        raise UsageError("train takes no run=: the same arguments select the same run")
    if figure:
        return f"{verb} figure={'all' if figure == 'all' and verb != 'train' else 'KEY'}"
    if run:
        return f"{verb} run=R"
    if verb == "plot":
        raise UsageError("plot needs run=latest, run=NAME or figure=KEY")
    return "train -m" if multirun else verb


def with_data_set(words: list[str]) -> list[str]:
    """The arguments of a command on a run; a path of its data goes without the word that has such a key."""
    keys = [word.lstrip("+").partition("=")[0] for word in words]
    return [*words, "dataset=array"] if "dataset.path" in keys and "dataset" not in keys else words


def counts(key: str, command: str) -> bool:
    """Whether a key has an effect in a command."""
    wanted = COMMANDS[command][0]
    return key in wanted or key.replace("/", ".").split(".")[0] in wanted


def check_effect(verb: str, words: Iterable[str], multirun: bool = False) -> None:
    """Raise UsageError if a key has no effect in its command; unknown keys are reported elsewhere."""
    words = list(words)
    named = command(verb, words, multirun)
    known = {*GROUPS, *all_keys()}
    keys = [word.lstrip("+").partition("=")[0] for word in words]
    if "dataset.path" in keys and counts("dataset.path", named):
        # dataset=array beside it is no other data set
        keys = [key for key in keys if key != "dataset"]
    if idle := [k for k in keys if (k in known or k.startswith("hydra")) and not counts(k, named)]:
        verb_phrase = "have" if len(idle) > 1 else "has"
        told = ", ".join(f"{key}=" for key in dict.fromkeys(idle))
        raise UsageError(f"{told} {verb_phrase} no effect in `{named}`: {COMMANDS[named][1]}; leave it out")
