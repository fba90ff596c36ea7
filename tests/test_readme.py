"""The README: its Python example runs, its index of figures is in step, it is short."""

import doctest
import re
from pathlib import Path

from flowrepro.config.schema import SCHEMAS
from flowrepro.report.readme import index

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_the_python_example_runs(flowrepro):
    flowrepro("train", "dataset=sine", "scale=smoke", "training.steps=20", "model.layers=2", "threads=1")
    example = doctest.DocTestParser().get_doctest(README, {}, "README", "README.md", 0)
    assert len(example.examples) >= 5
    assert doctest.DocTestRunner().run(example).failed == 0


def test_the_index_of_figures_is_in_step():
    written = re.search(r"<!-- figures -->\n(.*)<!-- /figures -->", README, re.S)
    assert written is not None
    assert written.group(1).strip() == index(ROOT / "outputs").strip(), "make report writes it"


def test_every_model_and_regularizer_is_named():
    assert all(f"`{name}`" in README for group in ("model", "regularizer") for name in SCHEMAS[group])


def test_it_is_short():
    assert len(README.splitlines()) < 150
