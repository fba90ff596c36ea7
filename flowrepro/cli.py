"""The command line: three verbs, their help, completion, and the exit codes.

Neither torch nor Hydra is imported before a verb has work to do. Hydra never sees the verb.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from flowrepro.errors import UsageError, nearest, translated
from flowrepro.help import HELP, VERBS
from flowrepro.output import forgiving
from flowrepro.training.signals import follow_pool, interruptible

OPTIONS = ("-m", "--multirun", "-h", "--help", "--config-dir")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    0 ok, 1 bug, 2 usage, 3 data, 4 checkpoint, 5 diverged or not finite, 6 jobs of a sweep failed, 130 Ctrl-C,
    143 SIGTERM, 129 SIGHUP.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    with forgiving():
        try:
            with interruptible():
                follow_pool()
                return _dispatch(words)
        except KeyboardInterrupt as stop:
            return _fail(str(stop) or "stopped by Ctrl-C", getattr(stop, "code", 130))
        except Exception as error:
            if "debug=true" in words:
                raise
            return _failed(error)


def _failed(error: Exception) -> int:
    """Report an error in one line; its exit code."""
    if known := translated(error):
        return _fail(str(known), known.code)
    if isinstance(error, OSError):
        return _fail(
            f"{error.filename or 'a file'}: {error.strerror or error}; check disk space and permissions", 1
        )
    return _fail(f"a bug in flowrepro: {type(error).__name__}: {error} (debug=true shows the traceback)", 1)


def _fail(message: str, code: int) -> int:
    print("flowrepro: " + " ".join(message.split()), file=sys.stderr)
    return code


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if words[0] == "--version":
        from flowrepro.version import __version__

        print(__version__)
        return 0
    if words[0] in ("--completion", "--complete"):
        from flowrepro import completion

        print(completion.answer(words), end="")
        return 0
    verb, rest = words[0], words[1:]
    if verb not in VERBS:
        raise UsageError(f"unknown command '{verb}'{nearest(verb, VERBS)}")
    overrides, config_dirs, multirun, wants_help = _split(rest)
    if wants_help:
        from flowrepro import help

        print(help.verb_help(verb, overrides, config_dirs), end="")
        return 0
    return _run_verb(verb, overrides, config_dirs, multirun)


def _split(words: list[str]) -> tuple[list[str], list[Path], bool, bool]:
    """The arguments of a verb: overrides, --config-dir folders, -m, --help."""
    overrides: list[str] = []
    config_dirs: list[Path] = []
    multirun = wants_help = False
    rest = iter(words)
    for word in rest:
        if word in ("-m", "--multirun"):
            multirun = True
        elif word in ("-h", "--help"):
            wants_help = True
        elif word == "--config-dir" or word.startswith("--config-dir="):
            config_dirs.append(Path(word.partition("=")[2] or next(rest, "")))
        elif word.startswith("-"):
            raise UsageError(f"unknown option '{word}'{nearest(word, OPTIONS)}")
        else:
            overrides.append(word)
    return overrides, config_dirs, multirun, wants_help


def _run_verb(verb: str, overrides: list[str], config_dirs: list[Path], multirun: bool) -> int:
    from flowrepro.config.commands import check_effect, command, with_data_set
    from flowrepro.config.compose import compose
    from flowrepro.config.quoting import understood

    check_effect(verb, overrides, multirun)
    overrides = understood(overrides, multirun)
    if multirun:
        from flowrepro.verbs.sweep import sweep

        return sweep(overrides, config_dirs)
    if command(verb, overrides) == "evaluate":
        from flowrepro.verbs import listing

        listing.run(overrides, config_dirs)
        return 0
    config = compose(with_data_set(overrides) if verb == "evaluate" else overrides, config_dirs)
    if "," in config.run:
        from flowrepro.verbs import compare

        compare.run(verb, config, overrides)
    elif verb == "train":
        from flowrepro.verbs import train

        train.run(config, overrides)
    elif verb == "evaluate":
        from flowrepro.verbs import evaluate

        evaluate.run(config, overrides)
    else:
        from flowrepro.verbs import plot

        plot.run(config, overrides)
    return 0


def entry() -> None:
    """The console script."""
    sys.exit(main())
