"""`python tests/benchmarks [word]`: every bench_*.py (with the word in its name), one table in outputs/bench/bench.csv."""

import importlib
import sys
from pathlib import Path

import pandas as pd

HERE = Path(__file__).resolve().parent


def main(word: str = "") -> None:
    """Run the benchmarks, print their rows, and put them in the place of their earlier ones in the table."""
    rows: list[dict[str, object]] = []
    for file in sorted(HERE.glob("bench_*.py")):
        if word in file.stem:
            rows += [{"bench": file.stem} | row for row in importlib.import_module(file.stem).rows()]
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format=lambda v: f"{v:.3g}"))
    path = Path("outputs/bench/bench.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        before = pd.read_csv(path)
        table = pd.concat([before[~before.bench.isin(table.bench)], table]).sort_values(
            "bench", kind="stable"
        )
    table.to_csv(path, index=False, float_format="%.4g")
    print(f"table  {path}")


if __name__ == "__main__":
    main(*sys.argv[1:])
