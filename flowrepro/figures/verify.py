"""Stored tables judged again: their claims are compared with the stored ones to the last digit, or rewritten."""

import io
from pathlib import Path

import pandas as pd

from flowrepro.errors import FlowreproError, UsageError
from flowrepro.figures import store
from flowrepro.figures.catalogue import SCALES, keys, load_spec
from flowrepro.figures.claims import judge

MAX_ARRAYS = 1_000_000  # bytes
FILES = ("table.csv", "claims.csv", "provenance.json")


def run(figure: str, claims: str, outputs: Path) -> None:
    """claims=verify and claims=judge for one figure at every stored scale, or for figure=all.

    Raises:
        UsageError: nothing is stored.
        FlowreproError: stored claims differ from those judged from their table.
    """
    wanted = keys() if figure == "all" else [load_spec(figure).key]
    there = [(key, scale) for key in wanted for scale in SCALES if _begun(outputs, key, scale)]
    if not there:
        raise UsageError(
            f"no evaluation found in {outputs / 'figures'}; first: flowrepro evaluate figure=KEY"
        )
    act = judge_again if claims == "judge" else verify
    differing = [act(outputs, key, scale) for key, scale in there]
    if claims == "verify" and any(differing):
        raise FlowreproError(
            f"{sum(differing)} of {len(there)} stored evaluations differ from their tables; "
            "claims=judge rewrites their claims"
        )


def verify(outputs: Path, key: str, scale: str) -> bool:
    """Print whether the stored claims agree with the stored table; True if they do not."""
    folder = store.folder_of(outputs, key, scale)
    found = differences(folder, key, scale)
    told = [f"differences: {len(found)}, first {found[0]}"] if found else ["same claims"]
    told += [] if _lacking(folder) else remarks(folder, key, scale)
    print(f"{'DIFFERS' if found else 'ok':<8}{key} {scale}: {'; '.join(told)}")
    return bool(found)


def judge_again(outputs: Path, key: str, scale: str) -> bool:
    """Judge the stored table again, write its claims, and print what changed; True if anything did."""
    folder = store.folder_of(outputs, key, scale)
    found = differences(folder, key, scale)
    store.save_claims(folder, _judged(folder, key, scale))
    print(f"{key} {scale}: changed values: {len(found)}" + "".join(f"\n    {line}" for line in found))
    return bool(found)


def differences(folder: Path, key: str, scale: str) -> list[str]:
    """Where the stored claims differ from those judged from the stored table, one line per value, or what is missing."""
    if lacking := _lacking(folder):
        return [f"no {name}" for name in lacking]
    stored = _frame((folder / "claims.csv").read_text())
    judged = _frame(store.csv(_judged(folder, key, scale)))
    if list(stored.columns) != list(judged.columns):
        return [f"other columns: {_exchanged(stored.columns, judged.columns)}"]
    if list(stored.index) != list(judged.index):
        return [f"other claims: {_exchanged(stored.index, judged.index)}"]
    changed = stored.ne(judged).stack()
    return [f"{k}.{c}: {stored.at[k, c]!r} -> {judged.at[k, c]!r}" for k, c in changed[changed].index]


def _begun(outputs: Path, key: str, scale: str) -> bool:
    """Whether anything of an evaluation is stored."""
    folder = store.folder_of(outputs, key, scale)
    return len(_lacking(folder)) < len(FILES)


def _lacking(folder: Path) -> list[str]:
    return [name for name in FILES if not (folder / name).exists()]


def _exchanged(old: pd.Index, new: pd.Index) -> str:
    """What is gone and what is new, or that the order is."""
    changed = [f"-{name}" for name in old if name not in new] + [
        f"+{name}" for name in new if name not in old
    ]
    return " ".join(changed) or "the same in another order"


def _judged(folder: Path, key: str, scale: str) -> pd.DataFrame:
    table = folder / "table.csv"
    if not table.exists():
        raise UsageError(store.missing(folder, key, scale))
    return judge(load_spec(key).module.CLAIMS, pd.read_csv(table), scale)


def _frame(text: str) -> pd.DataFrame:
    """A file of claims as text, by key."""
    return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False).set_index("key", drop=False)


def remarks(folder: Path, key: str, scale: str) -> list[str]:
    """What else a reader should know: uncommitted code, a missing picture, missing or large arrays."""
    arrays = folder / "arrays.npz"
    size = arrays.stat().st_size if arrays.exists() else 0
    dirty = store.load_evaluation(folder, key, scale).provenance.get("git", {}).get("dirty")
    found = {
        "measured with uncommitted code": dirty,
        "no picture": not (folder / "figure.png").exists(),
        "no arrays, so the picture cannot be redrawn": not size,
        f"arrays of {size / 1e6:.1f} MB, more than {MAX_ARRAYS / 1e6:g}": size > MAX_ARRAYS,
    }
    return [text for text, holds in found.items() if holds]
