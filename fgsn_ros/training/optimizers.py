"""Optimizers and how their learning rate changes."""

import math
from typing import Any

import torch

from fgsn_ros.segmentation.networks import FgsnNetwork
from fgsn_ros.training.settings import OptimizerSettings

_RATE = "rate"  # of a parameter group: factor of the learning rate


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
