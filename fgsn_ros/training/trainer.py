"""The training loop: steps, validation, checkpoints, TensorBoard."""

import logging
import math
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy as np
import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from fgsn_ros.errors import TrainingError
from fgsn_ros.outputs import whole_file
from fgsn_ros.segmentation.checkpoint import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from fgsn_ros.segmentation.networks import LRASPP, FgsnNetwork, make_network
from fgsn_ros.segmentation.segmenter import choose_device
from fgsn_ros.sequences.correspondences import VALIDATION_LIST
from fgsn_ros.training.fine_grained import FineGrainedObjective
from fgsn_ros.training.images import ImageCache
from fgsn_ros.training.semantic import SemanticObjective
from fgsn_ros.training.settings import TrainSettings
from fgsn_ros.training.statistics import with_statistics

_log = logging.getLogger(__name__)

_WARM_UP = 0.05  # share of the iterations
_GRADIENT_NORM = 5.0


class Objective(Protocol):
    """What a network is trained for."""

    kind: str

    @property
    def label_count(self) -> int: ...  # noqa: D102
    @property
    def label_names(self) -> tuple[str, ...] | None: ...  # noqa: D102
    def prepare(self, network: FgsnNetwork, iteration: int) -> bool: ...  # noqa: D102
    def losses(self, network: FgsnNetwork, rng: np.random.Generator) -> dict[str, Tensor]: ...  # noqa: D102
    def validate(self, network: FgsnNetwork) -> dict[str, float]: ...  # noqa: D102
    def state(self) -> dict[str, Tensor]: ...  # noqa: D102
    def restore(self, state: dict[str, Tensor]) -> None: ...  # noqa: D102


