"""The four papers: where to read them and what each claims."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """One of the four papers; `claims` is what it says in three sentences."""

    key: str
    title: str
    authors: str
    year: int
    link: str
    claims: str


PAPERS = (
    Paper(
        "linear_systems",
        "A Linear Systems Theory of Normalizing Flows",
        "Feinman & Parthasarathy",
        2020,
        "https://arxiv.org/abs/1907.06496",
        "A flow at its optimum whitens the data locally: its Jacobian at a point holds the local covariance. The "
        "singular value decomposition of that Jacobian undoes the whitening and gives components that are ordered by "
        "how much of the manifold they explain. A Tikhonov penalty on the Jacobian keeps training from diverging where "
        "the data have fewer intrinsic dimensions than coordinates.",
    ),
    Paper(
        "across_dimensions",
        "Normalizing Flows Across Dimensions",
        "Cunningham, Zabounidis, Agrawal, Fiterau & Sheldon",
        2020,
        "https://arxiv.org/abs/2006.13070",
        "A noisy injective flow (NIF) replaces the Gaussian base of a flow by an explicit map from fewer dimensions plus "
        "noise, and its likelihood stays in closed form. Samples on the learned manifold, without the noise, look better "
        "and have a lower FID than those of the flow alone. The likelihood on held-out images stays the same, and the "
        "low-dimensional latents tell the classes apart.",
    ),
    Paper(
        "jacobian_determinant",
        "Jacobian Determinant of Normalizing Flows",
        "Liao & He",
        2021,
        "https://arxiv.org/abs/2102.06539",
        "The Jacobian determinant is unique for given distributions, so that the likelihood of a flow has one global "
        "optimum. For quasi-linear flows it follows from the eigenvalues of single data points. Expanding and contracting "
        "maps have to be in balance for stable training; the quasi-linear flow (QLF), built on that, trains on images "
        "of 1024x1024 pixels.",
    ),
    Paper(
        "single_coupling",
        "Characterizing the Role of a Single Coupling Layer in Affine Normalizing Flows",
        "Draxler, Schwarz, Schnörr & Köthe",
        2020,
        "https://doi.org/10.1007/978-3-030-71278-5_1",
        "One affine coupling at its optimum normalises the first two conditional moments of the active dimensions. That "
        "gives a bound on what it can gain for each rotation of the data before it, and the rotation that gains most. "
        "Layers can then be trained one by one, which beats random rotations but not end-to-end training.",
    ),
)
