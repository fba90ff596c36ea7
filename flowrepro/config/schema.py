"""The typed config: every key, its default and its meaning; and the identity of a run.

A config key is a constructor argument: the dataclasses below are handed as they are to the builders of data sets,
models, regularizers and to the training loop. This module imports neither torch nor Hydra, so that help is instant.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar


def option(default: Any, help: str, identity: bool = True) -> Any:
    """A config key with its default and a line of help; `identity=False` keeps it out of the run's hash."""
    metadata = {"help": help, "identity": identity}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class ToyConfig:
    """A sampled data set with known latents or density."""

    name: str
    n_train: int = option(10_000, "training points drawn")
    n_val: int = option(2_000, "held-out points drawn")
    noise: float = option(0.0, "std of isotropic noise added to every point")
    seed: int = option(0, "seed of the points (the run's own seed is `seed`)")
    fresh: bool = option(
        False, "draw new points at every step; the n_train ones initialise the flow and choose its rotations"
    )


@dataclass
class ImageConfig:
    """An image data set in its official files, or scikit-learn's bundled digits."""

    name: str
    download: bool = option(
        False, "fetch and verify the official files if they are not there", identity=False
    )
    n_train: int | None = option(None, "use the first n training images only")
    n_val: int | None = option(None, "use the first n held-out images only")
    bits: int = option(8, "image flows: grey levels are cut to 2^bits")


@dataclass
class CelebAConfig(ImageConfig):
    """CelebA's aligned faces, cut to 64x64."""

    crop: str = option("stride2", "stride2 (every second pixel, as NIF's authors) or center (148x148 scaled)")


@dataclass
class ArrayConfig:
    """The user's own points: a .npy, .npz or .csv file whose rows are samples."""

    name: str
    path: str = option(
        "", "the file; its content, not its place, is part of the run's identity", identity=False
    )
    key: str = option("", "the array's name inside an .npz file")
    val_fraction: float = option(0.1, "share of the rows held out")
    seed: int = option(0, "seed of the split")


@dataclass
class ModelConfig:
    """What every model has."""

    # whether samples are images (C, H, W); else they are vectors (D,)
    takes_images: ClassVar[bool] = False

    name: str


@dataclass
class ImageModelConfig(ModelConfig):
    """What every model on images has."""

    takes_images: ClassVar[bool] = True


@dataclass
class LinearConfig(ModelConfig):
    """One dense affine layer."""

    init: str = option("glorot", "glorot, orthogonal or whitening")


@dataclass
class DenseConfig(ModelConfig):
    """[dense affine, activation] x layers, and a dense affine layer at the end."""

    layers: int = option(8, "hidden layers")
    init: str = option("orthogonal", "glorot, orthogonal or whitening (the first layer whitens the data)")
    gain: float = option(1.0, "whitening: the first layer is multiplied by it, the last divided")
    shrinkage: float = option(5e-5, "whitening: added to the data covariance")
    log_det: str = option("slogdet", "slogdet (exact), or cholesky: the authors' own, with a jitter of 1e-5")


@dataclass
class RealNVPConfig(ModelConfig):
    """[batch norm, affine coupling, permutation] x layers."""

    layers: int = option(6, "coupling layers")
    passive: int = option(1, "dimensions that a coupling leaves unchanged (0: half of them)")
    hidden: list[int] = option([512, 512], "widths of the hidden layers of a coupling's network")
    scale: str = option("exponential", "exponential (no bound) or soft_clamp (within e^-2 to e^2)")
    batch_norm: bool = option(True, "batch norm before every coupling")
    rotation: str = option("permutation", "permutation (behind a coupling), or as model=coupling has it")


@dataclass
class CouplingConfig(ModelConfig):
    """[rotation, affine coupling] x layers (single_coupling Eq. 4 and 5)."""

    layers: int = option(12, "coupling layers")
    passive: int = option(1, "dimensions that a coupling leaves unchanged (0: half of them)")
    hidden: list[int] = option([64], "widths of the hidden layers of a coupling's network")
    scale: str = option("soft_clamp", "exponential (no bound) or soft_clamp (within e^-2 to e^2)")
    output_scale: float = option(0.1, "factor of the networks' output: makes large learning rates bearable")
    rotation: str = option(
        "random", "random, oas (the optimal subspace of the data that arrive) or axis (one after the other)"
    )
    angle: float = option(0.0, "rotation=axis: degrees that the first rotation turns in the first two axes")
    standardize: bool = option(False, "divide each dimension by its std first")


