"""A hash of the code behind a number, so that results of older code are not mistaken for current ones."""

import ast
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "flowrepro"
# they bring a run's settings and files to the measuring code and compute nothing: settings are saved with the run, and its
# checkpoint is in the key. A new option must not make everything be measured again
CARRIERS = tuple(
    f"{PACKAGE}.{name}"
    for name in (
        "config",
        "errors",
        "writing",
        "runs.folder",
        "runs.lock",
        "runs.aside",
        "runs.manifest",
        "runs.listing",
    )
)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@functools.cache
def code_hash(*modules: str, root: Path = ROOT) -> str:
    """The SHA-256 of these modules and of every module of the package that they import, directly or not.

    Comments, docstrings and layout do not count, nor what only carries (`CARRIERS`). Imports are read from the source,
    those inside functions too.
    """
    digest = hashlib.sha256()
    for name in sorted(reached(modules, root)):
        if not f"{name}.".startswith(tuple(f"{carrier}." for carrier in CARRIERS)):
            digest.update(f"{name}\n{ast.dump(_tree(name, root))}\n".encode())
    return digest.hexdigest()


def reached(modules: Iterable[str], root: Path = ROOT) -> set[str]:
    """The modules of the package that these import, directly or not, and they themselves."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [m for m in _imported(_tree(name, root)) if _file(m, root)]
    return found


def _imported(tree: ast.Module) -> list[str]:
    """What the imports of a module may name: modules, or what is defined in them."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.split(".")[0] == PACKAGE]


@functools.cache
def _tree(name: str, root: Path) -> ast.Module:
    """The parsed module without its docstrings."""
    file = _file(name, root)
    assert file is not None, name
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return tree


def _file(name: str, root: Path) -> Path | None:
    path = root.joinpath(*name.split("."))
    return next((f for f in (path.with_suffix(".py"), path / "__init__.py") if f.is_file()), None)
