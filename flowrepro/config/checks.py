"""What is wrong with the values of a config, one line per problem."""

from flowrepro.config.options import faults
from flowrepro.config.schema import ArrayConfig, Config, Phase

# beyond, starting them fails in the middle of a computation
MOST_THREADS = 1024


def problems(config: Config) -> list[str]:
    """Everything wrong with the values of a config, one line each; empty if it can be run."""
    found = [*faults(config), *training_problems(config)]
    if config.model.takes_images and getattr(config.regularizer, "estimator", "") == "exact":
        found.append("regularizer.estimator=exact is for vectors; use hutchinson for images")
    if config.regularizer.name == "transport" and not config.model.name.startswith("qlf"):
        found.append("regularizer=transport is for the blocks of model=qlf and model=qlf_vectors")
    if isinstance(config.dataset, ArrayConfig) and config.dataset.seed < 0:
        found.append(f"dataset.seed={config.dataset.seed} must be at least 0")
    if config.threads > MOST_THREADS:
        found.append(f"threads={config.threads} must be at most {MOST_THREADS}")
    return found + phase_problems(config.phases.sequence)


def training_problems(config: Config) -> list[str]:
    """Keys of `training` that exclude each other."""
    training = config.training
    found = []
    if training.bf16 and training.backward == "invert":
        found.append(
            "training.backward=invert needs exact inverses, which training.bf16=true does not provide"
        )
    if training.compile and training.backward != "plain":
        found.append(f"training.compile=true requires training.backward=plain, not {training.backward}")
    if training.cuda_graph and (training.backward != "plain" or config.model.name == "nif_deep"):
        found.append(
            "training.cuda_graph=true requires training.backward=plain, and a likelihood in closed form (not nif_deep)"
        )
    if training.backward != "plain" and getattr(config.regularizer, "alpha", None):
        found.append(
            f"training.backward={training.backward} does not support regularizer={config.regularizer.name}"
        )
    return found


def phase_problems(phases: list[Phase]) -> list[str]:
    """What is wrong with a list of phases."""
    found = []
    if abs(sum(p.share for p in phases) - 1) >= 1e-6:
        found.append("the shares of phases.sequence must add up to 1")
    for i, phase in enumerate(phases):
        if phase.each_layer and (phase.train_layers, phase.active_layers, phase.rotate) != (None, None, None):
            found.append(
                f"phases.sequence[{i}]: each_layer sets the layers; leave out train_layers, active_layers and rotate"
            )
    return found