def train(settings: TrainSettings) -> Path:
    """Train a network and write its checkpoint; returns the checkpoint's path.

    The "statistics" objective only counts the label statistics of `init` on `data`.

    Raises:
        FgsnError: data, initial checkpoint or output are unusable, or the loss is not finite.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
        faiss.omp_set_num_threads(settings.threads)
    device = choose_device(settings.device)
    if settings.objective != "statistics":
        objective = _objective(settings, device)
        network = _initial_network(settings, objective.label_count).to(device)
        network = network.to(memory_format=torch.channels_last)
        Trainer(settings, objective, network).run()
    _add_statistics(settings)
    return settings.checkpoint


def _objective(settings: TrainSettings, device: torch.device) -> "Objective":
    if settings.objective == "semantic":
        return SemanticObjective(settings, device)
    return FineGrainedObjective(settings, device)


def _add_statistics(settings: TrainSettings) -> None:
    """Count the statistics of the labels as they are read back, where there are correspondences."""
    if not (settings.data / VALIDATION_LIST).is_file() and settings.objective == "semantic":
        return
    path = settings.checkpoint
    if settings.objective == "statistics":
        assert settings.init is not None
        path = settings.init
    cache = ImageCache(settings.cache_mb)
    checkpoint = with_statistics(load_checkpoint(path), settings.data, cache)
    _log.info("label statistics: %s", checkpoint.training["statistics"])
    save_checkpoint(settings.checkpoint, checkpoint, settings.half)


def _initial_network(settings: TrainSettings, label_count: int) -> FgsnNetwork:
    generator = torch.Generator().manual_seed(settings.seed)
    if settings.init is None:
        return make_network(LRASPP, label_count, generator)
    checkpoint = load_checkpoint(settings.init)
    if (checkpoint.mean, checkpoint.std) != (IMAGENET_MEAN, IMAGENET_STD):
        raise TrainingError(f"{settings.init} normalises images in another way; train from scratch")
    network = checkpoint.network
    if network.label_count != label_count:
        network.reset_classifiers(label_count, generator)
    return network


class Trainer:
    """Runs an objective's steps from the first or the resumed iteration to the last."""

    def __init__(self, settings: TrainSettings, objective: Objective, network: FgsnNetwork) -> None:
        self._settings = settings
        self._objective = objective
        self._network = network
        self._optimizer = torch.optim.AdamW(
            _parameter_groups(network, settings.weight_decay), lr=settings.learning_rate
        )
        self._iteration = 0
        if settings.resume:
            self._restore()

    def run(self) -> None:
        """All iterations that are left; a checkpoint at each validation and at the end."""
        settings = self._settings
        remaining = range(self._iteration, settings.iterations)
        with (
            SummaryWriter(str(settings.output / "tensorboard")) as writer,
            tqdm(
                remaining, initial=self._iteration, total=settings.iterations, mininterval=2
            ) as bar,
        ):
            for iteration in bar:
                self._iteration = iteration
                losses = self._step()
                bar.set_postfix(losses, refresh=False)
                if iteration % 10 == 0:
                    _write_scalars(writer, "loss", losses, iteration)
                done = iteration + 1
                if done % settings.validate_every == 0 or done == settings.iterations:
                    self._iteration = done
                    _write_scalars(writer, "validation", self._validate(), done)
                    self._save()

    def _step(self) -> dict[str, float]:
        settings = self._settings
        if self._objective.prepare(self._network, self._iteration):
            for parameter in self._network.classifier.parameters():
                self._optimizer.state.pop(parameter, None)  # momentum of labels that are no more
        self._set_mode()
        # a generator of its own for each step: a resumed run sees what it would have seen
        rng = np.random.default_rng((settings.seed, self._iteration))
        for group in self._optimizer.param_groups:
            group["lr"] = _learning_rate(settings, self._iteration)
        losses = self._objective.losses(self._network, rng)
        loss = torch.stack(list(losses.values())).sum()
        if not bool(torch.isfinite(loss)):
            raise TrainingError(
                f"loss is not finite at step {self._iteration}; lower learning_rate and resume"
            )
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), _GRADIENT_NORM)
        self._optimizer.step()
        return {name: float(value.detach()) for name, value in losses.items()}

    def _set_mode(self) -> None:
        settings = self._settings
        self._network.train()
        if settings.objective == "fgsn" and settings.init and settings.freeze_batch_norm:
            for module in self._network.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.eval()

    def _validate(self) -> dict[str, float]:
        self._network.eval()
        with torch.inference_mode():
            scores = self._objective.validate(self._network)
        _log.info("iteration %d: %s", self._iteration, scores)
        return scores

    def _save(self) -> None:
        settings = self._settings
        checkpoint = Checkpoint(
            network=self._network,
            kind=self._objective.kind,
            training=settings.described() | {"iteration": self._iteration},
            label_names=self._objective.label_names,
        )
        save_checkpoint(settings.checkpoint, checkpoint, settings.half)
        state = {
            "iteration": self._iteration,
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "objective": self._objective.state(),
        }
        with whole_file(settings.state) as temporary:
            torch.save(state, temporary)

    def _restore(self) -> None:
        path = self._settings.state
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            self._network.load_state_dict(state["network"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._objective.restore(state["objective"])
            self._iteration = int(state["iteration"])
        except TrainingError:
            raise
        except Exception as error:  # a damaged file can raise almost anything in torch.load
            raise TrainingError(
                f"cannot resume from {path}: {' '.join(str(error).split())[:150]}"
            ) from error


def _parameter_groups(network: FgsnNetwork, weight_decay: float) -> list[dict[str, Any]]:
    """Weights decay; biases and batch norms do not."""
    parameters = list(network.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _learning_rate(settings: TrainSettings, iteration: int) -> float:
    """Linear warm-up, then a half cosine to nearly zero."""
    progress = (iteration + 1) / settings.iterations
    if progress < _WARM_UP:
        return settings.learning_rate * progress / _WARM_UP
    return settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress)) + 1e-7


def _write_scalars(
    writer: SummaryWriter, group: str, values: dict[str, float], iteration: int
) -> None:
    for name, value in values.items():
        writer.add_scalar(f"{group}/{name}", value, iteration)
