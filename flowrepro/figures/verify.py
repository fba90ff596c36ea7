"""Stored tables judged again: their claims compared with the stored ones to the last digit, or written anew."""

import io
from pathlib import Path

import pandas as pd

from flowrepro.config.schema import Config
from flowrepro.errors import FlowreproError, UsageError
from flowrepro.figures import store
from flowrepro.figures.catalogue import keys, load_spec
from flowrepro.figures.claims import judge

MAX_ARRAYS = 1_000_000  # bytes


def run(config: Config) -> None:
    """claims=verify and claims=judge for one figure at every scale that is stored, or for figure=all.

    Raises:
        UsageError: nothing is stored.
        FlowreproError: stored claims differ from what their table gives.
    """
    outputs = Path(config.output_dir)
    wanted = keys() if config.figure == "all" else [load_spec(config.figure).key]
    there = [(key, scale) for key in wanted for scale in store.scales_there(outputs, key)]
    if not there:
        raise UsageError(f"nothing is stored in {outputs / 'figures'}; first: flowrepro evaluate figure=KEY")
    act = judge_again if config.claims == "judge" else verify
    differing = [act(outputs, key, scale) for key, scale in there]
    if config.claims == "verify" and any(differing):
        raise FlowreproError(
            f"{sum(differing)} of {len(there)} stored evaluations differ; claims=judge writes them anew"
        )


def verify(outputs: Path, key: str, scale: str) -> bool:
    """Print whether the stored claims are what the stored table gives; True where they are not."""
    folder = store.folder_of(outputs, key, scale)
    found = differences(folder, key, scale)
    told = [f"{len(found)} differences, first {found[0]}"] if found else ["same claims"]
    print(f"{'DIFFERS' if found else 'ok':<8}{key} {scale}: {'; '.join(told + remarks(folder, key, scale))}")
    return bool(found)


def judge_again(outputs: Path, key: str, scale: str) -> bool:
    """Write the claims that the stored table gives, and print what changed; True where anything did."""
    folder = store.folder_of(outputs, key, scale)
    found = differences(folder, key, scale)
    store.save_claims(folder, _judged(folder, key, scale))
    print(f"{key} {scale}: {len(found)} values changed" + "".join(f"\n    {line}" for line in found))
    return bool(found)


def differences(folder: Path, key: str, scale: str) -> list[str]:
    """Where the stored claims differ from those of the stored table, one line for each value."""
    stored = _frame((folder / "claims.csv").read_text())
    judged = _frame(store.csv(_judged(folder, key, scale)))
    if list(stored.columns) != list(judged.columns):
        return [f"other columns: {_exchanged(stored.columns, judged.columns)}"]
    if list(stored.index) != list(judged.index):
        return [f"other claims: {_exchanged(stored.index, judged.index)}"]
    changed = stored.ne(judged).stack()
    return [f"{k}.{c}: {stored.at[k, c]!r} -> {judged.at[k, c]!r}" for k, c in changed[changed].index]


def _exchanged(old: pd.Index, new: pd.Index) -> str:
    """What is gone and what is new, or that the order is."""
    changed = [f"-{name}" for name in old if name not in new] + [
        f"+{name}" for name in new if name not in old
    ]
    return " ".join(changed) or "the same in another order"


def _judged(folder: Path, key: str, scale: str) -> pd.DataFrame:
    stored = store.load_evaluation(folder, key, scale)
    return judge(load_spec(key).module.CLAIMS, stored.table, scale)


def _frame(text: str) -> pd.DataFrame:
    """A file of claims as text, by key."""
    return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False).set_index("key", drop=False)


def remarks(folder: Path, key: str, scale: str) -> list[str]:
    """What else a reader should know: uncommitted code, a missing picture, missing or large arrays."""
    arrays = folder / "arrays.npz"
    size = arrays.stat().st_size if arrays.exists() else 0
    dirty = store.load_evaluation(folder, key, scale).provenance.get("git", {}).get("dirty")
    found = {
        "measured with uncommitted changes": dirty,
        "no picture": not (folder / "figure.png").exists(),
        "no arrays, the picture cannot be drawn again": not size,
        f"arrays of {size / 1e6:.1f} MB, more than {MAX_ARRAYS / 1e6:g}": size > MAX_ARRAYS,
    }
    return [text for text, holds in found.items() if holds]
