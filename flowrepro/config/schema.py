"""The typed config: every key, its default, its meaning and its allowed values; and the identity of a run.

A config key is a constructor argument: the dataclasses below are passed unchanged to the builders of data sets,
models and regularizers and to the training loop. This module imports neither torch nor Hydra, so that help is instant.
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath
from typing import Any, ClassVar

from flowrepro.config.identity import content, differences
from flowrepro.config.options import option

# of the name of a user's file in that of a run
STEM_LENGTH = 24


@dataclass
class ToyConfig:
    """A sampled data set with known latents or density."""

    name: str
    n_train: int = option(10_000, "training points drawn", low=1)
    n_val: int = option(2_000, "held-out points drawn", low=1)
    noise: float = option(0.0, "std of isotropic noise added to every point", low=0)
    seed: int = option(0, "seed of the points (the run's own seed is `seed`)")
    fresh: bool = option(
        False, "draw new points at every step; the n_train points only initialise the flow and its rotations"
    )


@dataclass
class ImageConfig:
    """An image data set read from its official files, or scikit-learn's bundled digits."""

    name: str
    download: bool = option(
        False, "download and verify the official files if they are missing", identity=False
    )
    n_train: int | None = option(None, "use only the first n training images", low=1)
    n_val: int | None = option(None, "use only the first n held-out images", low=1)
    bits: int = option(8, "image flows: bits per pixel value", low=1, high=8)


@dataclass
class CelebAConfig(ImageConfig):
    """CelebA's aligned faces, cut to 64x64."""

    crop: str = option(
        "stride2",
        "stride2 takes every second pixel, as the authors of NIF do; center rescales the middle 148x148",
        choices=("stride2", "center"),
    )


@dataclass
class ImagesConfig(ImageConfig):
    """The user's own images: a folder of .png, .jpg or .webp files, searched with its subfolders."""

    path: str = option(
        "", "the folder; its content, not its path, is part of the run's identity", identity=False
    )
    size: int | None = option(
        None,
        "cut images to a square and rescale them to this many pixels (default: all have one size)",
        low=1,
    )
    val_fraction: float = option(0.1, "fraction of images held out", above=0, below=1)
    seed: int = option(0, "seed of the split", low=0)


@dataclass
class ArrayConfig:
    """The user's own points, or images as an array of 4 dimensions: a file whose rows are samples."""

    name: str
    path: str = option(
        "",
        "the file (.npy, .npz, .csv, .tsv, .txt, .parquet); its content, not its path, is part of the run's identity",
        identity=False,
    )
    key: str = option("", "the array's name inside an .npz file")
    header: bool | None = option(None, "tables: whether the first row names the columns (default: decided)")
    index: bool | None = option(
        None, "tables: whether the first column is an index, to be left out (default: decided)"
    )
    separator: str = option(
        "auto",
        "tables: what separates columns; auto: a comma in .csv, a tab in .tsv, spaces in .txt",
        choices=("auto", "comma", "semicolon", "tab", "space"),
    )
    decimal: str = option("point", "tables: the decimal sign", choices=("point", "comma"))
    val_fraction: float = option(0.1, "fraction of rows held out", above=0, below=1)
    seed: int = option(0, "seed of the split", low=0)


@dataclass
class ModelConfig:
    """What every model has."""

    # whether samples are images (C, H, W); else they are vectors (D,)
    takes_images: ClassVar[bool] = False

    name: str


@dataclass
class VectorModelConfig(ModelConfig):
    """What most models on vectors have."""

    standardize: bool = option(False, "divide each dimension by its std first")


@dataclass
class ImageModelConfig(ModelConfig):
    """What every model on images has."""

    takes_images: ClassVar[bool] = True


@dataclass
class LinearConfig(VectorModelConfig):
    """One dense affine layer."""

    init: str = option("glorot", "initial matrix", choices=("glorot", "orthogonal", "whitening"))


