"""The state of a training session: flow, optimizer, averaged weights, counters; saved to and restored from files."""

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from flowrepro.config.schema import Config, TrainingConfig
from flowrepro.data import Data, ImageData
from flowrepro.errors import CheckpointError, UsageError
from flowrepro.flows.conv_nets import set_bf16, to_channels_last
from flowrepro.flows.core import Chain, Flow
from flowrepro.flows.models import build
from flowrepro.flows.norm import keeps_statistics, update_statistics
from flowrepro.randomness import generator
from flowrepro.runs import checkpoints
from flowrepro.runs.folder import Run
from flowrepro.training import regularizers
from flowrepro.training.compiling import compiled
from flowrepro.training.distributed import World
from flowrepro.training.gradients import set_backward
from flowrepro.training.order import Batches
from flowrepro.training.phases import Stage, stage_at, stages
from flowrepro.training.recording import Recorded

# fused: one pass over the weights instead of a dozen
MINIBATCH_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": partial(torch.optim.Adam, fused=True),
    "adamw": partial(torch.optim.AdamW, fused=True),
    "adamax": torch.optim.Adamax,
}

# one step is one iteration on all training points, with so many evaluations at most
FULL_BATCH, EVALUATIONS, HISTORY = "lbfgs", 25, 50

STATISTICS_SAMPLES = 10_000
# fewer rows have no variance, or one that says nothing
LEAST_ROWS = 3
# steps whose samples pass the frozen layers together: small layers take hardly longer for 32 batches than for one
BLOCK = 32


@dataclass
class Counters:
    """The numbers that a checkpoint stores besides the tensors."""

    step: int = 0
    best: float = -float("inf")
    best_step: int = 0
    best_excess: int = 0
    seconds: float = 0.0
    log_prob_sum: float = 0.0
    term_sum: float = 0.0
    samples: int = 0


class Batch(NamedTuple):
    """One process's samples of a step, on its device; their weight in the mean over the `size` of all processes.

    If the first layers are frozen, x has already passed through them, and `dlogp` is theirs.
    """

    x: Tensor
    weight: float
    size: int
    dlogp: Tensor | float = 0.0