@dataclass
class GlowConfig(ImageModelConfig):
    """[ActNorm, 1x1 convolution, coupling] x steps at every level (Kingma & Dhariwal 2018)."""

    levels: int = option(3, "scales; each begins with a squeeze")
    steps: int = option(32, "steps of flow in every level")
    hidden: int = option(512, "channels inside a coupling's network")
    coupling: str = option("affine", "affine or additive")
    conv: str = option("lu", "1x1 convolution: plain, lu, or normalised (columns of length 1)")
    split_prior: bool = option(True, "what leaves a level is whitened given what stays")


@dataclass
class NFConfig(ImageModelConfig):
    """The square flow that across_dimensions compares with (App. A.10 and the authors' code)."""

    levels: int = option(5, "scales; each begins with a squeeze")
    steps: int = option(16, "steps of flow in every level")
    hidden: int = option(256, "channels inside a coupling's network")
    conv: str = option("normalised", "1x1 convolution: plain, lu, or normalised (columns of length 1)")
    margin: float = option(0.05, "pixels in [0, 1] are moved this far inside before their logit is taken")


@dataclass
class RealNVPImagesConfig(ImageModelConfig):
    """[ActNorm, permutation, affine coupling] x steps at every level: RealNVP with the arrangement of Glow."""

    levels: int = option(3, "scales; each begins with a squeeze")
    steps: int = option(16, "steps of flow in every level")
    hidden: int = option(256, "channels inside a coupling's network")
    scale: str = option("soft_clamp", "exponential (no bound) or soft_clamp (within e^-2 to e^2)")
    act_norm: bool = option(True, "ActNorm before every coupling")


@dataclass
class NoRegularizerConfig:
    """Plain maximum likelihood."""

    name: str


@dataclass
class TikhonovConfig:
    """alpha/2 times the squared Frobenius norm of the Jacobian, the papers' alpha."""

    name: str
    alpha: float = option(5e-5, "weight, in the convention of linear_systems Sec. 5")
    estimator: str = option("auto", "exact, hutchinson, or auto (exact up to 16 dimensions)")
    probes: int = option(1, "random probes a sample of the hutchinson estimator")


@dataclass
class Phase:
    """What is trained when; unset values are those of `training`."""

    share: float = option(1.0, "share of training.steps")
    lr: float | None = option(None, "learning rate")
    schedule: str | None = option(None, "constant, cosine or exponential")
    warmup: int | None = option(None, "steps of linear warm-up")
    alpha_from: float | None = option(None, "anneal alpha geometrically from here down to regularizer.alpha")
    train_layers: list[int] | None = option(None, "indices of the layers that are trained (all)")
    active_layers: int | None = option(None, "only the first layers of the chain are applied (all)")
    reset_optimizer: bool = option(False, "forget the optimizer's moments at the start")
    rotate: list[int] | None = option(
        None, "indices of layers initialised again at the start, from what reaches them"
    )
    each_layer: str | None = option(
        None,
        "this phase is one for each coupling in turn, optimal rotations chosen at its start: "
        "alone (only it is trained) or together (with those before it)",
    )


@dataclass
class PhasesConfig:
    """A list of phases, in order."""

    name: str = "end_to_end"
    sequence: list[Phase] = option([Phase()], "the phases")


@dataclass
class ScaleConfig:
    """smoke (seconds), cpu (two cores, honestly), paper (the paper's settings)."""

    name: str = "cpu"


@dataclass
class TrainingConfig:
    """The one training loop."""

    steps: int = option(5_000, "optimizer steps in all")
    steps_per_layer: int = option(0, "steps for each of model.layers; training.steps follows (0: off)")
    batch_size: int = option(200, "samples a step")
    optimizer: str = option("adam", "adam, adamw or adamax")
    lr: float = option(1e-3, "learning rate")
    beta1: float = option(0.9, "first-moment decay of the optimizer")
    beta2: float = option(0.999, "second-moment decay of the optimizer")
    weight_decay: float = option(0.0, "weight decay (adamw: decoupled)")
    schedule: str = option("constant", "constant, cosine or exponential")
    final_lr: float = option(0.01, "learning rate at the end of a schedule, as a share of lr")
    decay_every: int = option(0, "exponential: steps between the drops of the learning rate (0: smooth)")
    warmup: int = option(0, "steps of linear warm-up")
    clip: float = option(0.0, "clip the gradient norm (0: off)")
    ema: float = option(0.0, "decay of averaged weights used for evaluation (0: off)")
    bf16: bool = option(False, "image flows: the networks in couplings multiply in bfloat16 while training")
    backward: str = option(
        "plain",
        "image flows: plain, checkpoint (activations computed again) or invert (from outputs; not with bf16)",
        identity=False,
    )
    compile: bool = option(
        False,
        "compile the likelihood in phases of 2,000 steps and more (without a regularizer; needs a C++ compiler)",
        identity=False,
    )
    validate_every: int = option(500, "steps between validations over the held-out set")
    validate_samples: int | None = option(None, "validate on the first n held-out samples (the end: on all)")
    eval_batch_size: int = option(1_000, "samples a batch of validation", identity=False)
    max_minutes: float | None = option(
        None, "pause after this time; the same command goes on", identity=False
    )
    checkpoint_seconds: float = option(30.0, "time between saves of the last checkpoint", identity=False)
    log_seconds: float = option(20.0, "time between log lines off a terminal", identity=False)


