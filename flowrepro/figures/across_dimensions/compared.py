"""across_dimensions: how its claims compare the distances of models, and what has to be true before they are judged."""

import dataclasses

import pandas as pd

from flowrepro.features.names import label
from flowrepro.figures.across_dimensions.distances import THREE_BITS, TITLES, summary
from flowrepro.figures.claims import (
    Claim,
    Control,
    Given,
    Threshold,
    Values,
    at_least,
    at_most,
    column,
    enough,
    largest,
    must_fail,
    ratio,
    settled,
    smallest,
)

# the scales at which distances are measured on each network
SCALES = {"lite0": ("cpu", "paper"), "classifier": ("cpu",), "inception": ("paper",)}
# the set without labels has no classifier of its own
NETWORKS = {
    "fashion_mnist": ("inception", "lite0", "classifier"),
    "cifar10": ("inception", "lite0", "classifier"),
    "faces": ("inception", "lite0"),
}
NETWORKS[THREE_BITS] = NETWORKS["fashion_mnist"]
KINDS = ("frechet", "kernel")
# bits/dim that count as a difference between two flows
BITS = 0.05
# noise of a tenth of the range has to count for this fraction of the distance of samples
SEEN = 0.1


def own_images(dataset: str) -> tuple[Given, ...]:
    """That no other set stands in for the paper's, where one may."""
    return (of_celeba(),) if dataset == "faces" else ()


def of_celeba() -> Given:
    """What does not hold on a few hundred other portraits may well hold on the paper's faces."""

    def stands_in(table: pd.DataFrame) -> pd.Series:
        rows = table[table.dataset == "faces"].set_index("seed")
        told = rows["source" if "source" in rows else "images"]
        return told.str.contains("stand-in|standing in").astype(float)

    return enough(stands_in, at_most(0), "the faces are CelebA's, none stand in for them")


@dataclasses.dataclass(frozen=True)
class Where:
    """The rows of a summary that a claim is about: one set, one network, one kind of distance."""

    dataset: str
    network: str
    kind: str = "frechet"

    @property
    def key(self) -> str:
        """For names of claims."""
        return f"{self.dataset}_{self.network}" + "_kernel" * (self.kind == "kernel")

    @property
    def label(self) -> str:
        """The distance in words."""
        return label(self.kind, self.network)

    @property
    def title(self) -> str:
        """The set in words."""
        return TITLES[self.dataset]

    @property
    def scales(self) -> tuple[str, ...]:
        """Where it is measured."""
        return SCALES[self.network]

    def all(self, name: str, **more: str) -> Values:
        """A column of the summary, for every model."""
        return column(name, dataset=self.dataset, network=self.network, kind=self.kind, **more)

    def of(self, name: str, model: str) -> Values:
        """A column of the summary, for one model."""
        return self.all(name, model=model)

    def over(self, one: tuple[str, str], other: tuple[str, str]) -> Values:
        """The distance of one (model, column) over that of another."""
        return ratio(self.of(one[1], one[0]), self.of(other[1], other[0]))

    def worst(self, models: tuple[str, ...], name: str, other: tuple[str, str]) -> Values:
        """The largest ratio over models."""
        return largest(*(self.over((model, name), other) for model in models))

    def best(self, models: tuple[str, ...], name: str, other: tuple[str, str]) -> Values:
        """The smallest ratio over models."""
        return smallest(*(self.over((model, name), other) for model in models))

    @property
    def given(self) -> tuple[Given, ...]:
        """All samples are finite, and the features see noise."""
        return (
            enough(self.all("left_out"), at_most(0), "samples that are not finite"),
            enough(
                self.all("noise_share"),
                at_least(SEEN),
                "noise of a tenth of the range on real images, relative to the distance of samples",
            ),
        )

    @property
    def to_refute(self) -> tuple[Given, ...]:
        """Training has converged, in bits/dim, on the paper's own images."""
        return (settled(self.all("gain_bits"), BITS), *own_images(self.dataset))

    def at_three_bits(self, name: str, other: tuple[str, str], threshold: Threshold) -> tuple[Given, ...]:
        """For Fashion-MNIST, whose bit depth the paper leaves open: that NIF-64 fails at 3 bits too, at least by this."""
        if self.dataset != "fashion_mnist":
            return ()
        there = dataclasses.replace(self, dataset=THREE_BITS)
        return (
            enough(
                there.over(("NIF-64", name), other),
                threshold,
                "at 3 bits as well, distance of NIF-64 over that of NF",
            ),
        )

    @property
    def cold(self) -> Control:
        """Samples of the NF that have lost their variety must not count as better."""
        return must_fail("the NF at t = 0.3", self.over(("NF", "cold"), ("NF", "untuned")))


def on_summary(claim: Claim) -> Claim:
    """The same claim of a table in long form."""

    def of(values: Values) -> Values:
        return lambda table: values(summary(table))

    def all_of(parts: tuple) -> tuple:
        return tuple(dataclasses.replace(part, values=of(part.values)) for part in parts)

    return dataclasses.replace(
        claim,
        values=of(claim.values),
        given=all_of(claim.given),
        to_refute=all_of(claim.to_refute),
        controls=all_of(claim.controls),
    )
