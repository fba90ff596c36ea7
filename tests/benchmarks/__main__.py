"""`python tests/benchmarks [word]`: every bench_*.py (with the word in its name), one table in outputs/bench/bench.csv.

With BENCH_DEVICE=cuda those that can run on a GPU, in outputs/bench/cuda.csv.
"""

import importlib
import sys
from pathlib import Path

import pandas as pd
import torch
from timing import DEVICE

HERE = Path(__file__).resolve().parent


def main(word: str = "") -> None:
    """Run the benchmarks, print their rows, and put them in the place of their earlier ones in the table."""
    rows: list[dict[str, object]] = []
    for file in sorted(HERE.glob("bench_*.py")):
        module = importlib.import_module(file.stem) if word in file.stem else None
        if module and DEVICE in getattr(module, "DEVICES", ("cpu",)):
            rows += [{"bench": file.stem} | row for row in module.rows()]
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format=lambda v: f"{v:.3g}"))
    if DEVICE == "cuda":
        table["gpu"], table["torch"] = torch.cuda.get_device_name(), torch.__version__
    path = Path("outputs/bench", "bench.csv" if DEVICE == "cpu" else f"{DEVICE}.csv")
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
