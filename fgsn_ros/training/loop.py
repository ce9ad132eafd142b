"""The training loop: steps of the optimizer, validations, checkpoints."""

import logging
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from fgsn_ros.errors import TrainingError
from fgsn_ros.lookahead import map_ahead
from fgsn_ros.segmentation.networks import FgsnNetwork
from fgsn_ros.training.model import Model
from fgsn_ros.training.objective import Objective, SampleSeed
from fgsn_ros.training.processes import Processes, StopRequest
from fgsn_ros.training.run_files import RunFiles
from fgsn_ros.training.settings import OptimizerSettings, TrainSettings

_log = logging.getLogger(__name__)

_RATE = "rate"  # of a parameter group: factor of the learning rate
_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class TrainingLoop:
    """Runs an objective's steps from the first or the resumed iteration to the last.

    Args:
        settings: Of the run.
        objective: Makes batches and losses.
        model: The network to train.
        files: Takes checkpoints and figures.
        processes: Those that train together.
    """

    def __init__(
        self,
        settings: TrainSettings,
        objective: Objective,
        model: Model,
        files: RunFiles,
        processes: Processes,
    ) -> None:
        self._settings = settings
        self._objective = objective
        self._model = model
        self._network = model.network
        self._files = files
        self._processes = processes
        self._optimizer = make_optimizer(self._network, settings.optimizer)
        self._scaler = torch.amp.GradScaler(
            processes.device.type, enabled=settings.precision == "float16"
        )
        self._iteration = 0
        self._best = -float("inf")
        if settings.resume:
            self._restore(files.restore())
        self._losses: nn.Module = _Losses(model, objective)
        if processes.count > 1:
            self._losses = DistributedDataParallel(self._losses, find_unused_parameters=True)

    def run(self) -> None:
        """All iterations that are left; a checkpoint at each validation and at the end.

        Raises:
            TrainingError: a loss is not finite.
            Stopped: by a signal, with a checkpoint written.
        """
        iterations = self._settings.iterations
        with StopRequest() as stop, self._progress() as progress:
            while self._iteration < iterations:
                for module in self._objective.prepare(self._model, self._iteration):
                    self._forget_momentum(module)
                for batches in self._batches():
                    losses, stopped = self._step(batches, stop)
                    self._iteration += 1
                    self._report(losses, progress)
                    saved = self._validate_if_due()
                    if stopped and self._iteration < iterations:
                        if not saved:
                            self._save(best=False)
                        stop.end(f"stopped after step {self._iteration}; --resume continues")

    def _progress(self) -> "tqdm[Any]":
        settings = self._settings
        return tqdm(
            desc="train",
            unit="step",
            total=settings.iterations,
            initial=self._iteration,
            mininterval=2,
            miniters=1,  # never redrawn from outside, over a bar of validation
            disable=not self._processes.first,
        )

    def _forget_momentum(self, module: nn.Module) -> None:
        """Of labels that are no more."""
        for parameter in module.parameters():
            self._optimizer.state.pop(parameter, None)

    def _batches(self) -> Iterator[list[Any]]:
        """The batches of each step up to the objective's next preparation."""
        settings = self._settings
        first = self._iteration
        end = min(settings.iterations, self._objective.prepared_until(first))

        def make(offset: int) -> list[Any]:
            parts = range(settings.accumulate)
            return [self._objective.batch(self._seeds(first + offset, part)) for part in parts]

        return map_ahead(make, range(end - first), 2 * settings.workers, settings.workers)

    def _seeds(self, iteration: int, part: int) -> list[SampleSeed]:
        """Of the samples of a batch: the same for all ways to split a step."""
        size = self._settings.batch_size
        first = (part * self._processes.count + self._processes.rank) * size
        return [(self._settings.seed, iteration, first + index) for index in range(size)]

    def _step(self, batches: list[Any], stop: StopRequest) -> tuple[dict[str, float], bool]:
        """One step of the optimizer; its losses, and whether any process was asked to stop."""
        settings = self._settings
        self._set_mode()
        rate = learning_rate(settings.optimizer, self._iteration, settings.iterations)
        set_learning_rate(self._optimizer, rate)
        self._optimizer.zero_grad(set_to_none=True)
        parts = []
        for part, batch in enumerate(batches):
            seed = (settings.seed, self._iteration, part, self._processes.rank)
            with self._within_process(part < len(batches) - 1), _seeded(seed):
                names, values = self._backward(batch)
            parts.append(values)
        mean = torch.stack(parts).mean(dim=0)
        asked = mean.new_tensor([stop.asked])
        *losses, stopped = self._processes.mean(torch.cat([mean, asked])).tolist()
        if not np.isfinite(losses).all():
            raise TrainingError(
                f"loss is not finite at step {self._iteration}; {self._files.last_good()}; "
                "lower optimizer.learning_rate and --resume"
            )
        self._update_weights()
        return dict(zip(names, losses, strict=True)), stopped > 0.0

    def _within_process(self, within: bool) -> AbstractContextManager[None]:
        """Leaves gradients in their process, until the last batch of a step."""
        if within and isinstance(self._losses, DistributedDataParallel):
            return self._losses.no_sync()
        return nullcontext()

    def _backward(self, batch: Any) -> tuple[list[str], Tensor]:
        """Add a batch's gradients; names and values of its losses."""
        settings = self._settings
        kind = _TYPES[settings.precision]
        lower = kind != torch.float32
        with torch.autocast(self._processes.device.type, kind if lower else None, enabled=lower):
            losses = self._losses(batch)
        values = torch.stack([value.float() for value in losses.values()])
        self._scaler.scale(values.sum() / settings.accumulate).backward()  # type: ignore[no-untyped-call]
        return list(losses), values.detach()

    def _update_weights(self) -> None:
        norm = self._settings.optimizer.gradient_norm
        if norm:
            self._scaler.unscale_(self._optimizer)
            torch.nn.utils.clip_grad_norm_(self._network.parameters(), norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()

    def _set_mode(self) -> None:
        """Training mode; with frozen statistics, as published, batch norms keep those of `init`."""
        self._network.train()
        if self._settings.init and self._settings.freeze_batch_norm:
            for module in self._network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()

    def _report(self, losses: dict[str, float], progress: "tqdm[Any]") -> None:
        progress.set_postfix(losses, refresh=False)
        progress.update()
        self._files.scalars("loss", losses, self._iteration)
        rate = self._optimizer.param_groups[0]["lr"]
        self._files.scalars("train", {"learning_rate": rate}, self._iteration)

    def _validate_if_due(self) -> bool:
        """Validate and save when it is time; whether it was."""
        due = self._iteration % self._settings.validate_every == 0
        if not due and self._iteration != self._settings.iterations:
            return False
        scores = self._processes.from_first(self._scores() if self._processes.first else None)
        score = scores[self._objective.score]
        self._save(best=score > self._best)
        self._best = max(score, self._best)
        return True

    @torch.no_grad()
    def _scores(self) -> dict[str, float]:
        self._network.eval()
        scores = self._objective.validate(self._model)
        _log.info("step %d: %s", self._iteration, scores)
        self._files.scalars("validation", scores, self._iteration)
        self._files.pictures(self._objective.pictures(self._model), self._iteration)
        return scores

    def _save(self, best: bool) -> None:
        checkpoint = replace(
            self._model.checkpoint(self._objective.kind, self._objective.label_names),
            training=self._settings.described() | {"iteration": self._iteration},
        )
        self._files.save(checkpoint, best)
        self._files.save_state(
            {
                "iteration": self._iteration,
                "best": self._best,
                "network": self._network.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "scaler": self._scaler.state_dict(),
                "objective": self._objective.state(),
            }
        )

    def _restore(self, state: dict[str, Any]) -> None:
        try:
            self._network.load_state_dict(state["network"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._scaler.load_state_dict(state["scaler"])
            self._iteration, self._best = int(state["iteration"]), float(state["best"])
            self._objective.restore(state["objective"])
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise TrainingError(
                f"the state to resume, {self._settings.state}, is of other settings: "
                f"{' '.join(str(error).split())[:150]}"
            ) from error


class _Losses(nn.Module):
    """The losses of a batch as a module's output, as DistributedDataParallel wants it."""

    def __init__(self, model: Model, objective: Objective) -> None:
        super().__init__()
        self.network = model.network  # its parameters are this module's
        self._model = model
        self._objective = objective

    def forward(self, batch: Any) -> dict[str, Tensor]:
        return self._objective.losses(self._model, batch)


@contextmanager
def _seeded(seed: tuple[int, ...]) -> Iterator[None]:
    """Seeds drop-out, so that a resumed run sees what it would have seen."""
    with torch.random.fork_rng():
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
        yield


def make_optimizer(network: FgsnNetwork, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """SGD as published, with twice the rate for biases (Larsson et al., ICCV 2019), or AdamW.

    Weights decay; biases and batch norms do not.
    """
    groups = _parameter_groups(network, settings)
    if settings.kind == "sgd":
        return torch.optim.SGD(
            groups, lr=settings.learning_rate, momentum=settings.momentum, nesterov=True
        )
    return torch.optim.AdamW(groups, lr=settings.learning_rate)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of all parameters, each group by its own factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group[_RATE]


def learning_rate(settings: OptimizerSettings, iteration: int, iterations: int) -> float:
    """Rate of step `iteration` of `iterations`: a linear rise, then the schedule's fall."""
    done = iteration / iterations
    if done < settings.warm_up:
        return settings.learning_rate * (iteration + 1) / (settings.warm_up * iterations)
    if settings.schedule == "polynomial":
        return settings.learning_rate * float((1.0 - done) ** settings.power)
    return settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))


def _parameter_groups(network: FgsnNetwork, settings: OptimizerSettings) -> list[dict[str, Any]]:
    biases = [p for name, p in network.named_parameters() if name.endswith("bias")]
    others = [p for name, p in network.named_parameters() if not name.endswith("bias")]
    return [
        {
            "params": [p for p in others if p.ndim > 1],
            "weight_decay": settings.weight_decay,
            _RATE: 1.0,
        },
        {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0, _RATE: 1.0},
        {"params": biases, "weight_decay": 0.0, _RATE: 2.0 if settings.kind == "sgd" else 1.0},
    ]
