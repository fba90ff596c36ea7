"""What every distance of images carries: without it the number means nothing."""

import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

# below, a Fréchet distance of Inception's 2,048 features is of singular covariances
FEW = 2048
PACKAGES = ("torch", "numpy", "torchmetrics", "torch-fidelity", "efficientnet-lite-pytorch")


@dataclass(frozen=True)
class Record:
    """How a distance was measured.

    Args:
        n_real, n_fake, n_floor: images compared; n_floor other real ones in the place of the fakes.
        left_out: fake images beside these that were not finite.
        split: what the real images are: `train`, `val`, or in words.
        resize: how images were brought to the network's size.
        temperature, deviation: t and s of the samples; None for what has none.
        seed: of the samples.
        network, sha256: the feature network and the digest of its weights.
        versions: of the libraries.
    """

    n_real: int
    n_fake: int
    n_floor: int
    left_out: int
    split: str
    resize: str
    network: str
    sha256: str
    temperature: float | None = None
    deviation: float | None = None
    seed: int | None = None
    versions: dict[str, str] = field(default_factory=lambda: versions(*PACKAGES))

    @property
    def warnings(self) -> list[str]:
        """What speaks against the number, in words."""
        counts = {"real": self.n_real, "fake": self.n_fake}
        found = [f"{n:,} {side} images, fewer than {FEW:,}" for side, n in counts.items() if n < FEW]
        if 0 < self.n_floor < self.n_fake:
            found.append(f"the floor is of {self.n_floor:,} images only")
        if self.left_out:
            found.append(f"{self.left_out:,} of {self.n_fake + self.left_out:,} fake images are not finite")
        return found

    def as_dict(self) -> dict[str, Any]:
        """The record for JSON, its warnings included."""
        return {**asdict(self), "warnings": self.warnings}

    def row(self) -> dict[str, Any]:
        """The same for a table: lists and dictionaries in words."""
        told = " ".join(f"{name}={number}" for name, number in self.versions.items())
        return {**self.as_dict(), "versions": told, "warnings": "; ".join(self.warnings)}


def versions(*packages: str) -> dict[str, str]:
    """The versions of Python and of those of the packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
