"""What training starts from: nothing, a checkpoint, published weights or torchvision's."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from fgsn_ros.errors import CheckpointError
from fgsn_ros.segmentation.checkpoint import (
    Checkpoint,
    is_checkpoint,
    load_checkpoint,
    require_checkpoint,
)
from fgsn_ros.segmentation.labels import UNLABELLED
from fgsn_ros.segmentation.networks import FgsnNetwork, make_network
from fgsn_ros.segmentation.networks.lraspp import Lraspp
from fgsn_ros.segmentation.networks.published import is_published, published_checkpoint
from fgsn_ros.segmentation.networks.resnet import ResnetNetwork
from fgsn_ros.segmentation.networks.weight_files import read_state_dict
from fgsn_ros.segmentation.networks.weights import (
    network_weights,
    require_same_weights,
)

_DEFAULT = "pspnet_resnet101"
Triple = tuple[float, float, float]
_STEM = {"conv1.": "stem.0.", "bn1.": "stem.1."}
_LAST = "4."  # the last convolution of torchvision's heads
_HEADS = (
    ("classifier.", "classifier.", "head."),
    ("aux_classifier.", "auxiliary_classifier.", "auxiliary."),
)


def initial_network(
    architecture: str | None, label_count: int, init: Path | None, generator: torch.Generator
) -> tuple[FgsnNetwork, Triple, Triple]:
    """A network to train, and mean and standard deviation (RGB in [0, 1]) of its images.

    Args:
        architecture: One of ARCHITECTURES; none for that of `init`, or PSPNet's on ResNet-101.
        label_count: K; classifiers of another K are replaced by random ones, others kept.
        init: A checkpoint of this package; a published FGSN weight file; torchvision's weights, of
            classification (the trunk alone) or semantic segmentation; none for random weights.
        generator: Of all that is random.

    Raises:
        SettingsError: there is no such architecture.
        CheckpointError: `init` cannot be read or is of another architecture.
    """
    start = _start(architecture or _DEFAULT, label_count, init, generator)
    if architecture is not None and start.architecture != architecture:
        raise CheckpointError(
            f"{init} is of architecture {start.architecture}, not {architecture}; "
            f"train {start.architecture} or take another init"
        )
    if start.label_count != label_count:
        start.network.reset_classifiers(label_count, generator)
    return start.network, start.mean, start.std


def _start(
    architecture: str, label_count: int, init: Path | None, generator: torch.Generator
) -> Checkpoint:
    if init is None:
        return Checkpoint(make_network(architecture, label_count, generator))
    if is_checkpoint(init):
        return load_checkpoint(init)
    weights = read_state_dict(init)
    if is_published(weights):
        return published_checkpoint(init, weights)
    if f"classifier.{_LAST}weight" in weights:
        classifier = weights[f"classifier.{_LAST}weight"]
        label_count = len(classifier) if classifier.ndim == 4 else 0
        require_checkpoint(init, 1 <= label_count < UNLABELLED, "label count")
        network = make_network(architecture, label_count, generator)
        _load(init, network, _segmentation(weights, network))
    else:
        network = make_network(architecture, label_count, generator)
        _load(init, _trunk(network), _classification(weights))
    return Checkpoint(network)


def _trunk(network: FgsnNetwork) -> nn.Module:
    if isinstance(network, Lraspp):
        return network.backbone
    assert isinstance(network, ResnetNetwork)
    return network.trunk


def _classification(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names within the trunk; what follows the trunk is left out."""
    return {
        _in_trunk(name.removeprefix("features.").removeprefix("backbone.")): tensor
        for name, tensor in weights.items()
        if not name.startswith(("fc.", "classifier."))
    }


def _segmentation(weights: Mapping[str, Tensor], network: FgsnNetwork) -> dict[str, Tensor]:
    """Names within an FCN or DeepLabV3; an auxiliary head that the file lacks stays random."""
    ours = {_in_network(name): tensor for name, tensor in weights.items()}
    if any(name.startswith("auxiliary") for name in ours):
        return ours
    random = network_weights(network).items()
    return ours | {name: tensor for name, tensor in random if name.startswith("auxiliary")}


def _in_network(name: str) -> str:
    for theirs, classifier, head in _HEADS:
        if name.startswith(theirs + _LAST):
            return classifier + name.removeprefix(theirs + _LAST)
        if name.startswith(theirs):
            return head + name.removeprefix(theirs)
    return "trunk." + _in_trunk(name.removeprefix("backbone."))


def _in_trunk(name: str) -> str:
    for theirs, ours in _STEM.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def _load(path: Path, module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    require_same_weights(path, module, weights)
    module.load_state_dict(dict(weights), strict=False)  # but for counters of no use
