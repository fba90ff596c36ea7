"""What is wrong with the values of a config, in one line for each problem."""

import dataclasses

from flowrepro.config.identity import flatten
from flowrepro.config.schema import CHOICES, EACH_LAYER, NOT_NEGATIVE, POSITIVE, Config, Phase


def problems(config: Config) -> list[str]:
    """Everything wrong with the values of a config, one line each; empty when it can be run."""
    values = flatten(dataclasses.asdict(config))
    found = [
        f"{key}={values[key]} is not one of {', '.join(choices)}"
        for key, choices in CHOICES.items()
        if key in values and values[key] not in choices
    ]
    found += [
        f"{k}={values[k]} must be positive"
        for k in POSITIVE
        if values.get(k) is not None and not values[k] > 0
    ]
    found += [
        f"{k}={values[k]} must not be negative" for k in NOT_NEGATIVE if k in values and not values[k] >= 0
    ]
    found += [
        f"{k}={values[k]} must lie in [0, 1)"
        for k in ("training.ema", "training.beta1", "training.beta2")
        if not 0 <= values[k] < 1
    ]
    if config.training.bf16 and config.training.backward == "invert":
        found.append("training.backward=invert needs exact inverses, which training.bf16=true does not have")
    if config.training.compile and config.training.backward != "plain":
        found.append(
            f"training.compile=true goes with training.backward=plain, not {config.training.backward}"
        )
    widths = values.get("model.hidden", 1)
    if any(width <= 0 for width in (widths if isinstance(widths, list) else [widths])):
        found.append(f"model.hidden={widths} must be positive")
    if not 0 < values.get("model.margin", 0.1) < 0.5:
        found.append(f"model.margin={values['model.margin']} must lie between 0 and 0.5")
    if any(t < 0 for t in config.evaluation.temperatures):
        found.append(f"evaluation.temperatures={config.evaluation.temperatures} must not be negative")
    if config.training.backward != "plain" and values.get("regularizer.alpha"):
        found.append(
            f"training.backward={config.training.backward} has no derivative for regularizer=tikhonov"
        )
    if not 1 <= values.get("dataset.bits", 8) <= 8:
        found.append(f"dataset.bits={values['dataset.bits']} must lie between 1 and 8")
    if not 0 < values.get("dataset.val_fraction", 0.5) < 1:
        found.append("dataset.val_fraction must lie between 0 and 1")
    if config.model.takes_images and values.get("regularizer.estimator") == "exact":
        found.append("regularizer.estimator=exact is for vectors; on images use hutchinson")
    return found + phase_problems(config.phases.sequence)


def phase_problems(phases: list[Phase]) -> list[str]:
    """What is wrong with a list of phases."""
    found = (
        []
        if abs(sum(p.share for p in phases) - 1) < 1e-6
        else ["the shares of phases.sequence must add up to 1"]
    )
    choices = CHOICES["training.schedule"]
    for i, phase in enumerate(phases):
        if phase.each_layer not in (None, *EACH_LAYER):
            found.append(
                f"phases.sequence[{i}]: each_layer={phase.each_layer} is not one of {', '.join(EACH_LAYER)}"
            )
        if phase.each_layer and (phase.train_layers, phase.active_layers, phase.rotate) != (None, None, None):
            found.append(
                f"phases.sequence[{i}]: each_layer says which layers; leave out train_layers, active_layers, rotate"
            )
        if phase.share <= 0 or (phase.lr is not None and phase.lr <= 0):
            found.append(f"phases.sequence[{i}]: share and lr must be positive")
        if phase.alpha_from is not None and phase.alpha_from <= 0:
            found.append(f"phases.sequence[{i}]: alpha_from must be positive")
        if phase.schedule not in (None, *choices):
            found.append(
                f"phases.sequence[{i}]: schedule={phase.schedule} is not one of {', '.join(choices)}"
            )
    return found