@dataclass
class DenseConfig(VectorModelConfig):
    """[dense affine, activation] x layers, and a dense affine layer at the end."""

    layers: int = option(8, "hidden layers", low=1)
    init: str = option(
        "orthogonal",
        "initial matrices; with whitening the first layer whitens the data",
        choices=("glorot", "orthogonal", "whitening"),
    )
    gain: float = option(1.0, "whitening: multiplies the first layer and divides the last", above=0)
    shrinkage: float = option(5e-5, "whitening: added to the data covariance", low=0)
    log_det: str = option(
        "slogdet",
        "slogdet is exact; cholesky is that of the authors' code, with a jitter of 1e-5",
        choices=("slogdet", "cholesky"),
    )


@dataclass
class RealNVPConfig(VectorModelConfig):
    """[batch norm, affine coupling, permutation] x layers."""

    layers: int = option(6, "coupling layers", low=1)
    passive: int = option(1, "dimensions that a coupling leaves unchanged (0: half of them)", low=0)
    hidden: list[int] = option([512, 512], "widths of the hidden layers of a coupling's network", low=1)
    scale: str = option(
        "exponential",
        "exponential has no bound; soft_clamp stays within e^-2 to e^2",
        choices=("exponential", "soft_clamp"),
    )
    batch_norm: bool = option(True, "batch norm before every coupling")
    norm_start: str = option(
        "zero",
        "gains and shifts of batch norm at the start: zero, or random as in linear_systems' code",
        choices=("zero", "random"),
    )
    rotation: str = option(
        "permutation",
        "a permutation after every coupling (authors: those of linear_systems' code), or a rotation before it as in "
        "model=coupling",
        choices=("permutation", "authors", "random", "oas", "axis"),
    )


@dataclass
class CouplingConfig(VectorModelConfig):
    """[rotation, affine coupling] x layers (single_coupling Eq. 4 and 5)."""

    layers: int = option(12, "coupling layers", low=1)
    passive: int = option(1, "dimensions that a coupling leaves unchanged (0: half of them)", low=0)
    hidden: list[int] = option([64], "widths of the hidden layers of a coupling's network", low=1)
    activation: str = option(
        "relu", "between the layers of a coupling's network", choices=("relu", "tanh", "silu")
    )
    input_scale: float = option(
        1.0,
        "factor on the first weights and biases at the start; large values spread tanh units for steep functions",
        above=0,
    )
    scale: str = option(
        "soft_clamp",
        "exponential has no bound; soft_clamp stays within e^-2 to e^2",
        choices=("exponential", "soft_clamp"),
    )
    output_scale: float = option(
        0.1, "factor on the networks' output; small values permit large learning rates", above=0
    )
    rotation: str = option(
        "random",
        "random; oas: the optimal subspace of the data reaching it; axis: one dimension after another",
        choices=("random", "oas", "axis"),
    )
    angle: float = option(0.0, "rotation=axis: angle of the first rotation in the first two axes, in degrees")


@dataclass
class GlowConfig(ImageModelConfig):
    """[ActNorm, 1x1 convolution, coupling] x steps at every level (Kingma & Dhariwal 2018)."""

    levels: int = option(3, "scales; each begins with a squeeze", low=1)
    steps: int = option(32, "steps of flow per level", low=1)
    hidden: int = option(512, "channels inside a coupling's network", low=1)
    coupling: str = option("affine", "kind of coupling", choices=("affine", "additive"))
    conv: str = option(
        "lu",
        "parametrisation of the 1x1 convolutions; normalised has columns of length 1",
        choices=("plain", "lu", "normalised"),
    )
    split_prior: bool = option(True, "whiten the channels that leave a level given those that stay")


@dataclass
class NFConfig(ImageModelConfig):
    """The square flow that across_dimensions compares with (App. A.10 and the authors' code)."""

    levels: int = option(5, "scales; each begins with a squeeze", low=1)
    steps: int = option(16, "steps of flow per level", low=1)
    hidden: int = option(256, "channels inside a coupling's network", low=1)
    conv: str = option(
        "normalised",
        "parametrisation of the 1x1 convolutions; normalised has columns of length 1",
        choices=("plain", "lu", "normalised"),
    )
    margin: float = option(
        0.05, "pixels in [0, 1] are shrunk to [margin, 1 - margin] before the logit", above=0, below=0.5
    )


