"""Held-out images, for a picture of samples to stand beside."""

from typing import Any

from flowrepro.data import ImageData
from flowrepro.flows.core import Flow
from flowrepro.measures.image_flow import pixels


def measure(flow: Flow, data: ImageData, n: int) -> dict[str, Any]:
    """The first n held-out images as bytes, `real` (n, H, W, C), and `real_source`, what they are."""
    return {"real": pixels(data.val, data.val[:n]), "real_source": data.source}
