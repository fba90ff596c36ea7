"""The help of the command line and of its verbs, from the conf folders and the typed config, nothing heavy."""

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flowrepro.config.commands import COMMANDS, counts
from flowrepro.config.keys import (
    Fields,
    all_keys,
    chosen,
    files,
    general_keys,
    keys_of,
    nearest_key,
    options,
    schema_of,
    schemas,
    tree,
    values,
)
from flowrepro.config.options import allowed, default_of
from flowrepro.config.quoting import as_word
from flowrepro.config.schema import GROUPS, Phase, PhasesConfig
from flowrepro.errors import UsageError, nearest

VERBS = {
    "train": "train a flow, or resume one; -m runs a sweep; figure=KEY trains a figure's runs",
    "evaluate": "likelihood table, samples and components of a run; table and claims of a figure; alone: the runs there are",
    "plot": "pictures of what evaluate stored; figure=all draws every figure and writes the report",
}

HELP = """flowrepro: reproduce figures of papers on normalizing flows and test the claims made in them.

  flowrepro train     {train}
  flowrepro evaluate  {evaluate}
  flowrepro plot      {plot}

Examples
  flowrepro train dataset=sine regularizer.alpha=5e-5 scale=smoke
  flowrepro train -m dataset=sine regularizer.alpha=0,1e-5,5e-5
  flowrepro evaluate figure=linear_systems/fig2

Runs, sweeps, figures and the report go to ./outputs (output_dir=...).
Every verb has its own --help with all data sets, models and keys; `flowrepro train model=nf --help` shows one model.
Completion: eval "$(flowrepro --completion bash)", also zsh and fish   Version: flowrepro --version
""".format(**VERBS)

EXAMPLES = {
    "train": [
        "train dataset=sine model=dense_asinh regularizer=tikhonov scale=cpu",
        "train -m dataset=sine regularizer.alpha=0,1e-5,5e-5 scale=smoke",
        "train -m model=nif dataset=fashion_mnist model.latent_dim=64,128,256,512",
        "train dataset=array dataset.path=points.npy training.max_minutes=10",
        "train model=nf dataset=celeba --help",
    ],
    "evaluate": [
        "evaluate run=latest",
        "evaluate dataset=sine sort=val",
        "evaluate figure=linear_systems/fig2 scale=cpu",
    ],
    "plot": ["plot run=latest", "plot figure=linear_systems/fig2", "plot figure=all"],
}


def verb_help(verb: str, words: list[str], config_dirs: Iterable[Path]) -> str:
    """The help of a verb: of the options chosen on the command line, else of all of them.

    Raises:
        UsageError: a key or an option is unknown.
    """
    dirs = list(config_dirs)
    named = dict(word.lstrip("+").partition("=")[::2] for word in words)
    if unknown := [key for key in named if key not in {*GROUPS, *all_keys()}]:
        raise UsageError(f"unknown key '{unknown[0]}'{nearest_key(unknown[0], words, dirs)}")
    picked = {group: option for group, option in named.items() if group in (*GROUPS, "figure")}
    if picked:
        lines = [line for group, option in picked.items() for line in _option_help(group, option, dirs)]
        return "\n".join([*lines, *_next_steps(verb, picked, dirs), ""])
    lines = [
        f"flowrepro {verb}: {VERBS[verb]}",
        "",
        "Examples",
        *(f"  flowrepro {e}" for e in EXAMPLES[verb]),
    ]
    for group in (*GROUPS, "figure") if verb == "train" else ("figure", "scale"):
        lines += ["", f"{group}="] + [f"  {name:<30} {text}" for name, text in options(group, dirs).items()]
    lines += _train_keys() if verb == "train" else _other_keys(verb)
    return "\n".join(
        [*lines, "", "--config-dir DIR adds a folder of your own dataset/, model/, ... files", ""]
    )


def _option_help(group: str, option: str, dirs: list[Path]) -> list[str]:
    """What an option is, and its keys with the defaults set in its file.

    Raises:
        UsageError: unknown option.
    """
    known = files(group, dirs)
    if option not in known:
        raise UsageError(f"{group} '{option}' is unknown{nearest(option, known)}")
    lines = [f"{group}={option}: {options(group, dirs)[option]}"]
    if group == "figure":
        minutes = tree(known[option]).get("minutes", {})
        return [*lines, *(f"  scale={scale:<8} about {m:g} minutes" for scale, m in minutes.items()), ""]
    schema, own = schema_of(group, option, dirs), values(group, known[option])
    fields = keys_of(schema, group) if schema else {}
    lines += _lines(fields, own)
    lines += [f"  sets {key}={as_word(value)}" for key, value in own.items() if key not in fields]
    if schema is PhasesConfig:
        lines += ["each phase of phases.sequence", *_lines(keys_of(Phase), {})]
    return [*lines, ""]


def _next_steps(verb: str, picked: dict[str, str], dirs: list[Path]) -> list[str]:
    """Which files change the defaults, and how to see all values."""
    words = " ".join(f"{group}={option}" for group, option in {"dataset": "NAME", **picked}.items())
    if "figure" in picked:
        return [f"to see what it would do: flowrepro {verb} figure={picked['figure']} dry_run=true"]
    own = chosen([f"{g}={o}" for g, o in picked.items()], dirs)
    sizes = [name for name in options("sizes") if name.rpartition("-")[0] == own["model"]]
    tuned = [
        name for name in options("tuned") if name.rpartition("-")[0] == f"{own['dataset']}-{own['model']}"
    ]
    found = [f"conf/sizes/{name}.yaml" for name in sizes] + [f"conf/tuned/{name}.yaml" for name in tuned]
    lines = [f"values that depend on the scale: {', '.join(found)}"] if found else []
    return [*lines, f"to see all values of a run: flowrepro train {words} dry_run=true debug=true"]


def _train_keys() -> list[str]:
    """The keys of every group, each under the options that have it, and the general ones."""
    lines = ["", "keys, with their defaults"]
    for group in GROUPS:
        for schema, names in schemas(group).items():
            if fields := keys_of(schema, group):
                lines += [*textwrap.wrap(f"{group}={', '.join(names)}", 100), *_lines(fields, {})]
    lines += ["each phase of phases.sequence", *_lines(keys_of(Phase), {})]
    every, others = _general("train"), _general("train figure=KEY")
    lines += ["every run", *_lines(every, {}), "figure=KEY"]
    lines += _lines({key: field for key, field in others.items() if key not in every}, {})
    sweeps = (
        "-m sweeps over comma-separated values; hydra/launcher=joblib or submitit_slurm runs jobs in parallel"
    )
    return [*lines, "", sweeps]


def _other_keys(verb: str) -> list[str]:
    """The keys that have an effect with run= and with figure=."""
    lines = ["", "keys, with their defaults"]
    for command in COMMANDS:
        if command.startswith(verb):
            lines += [command, *_lines(_general(command), {})]
    return lines


def _general(command: str) -> Fields:
    """The keys outside all groups that have an effect in a command."""
    return {key: field for key, field in general_keys().items() if counts(key, command)}


def _lines(fields: Fields, own: dict[str, Any]) -> list[str]:
    """One line per key: its value in `own`, else its default; its meaning; its allowed values."""
    lines = []
    for key, field in fields.items():
        value = own.get(key, default_of(field))
        bounds = f" [{allowed(field)}]" if allowed(field) else ""
        lines.append(f"  {f'{key}={as_word(value)}':<34} {field.metadata['help']}{bounds}")
    return lines