@dataclass
class NIFConfig(NFConfig):
    """The layers of the NF on a Gaussian NIF, N(b, A A^T + diagonal) with learned A (across_dimensions Sec. 4)."""

    latent_dim: int = option(
        128, "dimensions of the manifold; 0: a learned diagonal Gaussian without one", low=0
    )


@dataclass
class NIFDeepConfig(NIFConfig):
    """The same with a flow of its own on the manifold, trained by a bound (across_dimensions Fig. 11 and App. B.5)."""

    hidden: int = option(512, "channels inside a coupling's network", low=1)
    latent_dim: int = option(128, "dimensions of the manifold", low=2)
    latent_couplings: int = option(10, "couplings of the flow on the manifold", low=1)
    latent_hidden: list[int] = option(
        [1024, 1024, 1024, 1024], "widths of the hidden layers of their networks", low=1
    )
    importance_samples: int = option(32, "draws of the stochastic inverse for the bound", low=1)


@dataclass
class RealNVPImagesConfig(ImageModelConfig):
    """[ActNorm, permutation, affine coupling] x steps at every level: RealNVP with the arrangement of Glow."""

    levels: int = option(3, "scales; each begins with a squeeze", low=1)
    steps: int = option(16, "steps of flow per level", low=1)
    hidden: int = option(256, "channels inside a coupling's network", low=1)
    scale: str = option(
        "soft_clamp",
        "exponential has no bound; soft_clamp stays within e^-2 to e^2",
        choices=("exponential", "soft_clamp"),
    )
    act_norm: bool = option(True, "ActNorm before every coupling")


@dataclass
class BlocksConfig(ModelConfig):
    """[convolution, dual coupling, spline] x blocks, an identity at first (jacobian_determinant Sec. 4)."""

    beta: float = option(0.7, "slope of the splines at first; the paper advises 0.5 to 1", above=0, below=1)
    kappa: float = option(1.0, "the convolutions are kappa times the identity at first", above=0)
    mixture: int = option(2, "Mexican hats whose mean is the logarithm of a scale", low=1)
    bins: int = option(16, "bins of a spline", low=2)
    half_width: float = option(3.0, "half width of the box of a spline at first; it is learned", above=0)
    insert: str = option(
        "none",
        "bounded activation before every spline but the last of a level; cdf has slope 1 at 0, cdf_literal 0.4",
        choices=("none", "tanh", "cdf", "cdf_literal"),
    )
    constrained: bool = option(True, "bound the scales and the slopes at the knots")


@dataclass
class QLFConfig(BlocksConfig, ImageModelConfig):
    """Levels of such blocks, the first of each with a 2x2 convolution (jacobian_determinant App. C)."""

    levels: int = option(3, "scales; each begins with a 2x2 convolution", low=1)
    steps: int = option(16, "blocks per level", low=1)
    net: str = option(
        "resnet",
        "network of a coupling: resnet has a bottleneck and channel-wise attention, convnet three convolutions",
        choices=("resnet", "convnet"),
    )
    hidden: int = option(128, "channels inside a coupling's network", low=1)
    bottleneck: int = option(85, "resnet: channels inside its bottleneck", low=1)
    squeezed: int = option(8, "resnet: channels inside its attentions", low=1)
    share: float = option(0.5, "fraction of the channels that leave a level", above=0, below=1)
    half_width: float = option(1.0, "half width of the box of a spline at first; it is learned", above=0)
    split_prior: bool = option(False, "whiten the channels that leave a level given those that stay")


@dataclass
class QLFVectorsConfig(BlocksConfig):
    """Such blocks with a matrix in the place of the convolution (jacobian_determinant Figs. 3 and 7)."""

    layers: int = option(6, "blocks", low=1)
    hidden: list[int] = option([32, 32], "widths of the hidden layers of a coupling's network", low=1)
    standardize: bool = option(True, "divide each dimension by its std first")