@dataclass
class EvaluationConfig:
    """What `evaluate` computes beside the likelihoods."""

    checkpoint: str = option("best", "best or last", identity=False)
    n_samples: int = option(1_000, "samples drawn", identity=False)
    n_components: int = option(1_000, "points whose components are extracted", identity=False)
    temperature: float = option(1.0, "scales the prior's std in sampling", identity=False)
    deviation: float = option(
        1.0, "injective flows: scales the distance of samples from the manifold", identity=False
    )
    temperatures: list[float] = option(
        [0.5, 0.7, 0.85, 1.0], "image flows: those of the sample sheets", identity=False
    )
    draws: int = option(
        3, "image flows: draws of the dequantisation noise for held-out bits/dim", identity=False
    )


@dataclass
class Config:
    """Everything a command knows."""

    dataset: Any
    model: Any
    regularizer: Any
    phases: PhasesConfig = field(default_factory=PhasesConfig)
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    seed: int = option(0, "seed of initialisation, order and probes")
    dtype: str = option("auto", "float32, float64, or auto (images float32, vectors float64)")
    device: str = option("auto", "cpu, cuda or auto", identity=False)
    threads: int = option(0, "CPU threads (0: as torch chooses)", identity=False)
    jobs: int = option(
        1, "runs of a figure trained at once, each with its share of the cores", identity=False
    )
    output_dir: str = option("outputs", "where runs, sweeps and figures go", identity=False)
    run: str = option("", "evaluate, plot: a run folder, its name, or latest", identity=False)
    figure: str = option("", "a figure's key such as linear_systems/fig2", identity=False)
    claims: str = option(
        "measure",
        "evaluate figure=: measure the runs, judge the stored table again, or verify the stored claims",
        identity=False,
    )
    format: str = option("png", "plot: png, svg or pdf", identity=False)
    overwrite: bool = option(False, "start a run again from nothing", identity=False)
    dry_run: bool = option(False, "say what would be done and leave nothing behind", identity=False)
    debug: bool = option(False, "show the traceback of an error", identity=False)


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
        "realnvp_images": RealNVPImagesConfig,
    },
    "regularizer": {"none": NoRegularizerConfig, "tikhonov": TikhonovConfig},
}
GROUPS = ("dataset", "model", "regularizer", "phases", "scale")

CHOICES = {
    "dtype": ("auto", "float32", "float64"),
    "device": ("auto", "cpu", "cuda"),
    "claims": ("measure", "judge", "verify"),
    "format": ("png", "svg", "pdf"),
    "training.optimizer": ("adam", "adamw", "adamax"),
    "training.schedule": ("constant", "cosine", "exponential"),
    "training.backward": ("plain", "checkpoint", "invert"),
    "evaluation.checkpoint": ("best", "last"),
    "dataset.crop": ("stride2", "center"),
    "model.init": ("glorot", "orthogonal", "whitening"),
    "model.log_det": ("slogdet", "cholesky"),
    "model.scale": ("exponential", "soft_clamp"),
    "model.rotation": ("permutation", "random", "oas", "axis"),
    "model.coupling": ("affine", "additive"),
    "model.conv": ("plain", "lu", "normalised"),
    "regularizer.estimator": ("auto", "exact", "hutchinson"),
}
EACH_LAYER = ("alone", "together")
POSITIVE = (
    "training.steps training.batch_size training.lr training.validate_every training.validate_samples "
    "training.eval_batch_size training.final_lr jobs "
    "model.layers model.levels model.steps model.gain model.output_scale dataset.n_train dataset.n_val "
    "regularizer.probes evaluation.n_samples evaluation.n_components evaluation.draws"
).split()
NOT_NEGATIVE = (
    "regularizer.alpha training.weight_decay training.warmup training.clip dataset.noise model.shrinkage threads "
    "model.passive training.steps_per_layer training.decay_every "
    "evaluation.temperature evaluation.deviation"
).split()
