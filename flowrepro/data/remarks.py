"""What a user should know about their own columns before a flow is trained on them."""

import numpy as np
from torch import Tensor

# std beyond these is so far from that of the latent that training takes long, or fails
SMALL, LARGE = 1e-3, 1e3


def columns_without_meaning(points: np.ndarray, names: tuple[str, ...]) -> tuple[str, ...]:
    """One line for the constant columns of (n, D), one for those that repeat another: their likelihood is unbounded."""
    label = [*names] or [str(j + 1) for j in range(points.shape[1])]
    constant = [j for j in range(points.shape[1]) if (points[:, j] == points[0, j]).all()]
    first: dict[bytes, int] = {}
    pairs = [
        f"{label[j]} equals {label[of]}"
        for j in range(points.shape[1])
        if j not in constant and (of := first.setdefault(points[:, j].tobytes(), j)) != j
    ]
    remarks = []
    if constant:
        told = ", ".join(label[j] for j in constant)
        remarks.append(f"constant: column{'s' * (len(constant) > 1)} {told}; better left out")
    if pairs:
        remarks.append(f"repeated: column {', column '.join(pairs)}; better left out")
    return tuple(remarks)


def scale_remark(points: Tensor) -> str:
    """A line for data (N, D) whose columns have standard deviations far from one; empty otherwise."""
    std = points.double().std(0, correction=0)
    std = std[std > 0]
    if not len(std) or (std.min() > SMALL and std.max() < LARGE):
        return ""
    return (
        f"the columns' standard deviations are {std.min():.2g} to {std.max():.2g}, far from 1, "
        "which makes training slow or unstable; model.standardize=true divides by them"
    )