@dataclass
class NoRegularizerConfig:
    """Plain maximum likelihood."""

    name: str


@dataclass
class TikhonovConfig:
    """alpha/2 times the squared Frobenius norm of the Jacobian, the papers' alpha."""

    name: str
    alpha: float = option(5e-5, "weight, in the convention of linear_systems Sec. 5", low=0)
    estimator: str = option(
        "auto",
        "estimator of the squared norm; auto is exact up to 16 dimensions",
        choices=("auto", "exact", "hutchinson"),
    )
    probes: int = option(1, "Hutchinson probes per sample", low=1)


@dataclass
class TransportConfig:
    """alpha times the squared distances by which the blocks of model=qlf and qlf_vectors move a sample."""

    name: str
    alpha: float = option(0.01, "weight; jacobian_determinant does not give its own", low=0)


SCHEDULES = ("constant", "cosine", "exponential")
OPTIMIZERS = ("adam", "adamw", "adamax", "lbfgs")


@dataclass
class Phase:
    """What is trained when; unset values are those of `training`."""

    share: float = option(1.0, "fraction of training.steps", above=0)
    lr: float | None = option(None, "learning rate", above=0)
    optimizer: str | None = option(None, "optimizer; another one starts afresh", choices=OPTIMIZERS)
    schedule: str | None = option(None, "learning-rate schedule", choices=SCHEDULES)
    warmup: int | None = option(None, "steps of linear warm-up", low=0)
    alpha_from: float | None = option(
        None, "anneal alpha geometrically from here down to regularizer.alpha", above=0
    )
    train_layers: list[int] | None = option(None, "indices of the trained layers (default: all)")
    active_layers: int | None = option(
        None, "apply only the first n layers of the chain (default: all)", low=1
    )
    reset_optimizer: bool = option(False, "reset the optimizer's moments at the start")
    rotate: list[int] | None = option(
        None, "indices of layers reinitialised at the start from the data reaching them"
    )
    each_layer: str | None = option(
        None,
        "repeat this phase for each coupling in turn, choosing optimal rotations at the start of each; "
        "alone: train only that coupling, together: with those before it",
        choices=("alone", "together"),
    )


@dataclass
class PhasesConfig:
    """A list of phases, in order."""

    name: str = "end_to_end"
    sequence: list[Phase] = option([Phase()], "the phases in order, e.g. [{share:0.5,lr:0.01},{share:0.5}]")


@dataclass
class ScaleConfig:
    """smoke (seconds), demo (minutes, shortened), cpu (realistic on two CPU cores), paper (the paper's settings)."""

    name: str = "cpu"


