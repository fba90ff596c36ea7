"""What a run was made with: versions, code, data, hardware, sessions. No environment variables."""

import hashlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from flowrepro.errors import DataError
from flowrepro.runs.folder import Run, read_json
from flowrepro.version import __version__
from flowrepro.writing import write_json

CONTINUED_FROM = "continued_from"  # the name of the shorter run whose sessions come first
PACKAGES = ("torch", "numpy", "hydra-core", "omegaconf", "scikit-learn", "pandas", "matplotlib")


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version(), "flowrepro": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def git_state() -> dict[str, Any]:
    """Commit of the source tree and whether it has uncommitted changes; empty for an installed package."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return {}
    commit = _git(here, "rev-parse", "HEAD")
    changes = _git(here, "status", "--porcelain", "--", "flowrepro", "conf")
    return {"commit": commit, "dirty": bool(changes)} if commit else {}


def _git(folder: Path, *words: str) -> str:
    try:
        answer = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def hardware(device: str) -> dict[str, Any]:
    """Device, processor, cores and threads."""
    import torch

    found: dict[str, Any] = {
        "device": device,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    if device == "cuda":
        found["gpu"] = torch.cuda.get_device_name()
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return names[0].split(":")[1].strip() if names else platform.processor()


def source() -> str:
    """A digest of the source of flowrepro."""
    package, digest = Path(__file__).resolve().parents[1], hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def made_with(device: str) -> dict[str, Any]:
    """What a session's numbers depend on besides its config and data."""
    return {
        "versions": versions(),
        "source": source(),
        "hardware": hardware(device),
    }


def check_data(run: Run, fingerprint: str) -> None:
    """Raise DataError if a run was trained on different data."""
    begun = manifest(run).get("data", fingerprint)
    if begun != fingerprint:
        raise DataError(
            f"{run.path} was trained on different data (fingerprint {begun}, now {fingerprint}); "
            "restore the original data, or retrain with overwrite=true"
        )


def begin_session(
    run: Run, device: str, fingerprint: str, parameters: int, columns: Sequence[str] = ()
) -> None:
    """Add this session to the run's manifest."""
    manifest = read_json(run.path / "manifest.json") or {
        "data": fingerprint,
        "columns": list(columns),
        "parameters": parameters,
        "sessions": [],
    }
    manifest["sessions"].append(
        {
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "words": sys.argv[1:],
            "git": git_state(),
            **made_with(device),
        }
    )
    write_manifest(run, manifest)


def end_session(run: Run, state: str, step: int) -> None:
    """Close the last session of the manifest."""
    manifest = read_json(run.path / "manifest.json")
    manifest["sessions"][-1] |= {"ended": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "state": state, "step": step}
    write_manifest(run, manifest)


def write_manifest(run: Run, manifest: dict[str, Any]) -> None:
    """Replace the manifest of a run."""
    write_json(run.path / "manifest.json", manifest)


def manifest(run: Run) -> dict[str, Any]:
    """The manifest of a run."""
    return read_json(run.path / "manifest.json")


def trained_on(run: Run) -> list[dict[str, Any]]:
    """The hardware of each session of a run."""
    return [session["hardware"] for session in manifest(run).get("sessions", [])]
