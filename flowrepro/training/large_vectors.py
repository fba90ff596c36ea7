"""Whether a model of vectors was chosen for what is better left to a model of images."""

from flowrepro.data import Data, ImageData

# dimensions: most models of vectors have matrices of that size in every layer
LARGE = 2_000


def large_vectors(data: Data | ImageData, model: str) -> str:
    """A line for images that a model of vectors takes as points of thousands of dimensions; empty otherwise."""
    if isinstance(data, ImageData) or data.image_shape is None or data.dim <= LARGE:
        return ""
    return (
        f"model={model} takes each image as a vector of {data.dim:,} numbers, of which a few steps take minutes; "
        "model=glow, or another model for images, is far faster"
    )