@dataclass
class TrainingConfig:
    """The one training loop."""

    steps: int = option(5_000, "total optimizer steps", low=1)
    steps_per_layer: int = option(0, "steps per layer of model.layers; sets training.steps (0: off)", low=0)
    batch_size: int = option(200, "samples per step", low=1)
    optimizer: str = option(
        "adam", "optimizer (lbfgs: all training points at every step, with a line search)", choices=OPTIMIZERS
    )
    lr: float = option(
        1e-3, "learning rate (lbfgs: the first step that the line search tries, as a rule 1)", above=0
    )
    beta1: float = option(0.9, "first-moment decay of the optimizer", low=0, below=1)
    beta2: float = option(0.999, "second-moment decay of the optimizer", low=0, below=1)
    weight_decay: float = option(0.0, "weight decay (adamw: decoupled)", low=0)
    schedule: str = option("constant", "learning-rate schedule", choices=SCHEDULES)
    final_lr: float = option(0.01, "learning rate at the end of a schedule, as a fraction of lr", above=0)
    decay_every: int = option(0, "exponential: steps between drops of the learning rate (0: smooth)", low=0)
    decay_rate: float = option(
        0.0,
        "exponential: factor on the learning rate every 1,000 steps, down to final_lr (0: final_lr at the end)",
        low=0,
        below=1,
    )
    warmup: int = option(0, "steps of linear warm-up", low=0)
    clip: float = option(0.0, "maximum gradient norm (0: off)", low=0)
    ema: float = option(0.0, "decay of the averaged weights used for evaluation (0: off)", low=0, below=1)
    bf16: bool = option(False, "image flows: train the networks in couplings in bfloat16")
    backward: str = option(
        "plain",
        "image flows: checkpoint recomputes activations, invert recovers them from the outputs (not with bf16)",
        identity=False,
        choices=("plain", "checkpoint", "invert"),
    )
    compile: bool = option(
        False,
        "compile the likelihood in phases of at least 2,000 steps (no regularizer; needs a C++ compiler)",
        identity=False,
    )
    cuda_graph: bool = option(
        False,
        "on a GPU: record a step once and replay it, which is faster for many small layers (no penalty, no bound)",
        identity=False,
    )
    validate_every: int = option(500, "steps between validations on the held-out set", low=1)
    validate_samples: int | None = option(
        None, "validate on the first n held-out samples (at the end: on all)", low=1
    )
    eval_batch_size: int = option(1_000, "samples per validation batch", identity=False, low=1)
    max_minutes: float | None = option(
        None, "pause after this time; rerun the same command to resume", identity=False, low=0
    )
    checkpoint_seconds: float = option(
        30.0, "seconds between saves of the last checkpoint", identity=False, low=0
    )
    log_seconds: float = option(
        20.0, "seconds between log lines when not on a terminal", identity=False, low=0
    )
    log: str = option(
        "none",
        "tensorboard: write the history for TensorBoard too, into the run's folder",
        identity=False,
        choices=("none", "tensorboard"),
    )


@dataclass
class EvaluationConfig:
    """What `evaluate` computes besides the likelihoods."""

    checkpoint: str = option("best", "which checkpoint to evaluate", identity=False, choices=("best", "last"))
    n_samples: int = option(1_000, "number of samples drawn", identity=False, low=1)
    n_components: int = option(
        1_000, "number of points whose components are extracted", identity=False, low=1
    )
    temperature: float = option(1.0, "scales the prior's std when sampling", identity=False, low=0)
    deviation: float = option(
        1.0, "injective flows: scales the distance of samples from the manifold", identity=False, low=0
    )
    scaling: str = option(
        "std",
        "what temperature and deviation scale: std as the code of across_dimensions, variance as its text",
        identity=False,
        choices=("std", "variance"),
    )
    sample_noise: str = option(
        "learned",
        "injective flows: Σ of samples; identity as in the code of across_dimensions, which overwrites it by I",
        identity=False,
        choices=("learned", "identity"),
    )
    temperatures: list[float] = option(
        [0.5, 0.7, 0.85, 1.0], "image flows: temperatures of the sample sheets", identity=False, low=0
    )
    deviations: list[float] = option(
        [0.0, 1.0],
        "injective flows: those of the sample sheets at evaluation.temperature",
        identity=False,
        low=0,
    )
    embedding: str = option(
        "pseudo_inverse",
        "injective flows: where images belong on the manifold; posterior_mean as the code of across_dimensions",
        identity=False,
        choices=("pseudo_inverse", "posterior_mean"),
    )
    distances: str = option(
        "auto",
        "image flows: feature network of Fréchet distances of samples; auto: in sweeps of injective flows alone, "
        "on all networks at hand",
        identity=False,
        choices=("auto", "none", "lite0", "classifier", "inception"),
    )
    draws: int = option(
        3, "image flows: draws of the dequantisation noise for held-out bits/dim", identity=False, low=1
    )


