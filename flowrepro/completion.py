"""Completion behind the verb, for bash, zsh and fish."""

from collections.abc import Iterable
from pathlib import Path

from flowrepro.config.commands import COMMANDS, command, counts
from flowrepro.config.keys import Fields, chosen, keys, options
from flowrepro.config.schema import GROUPS
from flowrepro.errors import UsageError, nearest
from flowrepro.help import VERBS

BASH = r"""_flowrepro() {
  local line="${COMP_LINE:0:COMP_POINT}" cur reply
  cur="${line##* }"
  mapfile -t reply < <(flowrepro --complete "$line" 2>/dev/null)
  local cut="${cur%"${cur##*[=:]}"}"
  COMPREPLY=("${reply[@]#"$cut"}")
  [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=/] ]] && compopt -o nospace
}
complete -F _flowrepro flowrepro
"""
ZSH = r"""_flowrepro() {
  local -a reply
  reply=("${(@f)$(flowrepro --complete "${(j: :)words[1,CURRENT]}" 2>/dev/null)}")
  compadd -S '' -- ${(M)reply:#*[=/]}
  compadd -- ${reply:#*[=/]}
}
compdef _flowrepro flowrepro
"""
FISH = "complete -c flowrepro -f -a '(flowrepro --complete (commandline -cp | string collect))'\n"
SHELLS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
ENDINGS = (".npy", ".npz", ".csv")


def answer(words: list[str]) -> str:
    """`--completion SHELL` prints the shell's function; `--complete LINE` the candidates for its last word."""
    if words[0] == "--complete":
        return "".join(f"{c}\n" for c in candidates(words[1] if len(words) > 1 else ""))
    shell = words[1] if len(words) > 1 else "bash"
    if shell not in SHELLS:
        raise UsageError(f"no completion for '{shell}'{nearest(shell, SHELLS)}")
    return SHELLS[shell]


def candidates(line: str) -> list[str]:
    """Completions of the last word of a command line: a verb, a group and its options, a key and its values."""
    words = line.split(" ")[1:]
    current, before = (words[-1] if words else ""), [w for w in words[:-1] if w]
    if not before:
        return [v for v in VERBS if v.startswith(current)]
    verb, given = before[0], before[1:]
    name, is_value, start = current.partition("=")
    fields = keys(chosen(given))
    if is_value:
        found = [f"{name}={value}" for value in _values(verb, name, start, fields, given)]
    else:
        wanted = _commands(verb, given)
        found = [f"{k}=" for k in (*GROUPS, *fields) if any(counts(k, c) for c in wanted)]
        found += ["--help", "--config-dir", "-m"] if current.startswith("-") else []
    return sorted({c for c in found if c.startswith(current)})


def _commands(verb: str, given: list[str]) -> list[str]:
    """The commands that the line could still turn into."""
    try:
        named = command(verb, given, multirun="-m" in given)
    except UsageError:
        return [c for c in COMMANDS if c.startswith(verb)]
    return [c for c in COMMANDS if c.startswith(verb) and c != "train -m"] if not given else [named]


def _values(verb: str, name: str, start: str, fields: Fields, given: list[str]) -> Iterable[str]:
    """The values of a key that are known in advance."""
    if name in (*GROUPS, "figure"):
        return [*options(name), *(["all"] if name == "figure" and verb != "train" else [])]
    if name == "run":
        folder = dict(w.split("=", 1) for w in given if "=" in w).get("output_dir", "outputs")
        return ["latest", *(p.parent.name for p in Path(folder, "runs").glob("*/config.yaml"))]
    if name in ("dataset.path", "output_dir"):
        return _paths(start, ENDINGS if name == "dataset.path" else ())
    if name not in fields:
        return []
    return ["true", "false"] if fields[name].type is bool else fields[name].metadata.get("choices", ())


def _paths(start: str, endings: tuple[str, ...]) -> list[str]:
    """The folders, and the files of these endings, that a path can become."""
    folder = start[: start.rfind("/") + 1]
    found = sorted(Path(folder or ".").glob("*"))
    return [
        f"{folder}{p.name}{'/' if p.is_dir() else ''}" for p in found if p.is_dir() or p.suffix in endings
    ]