class Session:
    """Everything that a step changes.

    Raises:
        UsageError: several processes, or batches of one or two rows, for layers that need statistics of the batch.
    """

    def __init__(
        self, config: Config, data: Data | ImageData, device: str, together: World | None = None
    ) -> None:
        self.training, self.seed = config.training, config.seed
        self.data, self.device = data, device
        self.together = together or World()
        self.flow = initial_flow(config.model, data, config.dtype, config.seed, device)
        if normalises := keeps_statistics(self.flow):
            check_batches(self.together.size, min(self.training.batch_size, len(data.train)))
        self.together.align(self.flow)
        set_bf16(self.flow, self.training.bf16)
        set_backward(self.flow, self.training.backward)
        self.averaged = copy.deepcopy(self.flow) if self.training.ema else None
        self.regularizer = regularizers.build(config.regularizer)
        self.plain = regularizers.NoRegularizer()
        self.counters = Counters()
        self.plan = stages(config.phases.sequence, self.training, self.regularizer.alpha, self.flow.chain)
        check_full_batches(self.plan, data)
        self.uses = self.plan[0].optimizer
        self.optimizer = make_optimizer(self.flow, self.training, self.uses)
        self.batches = Batches(len(data.train), self.training.batch_size, self.seed, fold=normalises)
        self.stage: Stage | None = None
        # of the current stage: collecting them at every step would take a quarter of a small step
        self.trained, self.parameters = self.flow, list(self.flow.parameters())
        self.frozen, self.block = Chain(), dict[int, Batch]()
        self.recorded: Recorded | None = None

    def enter(self, stage: Stage) -> None:
        """Begin a stage, or resume in the middle of one: freeze the layers that it does not train."""
        self.stage = stage
        for i, layer in enumerate(self.flow.chain):
            layer.requires_grad_(stage.train_layers is None or i in stage.train_layers)
        first = self._first_trained(stage)
        self.frozen, self.block = self.flow.slice(first).chain, {}
        self.trained = self.flow.slice(stage.active_layers, first)
        if self.training.compile:
            self.trained = compiled(self.trained, stage.end - stage.start)
        self.parameters = [p for p in self.flow.parameters() if p.requires_grad]
        self.recorded = None
        if self.counters.step != stage.start:
            return
        if stage.reset_optimizer or stage.optimizer != self.uses:
            self.use(stage.optimizer)
        for i in stage.rotate:
            self.rotate(i)

    def use(self, optimizer: str) -> None:
        """Start this optimizer afresh."""
        self.uses = optimizer
        self.optimizer = make_optimizer(self.flow, self.training, optimizer)

    def recorded_for(self, x: Tensor) -> Recorded | None:
        """The recorded passes for a batch, with `training.cuda_graph` on a GPU; None for a batch of another size."""
        if not (self.training.cuda_graph and x.is_cuda and self.together.size == 1):
            return None
        if len(x) != min(self.training.batch_size, len(self.data.train)):
            return None
        if self.recorded is None:
            self.recorded = Recorded(self.trained, self.parameters, x)
        return self.recorded

    @torch.no_grad()
    def rotate(self, index: int) -> None:
        """Reinitialise one layer from the training data as they reach it now; the averaged weights copy it."""
        layer = list(self.flow.chain)[index]
        layer.init_from(self.flow.chain[:index](self.data.initial.to(self.device))[0])
        self.together.align(layer)
        if self.averaged is not None:
            self.averaged.chain[index].load_state_dict(layer.state_dict())

    def _first_trained(self, stage: Stage) -> int:
        """How many first layers can be applied in advance: none if a penalty or batch statistics need them."""
        first = min(stage.train_layers or (0,))
        return 0 if stage.alpha > 0 or keeps_statistics(self.flow.slice(first)) else first

    def batch(self, step: int) -> Batch:
        """This process's share of a step, after the frozen layers."""
        if not len(self.frozen) or self.stage is None:
            return self.drawn(step)
        if step not in self.block:
            # the same blocks wherever a run is resumed: rounding depends on their size
            first = step - (step - self.stage.start) % BLOCK
            steps = range(first, first + BLOCK)
            batches = [self.drawn(s) for s in steps]
            with torch.no_grad():
                passed = self.frozen(torch.cat([batch.x for batch in batches]))
            z, dlogp = (values.split([len(batch.x) for batch in batches]) for values in passed)
            self.block = {
                s: b._replace(x=x, dlogp=d) for s, b, x, d in zip(steps, batches, z, dlogp, strict=True)
            }
        return self.block[step]

    def drawn(self, step: int) -> Batch:
        """This process's share of a step: of the step's part of the training set, or of new points."""
        if self.data.fresh is None:
            whole = self.uses == FULL_BATCH
            indices = torch.arange(self.batches.n) if whole else self.batches.at(step)
            own, weight = self.together.share(indices)
            x = self.data.training_batch(own, self.batches.epoch(step))
            return Batch(x.to(self.device), weight, len(indices))
        n = self.training.batch_size
        x, weight = self.together.share(self.data.fresh(n, generator(self.seed, "points", step)))
        return Batch(x.to(self.device), weight, n)

    @property
    def active_layers(self) -> int | None:
        """How many layers of the chain the last step applied; None for all."""
        return stage_at(self.plan, max(0, self.counters.step - 1)).active_layers

    def applied(self) -> Flow:
        """The flow that is evaluated, restricted to the layers applied so far."""
        return self.evaluated.slice(self.active_layers)

    def probes(self, step: int) -> torch.Generator:
        """The source of a step's random probes and of the noise of bounds; every process has its own."""
        rank = (self.together.rank,) if self.together.rank else ()
        return generator(self.seed, "probes", step, *rank, device=self.device)

    @property
    def evaluated(self) -> Flow:
        """The flow that is validated and reported: the averaged one if there is one."""
        return self.averaged or self.flow

    @property
    def finite(self) -> bool:
        """Whether all weights are finite, the averaged ones too."""
        flows = [self.flow, self.averaged] if self.averaged else [self.flow]
        return all(bool(p.isfinite().all()) for flow in flows for p in flow.parameters())

    def settle(self) -> Flow:
        """The flow that is evaluated, in evaluation mode, with the statistics of the training data."""
        flow = self.applied().eval()
        if keeps_statistics(flow):
            update_statistics(flow.chain, self.data.train[:STATISTICS_SAMPLES].to(self.device))
        return flow

    def average(self) -> None:
        """Move the averaged weights towards the current ones."""
        if self.averaged is not None:
            step = self.counters.step
            # early averages forget faster, otherwise the start would dominate for long
            weight = 1 - min(self.training.ema, (1 + step) / (10 + step))
            with torch.no_grad():
                move = get_ema_multi_avg_fn(1 - weight)
                move(list(self.averaged.parameters()), list(self.flow.parameters()), None)

    def save(self, run: Run, which: str) -> None:
        """Write a checkpoint; `last` has everything needed to resume, `best` only the flow."""
        state: dict[str, Any] = {
            "flow": self.evaluated.state_dict(),
            "shape": self.data.shape,
            "levels": self.data.levels,
            "active_layers": self.active_layers,
            **asdict(self.counters),
        }
        if which == "last":
            state |= {"training": self.flow.state_dict(), "optimizer": self.optimizer.state_dict()}
        if self.together.first:
            checkpoints.save(run.checkpoint(which), state)

    def restore(self, run: Run) -> None:
        """Go back to the `last` checkpoint. Raises CheckpointError if it is damaged or from another model."""
        path = run.checkpoint("last")
        state = checkpoints.load(path)
        try:
            self.flow.load_state_dict(state["training"])
            if self.averaged is not None:
                self.averaged.load_state_dict(state["flow"])
            # older checkpoints do not have all of them
            self.counters = Counters(**{name: state[name] for name in asdict(Counters()) if name in state})
            self.use(stage_at(self.plan, max(0, self.counters.step - 1)).optimizer)
            self.optimizer.load_state_dict(state["optimizer"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(f"{path} does not fit this model; retrain with overwrite=true") from error


def check_batches(processes: int, rows: int) -> None:
    """Raise UsageError where batch norm would take its statistics from a part of a batch, or from one or two rows."""
    if processes > 1:
        raise UsageError(
            "batch norm needs the whole batch in one process: set model.batch_norm=false or run without torchrun"
        )
    if rows < LEAST_ROWS:
        raise UsageError(
            f"batch norm needs batches of at least {LEAST_ROWS} rows, not {rows}: "
            "set training.batch_size, or model.batch_norm=false"
        )


def initial_flow(model: Any, data: Data | ImageData, dtype: str, seed: int, device: str = "cpu") -> Flow:
    """The untrained flow of a model config, initialised from the seed and, where layers need it, from the training data."""
    flow = build(model, data.shape, data.levels, generator(seed, "init"), getattr(torch, dtype)).to(device)
    flow.init_from(data.initial.to(device))
    to_channels_last(flow)
    return flow


def make_optimizer(flow: nn.Module, training: TrainingConfig, name: str) -> torch.optim.Optimizer:
    """The optimizer of that name over all parameters."""
    if name == FULL_BATCH:
        return torch.optim.LBFGS(
            flow.parameters(),
            max_iter=1,
            max_eval=EVALUATIONS,
            tolerance_grad=1e-9,
            tolerance_change=1e-12,
            history_size=HISTORY,
            line_search_fn="strong_wolfe",
        )
    betas, decay = (training.beta1, training.beta2), training.weight_decay
    return MINIBATCH_OPTIMIZERS[name](flow.parameters(), lr=training.lr, betas=betas, weight_decay=decay)


def check_full_batches(plan: list[Stage], data: Data | ImageData) -> None:
    """Raise UsageError where the full batch is asked for and there is none."""
    if data.fresh is not None and any(stage.optimizer == FULL_BATCH for stage in plan):
        raise UsageError(f"{FULL_BATCH} needs the same points at every step: set dataset.fresh=false")
