"""What a network is trained for."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from fgsn_ros.training.model import Model

SampleSeed = tuple[int, int, int]
"""Seed of the run, step, and number of the sample in the step: seeds the sample's generator."""


class Objective(Protocol):
    """Batches, losses and scores of one kind of training."""

    kind: str
    """Of the checkpoints: "semantic" or "fgsn"."""
    score: str
    """Name of the validation score, higher is better, that decides which checkpoint is best."""

    @property
    def label_count(self) -> int:
        """Number of labels K."""

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """Names of the labels, if they are classes."""

    def prepare(self, model: Model, iteration: int) -> Sequence[nn.Module]:
        """Make what the batches from `iteration` on need; the layers whose meaning changed."""

    def prepared_until(self, iteration: int) -> int:
        """First iteration after `iteration` whose batches need another preparation."""

    def batch(self, seeds: Sequence[SampleSeed]) -> Any:
        """One sample for each seed; called in other threads."""

    def losses(self, model: Model, batch: Any) -> dict[str, Tensor]:
        """Weighted losses by name, each the mean of the samples'."""

    def validate(self, model: Model) -> dict[str, float]:
        """Scores by name, on data that is not trained on."""

    def pictures(self, model: Model) -> dict[str, NDArray[np.uint8]]:
        """Pictures (H, W, 3) by name, for TensorBoard."""

    def state(self) -> dict[str, Tensor]:
        """What is needed, beside network and optimizer, to continue."""

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` gave.

        Raises:
            TrainingError: it is another objective's, or of other data.
        """
