"""A small classifier trained on a data set itself: 96 features of what its own classes differ in."""

import hashlib
import io
import json
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from flowrepro.config.schema import ImageConfig
from flowrepro.data import ImageData, load_images
from flowrepro.data.cache import cache_folder
from flowrepro.data.dequantised import Images
from flowrepro.data.labels import labels
from flowrepro.features.network import FeatureNetwork, Standardised, colour
from flowrepro.features.weights import checked
from flowrepro.randomness import generator, stream
from flowrepro.writing import replacing, write_json

# pixels from -1 to 1
MEAN, STD = (127.5, 127.5, 127.5), (127.5, 127.5, 127.5)


@dataclass(frozen=True)
class Recipe:
    """How it is trained: Adam, its learning rate falling to zero along a cosine."""

    steps: int = 1500
    batch: int = 128
    lr: float = 1e-2
    width: int = 24
    seed: int = 0


class Convolutions(nn.Sequential):
    """Three convolutions of 3x3 with batch norm and ReLU, the first two halve the side; averaged: (n, 4 width)."""

    def __init__(self, width: int) -> None:
        sizes = [3, width, 2 * width, 4 * width]
        blocks = [_block(i, o, halve=o != sizes[-1]) for i, o in zip(sizes[:-1], sizes[1:], strict=True)]
        super().__init__(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _block(inputs: int, outputs: int, halve: bool) -> nn.Sequential:
    layers = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if halve else []))


def classifier(config: ImageConfig, recipe: Recipe | None = None) -> FeatureNetwork:
    """The features of a data set's own classifier, trained where it is not stored yet (two minutes on one core).

    It is a function of the data and the recipe (on CPU, at equal thread count), and of all 8 bits of the images.

    Raises:
        UsageError: the data set has no labels.
        DataError: the data are missing, or the stored file is damaged.
    """
    recipe = recipe or Recipe()
    config = replace(config, bits=8, n_train=None, n_val=None)
    data = load_images(config, torch.float32, seed=0)
    key = hashlib.sha256(repr((data.fingerprint, recipe)).encode()).hexdigest()[:12]
    record_of = cache_folder().with_name("features") / f"classifier-{config.name}-{key}.json"
    if not record_of.is_file():
        _store(record_of, *train(config, data, recipe), recipe)
    record = json.loads(record_of.read_text())
    way = f"delete {record_of.name} beside it, and it is trained again"
    weights = checked(_weights_of(record_of, record["sha256"]), record["sha256"], way)
    # no initial values are drawn: the stored ones take their place
    with torch.device("meta"):
        features = Convolutions(recipe.width)
    features.load_state_dict(torch.load(weights, weights_only=True), assign=True)
    side = data.train.pixels.shape[1]
    first = Standardised(side, MEAN, STD)
    return FeatureNetwork(
        "classifier", nn.Sequential(first, features), 4 * recipe.width, record["sha256"], first.told, record
    )


def _store(record_of: Path, features: nn.Module, told: dict[str, Any], recipe: Recipe) -> None:
    """Write the weights, then their record: what another process trained meanwhile is not touched."""
    content = io.BytesIO()
    torch.save(features.state_dict(), content)
    sha256 = hashlib.sha256(content.getvalue()).hexdigest()
    with replacing(_weights_of(record_of, sha256)) as file:
        file.write(content.getvalue())
    write_json(record_of, {"sha256": sha256, **told, "recipe": asdict(recipe)})


def _weights_of(record_of: Path, sha256: str) -> Path:
    return record_of.with_name(f"{record_of.stem}-{sha256[:12]}.pt")


def train(config: ImageConfig, data: ImageData, recipe: Recipe) -> tuple[nn.Module, dict[str, Any]]:
    """The trained convolutions, and the accuracy of the whole classifier on the held-out images."""
    target = torch.from_numpy(labels(config, "train"))
    held_out = torch.from_numpy(labels(config, "val"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(recipe.seed, "classifier"))
        features = Convolutions(recipe.width)
        network = nn.Sequential(
            Standardised(data.train.pixels.shape[1], MEAN, STD),
            features,
            nn.Linear(4 * recipe.width, int(target.max()) + 1),
        )
    _fit(network, data.train, target, recipe, config.name)
    told = {
        "dataset": config.name,
        "data": data.fingerprint,
        "accuracy": _accuracy(network, data.val, held_out),
        "n_held_out": len(held_out),
        "torch": version("torch"),
    }
    return features, told


def _fit(network: nn.Module, images: Images, target: Tensor, recipe: Recipe, name: str) -> None:
    optimizer = torch.optim.Adam(network.parameters(), recipe.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.steps)
    source = generator(recipe.seed, "classifier", "batches")
    network.train()
    for _ in tqdm(range(recipe.steps), desc=f"training a classifier of {name}", disable=None, leave=False):
        chosen = torch.randint(len(images), (recipe.batch,), generator=source)
        loss = cross_entropy(network(as_bytes(images.pixels[chosen], images.levels)), target[chosen])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def _accuracy(network: nn.Module, images: Images, target: Tensor) -> float:
    network.eval()
    parts = images.pixels.split(500)
    found = torch.cat([network(as_bytes(part, images.levels)).argmax(1) for part in parts])
    return float((found == target).double().mean())


def as_bytes(pixels: Tensor, levels: int) -> Tensor:
    """Grey levels (n, H, W, C) from 0 to levels - 1 as colour (n, 3, H, W) from 0 to 255."""
    return colour((pixels.float() * (255 / (levels - 1))).round().to(torch.uint8))
