"""Help of the verbs and completion behind them: both read the conf folders and the typed config, nothing heavy."""

from collections.abc import Iterable
from pathlib import Path

from flowrepro.config.compose import keys, options
from flowrepro.config.schema import GROUPS
from flowrepro.errors import UsageError

VERBS = {
    "train": "train a flow (or go on with it); with -m a sweep of them; figure=KEY trains a figure's runs",
    "evaluate": "likelihood tables, samples, components of a run; tables and claims of a figure",
    "plot": "pictures from what evaluate stored; figure=all draws every figure and writes the report",
}

HELP = """flowrepro: reproduce the figures of four papers on normalizing flows, and judge their claims.

  flowrepro train     {train}
  flowrepro evaluate  {evaluate}
  flowrepro plot      {plot}

Examples
  flowrepro train dataset=sine regularizer.alpha=5e-5 scale=smoke
  flowrepro train -m dataset=sine regularizer.alpha=0,1e-5,5e-5
  flowrepro evaluate figure=linear_systems/fig2

Runs, sweeps, figures and the report go to ./outputs (output_dir=...).
Every verb has its own --help with all data sets, models and keys.
Completion: eval "$(flowrepro --completion bash)"   Version: flowrepro --version
""".format(**VERBS)

GROUP_WORDS = (*GROUPS, "figure")
EXAMPLES = {
    "train": [
        "train dataset=sine model=dense_asinh regularizer=tikhonov scale=cpu",
        "train -m dataset=sine regularizer.alpha=0,1e-5,5e-5 scale=smoke",
        "train dataset=array dataset.path=points.npy training.max_minutes=10",
    ],
    "evaluate": ["evaluate run=latest", "evaluate figure=linear_systems/fig2 scale=cpu"],
    "plot": ["plot run=latest", "plot figure=linear_systems/fig2", "plot figure=all"],
}

BASH = r"""_flowrepro() {
  local line="${COMP_LINE:0:COMP_POINT}" cur reply
  cur="${line##* }"
  mapfile -t reply < <(flowrepro --complete "$line" 2>/dev/null)
  local cut="${cur%"${cur##*[=:]}"}"
  COMPREPLY=("${reply[@]#"$cut"}")
  [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -F _flowrepro flowrepro
"""
ZSH = "autoload -U +X bashcompinit && bashcompinit\n" + BASH


def answer(words: list[str]) -> str:
    """`--completion SHELL` prints the shell's function; `--complete LINE` the candidates for its last word."""
    if words[0] == "--complete":
        return "".join(f"{c}\n" for c in candidates(words[1] if len(words) > 1 else ""))
    shell = words[1] if len(words) > 1 else "bash"
    if shell not in ("bash", "zsh"):
        raise UsageError(f"no completion for '{shell}'; there is bash and zsh")
    return ZSH if shell == "zsh" else BASH


def candidates(line: str) -> list[str]:
    """What the last word of a command line can become: a verb, a group and its options, a key, a run."""
    words = line.split(" ")[1:]
    current = words[-1] if words else ""
    before = [w for w in words[:-1] if w]
    if not before:
        return [v for v in VERBS if v.startswith(current)]
    name, is_value, _ = current.partition("=")
    if is_value:
        found = [f"{name}={value}" for value in _values(name, before[0])]
    else:
        found = [f"{k}=" for k in (*GROUP_WORDS, *keys())]
        found += ["--help", "--config-dir", "-m"] if current.startswith("-") else []
    return sorted({c for c in found if c.startswith(current)})


def _values(name: str, verb: str) -> list[str]:
    if name in GROUP_WORDS:
        return [*options(name), *(["all"] if name == "figure" and verb == "plot" else [])]
    if name == "run":
        return ["latest", *sorted(p.parent.name for p in Path("outputs/runs").glob("*/config.yaml"))]
    return ["true", "false"] if name in ("overwrite", "dry_run", "debug", "dataset.download") else []


def verb_help(verb: str, what: str, config_dirs: Iterable[Path]) -> str:
    """The help of one verb: examples, every group with its options, every key with its meaning."""
    dirs = list(config_dirs)
    lines = [f"flowrepro {verb}: {what}", "", "Examples", *(f"  flowrepro {e}" for e in EXAMPLES[verb])]
    groups = GROUP_WORDS if verb == "train" else ("figure", "scale")
    for group in groups:
        lines += ["", f"{group}="] + [f"  {name:<22} {text}" for name, text in options(group, dirs).items()]
    lines += ["", "keys"]
    for key, text in keys().items():
        if verb == "train" or not key.startswith(
            ("training.", "dataset.", "model.", "regularizer.", "phases.")
        ):
            lines.append(f"  {key + '=':<32} {text}")
    if verb == "train":
        lines += [
            "",
            "-m sweeps over comma-separated values; hydra/launcher=joblib or submitit_slurm runs jobs in parallel",
        ]
    return "\n".join([*lines, "--config-dir DIR adds a folder of your own dataset/, model/, ... files", ""])