@dataclass
class Config:
    """Everything a command knows. Never changed once it has been read (`config.reading`)."""

    dataset: Any
    model: Any
    regularizer: Any
    phases: PhasesConfig = field(default_factory=PhasesConfig)
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    seed: int = option(0, "seed of initialisation, sample order and probes")
    dtype: str = option(
        "auto",
        "dtype of the weights; auto: float32 for images, float64 for vectors",
        choices=("auto", "float32", "float64"),
    )
    device: str = option(
        "auto",
        "where to compute; auto: a GPU if available",
        identity=False,
        choices=("auto", "cpu", "cuda"),
    )
    threads: int = option(0, "CPU threads (0: torch's default)", identity=False, low=0)
    jobs: int = option(
        1, "runs of a figure trained in parallel, each with its share of the cores", identity=False, low=1
    )
    output_dir: str = option("outputs", "where runs, sweeps and figures go", identity=False)
    run: str = option(
        "", "a run: its folder, its name or how that begins, or latest; several: a,b", identity=False
    )
    sort: str = option(
        "age",
        "the order of the list of runs: the newest, the best (val), the largest first",
        identity=False,
        choices=("age", "val", "step", "size", "run", "state"),
    )
    figure: str = option("", "a figure's key, e.g. linear_systems/fig2", identity=False)
    claims: str = option(
        "measure",
        "measure a figure, judge its stored table again, or verify its stored claims",
        identity=False,
        choices=("measure", "judge", "verify"),
    )
    format: str = option("png", "file format of the pictures", identity=False, choices=("png", "svg", "pdf"))
    single: bool = option(
        False, "the report as one file with its pictures inside, to be sent on", identity=False
    )
    overwrite: bool = option(False, "retrain from scratch", identity=False)
    dry_run: bool = option(False, "print what would be done, and leave nothing behind", identity=False)
    debug: bool = option(False, "show the traceback of an error", identity=False)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What identifies a run: group names, seed, dtype and every value that differs from its typed default."""
        groups = {group: getattr(self, group) for group in GROUPS}
        tree: dict[str, Any] = {g: {"name": node.name, **differences(node)} for g, node in groups.items()}
        if isinstance(self.dataset, ArrayConfig | ImagesConfig):
            tree["dataset"]["content"] = content(self.dataset.path)
        return {**tree, "training": differences(self.training), "seed": self.seed, "dtype": self.dtype}

    @cached_property
    def run_name(self) -> str:
        """`<dataset>-<model>-<regularizer>-<hash>`: the same config always gives the same name.

        That of the user's own file is in it, as `array_points`.
        """
        digest = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:8]
        data = self.dataset.name
        if isinstance(self.dataset, ArrayConfig):
            stem = re.sub(r"\W+", "_", PurePath(self.dataset.path).stem)
            data = f"{data}_{stem[:STEM_LENGTH]}".rstrip("_")
        return f"{data}-{self.model.name}-{self.regularizer.name}-{digest}"


TOYS = (
    "banana scurve sine plane3d curve2d square gmm w wu "
    "moons circles rings 8gaussians pinwheel 2spirals checkerboard swissroll"
).split()
IMAGES = "digits digits2 mnist mnist2 fashion_mnist cifar10 faces64 imagenet32 celeba_hq".split()

SCHEMAS: dict[str, dict[str, type]] = {
    "dataset": {
        **dict.fromkeys(TOYS, ToyConfig),
        **dict.fromkeys(IMAGES, ImageConfig),
        "celeba": CelebAConfig,
        "images": ImagesConfig,
        "array": ArrayConfig,
    },
    "model": {
        "linear": LinearConfig,
        "dense_asinh": DenseConfig,
        "dense_softplus": DenseConfig,
        "realnvp": RealNVPConfig,
        "coupling": CouplingConfig,
        "glow": GlowConfig,
        "nf": NFConfig,
        "nif": NIFConfig,
        "nif_deep": NIFDeepConfig,
        "realnvp_images": RealNVPImagesConfig,
        "qlf": QLFConfig,
        "qlf_vectors": QLFVectorsConfig,
    },
    "regularizer": {
        "none": NoRegularizerConfig,
        "tikhonov": TikhonovConfig,
        "transport": TransportConfig,
    },
}
GROUPS = ("dataset", "model", "regularizer", "phases", "scale")
