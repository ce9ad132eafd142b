"""What training starts from: nothing, a checkpoint, torchvision's weights, or published ones.

Published: the weight files that the authors of FGSN gave out (PSPNet, `.pth`). Their networks take
BGR images of 0 to 255 minus a mean; ours take RGB, scaled. The channels of the first convolution
are swapped, and mean and standard deviation chosen so that its input is theirs to the bit: its zero
padding then means the same too.
"""

import re
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
from fgsn_ros.segmentation.networks import (
    FgsnNetwork,
    make_network,
    network_weights,
    network_with,
    require_same_weights,
)
from fgsn_ros.segmentation.networks.lraspp import Lraspp
from fgsn_ros.segmentation.networks.resnet import ResnetNetwork
from fgsn_ros.segmentation.networks.weight_files import read_state_dict

_DEFAULT = "pspnet_resnet101"
Triple = tuple[float, float, float]
_STEM = {"conv1.": "stem.0.", "bn1.": "stem.1."}
_LAST = "4."  # the last convolution of torchvision's heads
_HEADS = (
    ("classifier.", "classifier.", "head."),
    ("aux_classifier.", "auxiliary_classifier.", "auxiliary."),
)

PUBLISHED_MEAN = (123.68 / 255.0, 116.779 / 255.0, 103.939 / 255.0)
PUBLISHED_STD = (1.0 / 255.0, 1.0 / 255.0, 1.0 / 255.0)
_CITYSCAPES_CLASSES = 19

_PUBLISHED_NAMES = (
    (r"^(?:final\.)?conv6\.", "classifier."),  # older files have the last layers in the heads
    (r"^(?:aux\.)?conv6_1\.", "auxiliary_classifier."),
    (r"^final\.conv5_4\.(conv|bn)\.", r"head.\1."),
    (r"^aux\.conv4_aux\.conv\.", "auxiliary.0."),
    (r"^aux\.conv4_aux\.bn\.", "auxiliary.1."),
    (r"^ppm\.stages\.(\d)\.conv\.conv\.", r"head.stages.\1.1."),
    (r"^ppm\.stages\.(\d)\.conv\.bn\.", r"head.stages.\1.2."),
    (r"^fcn\.conv1\.", "trunk.stem.0."),
    (r"^fcn\.bn1\.", "trunk.stem.1."),
    (r"^fcn\.layer1\.conv1\.conv\.", "trunk.stem.0."),
    (r"^fcn\.layer1\.conv1\.bn\.", "trunk.stem.1."),
    (r"^fcn\.layer1\.conv2\.conv\.", "trunk.stem.3."),
    (r"^fcn\.layer1\.conv2\.bn\.", "trunk.stem.4."),
    (r"^fcn\.layer1\.conv3\.conv\.", "trunk.stem.6."),
    (r"^fcn\.layer1\.conv3\.bn\.", "trunk.stem.7."),
    (r"^fcn\.(layer\d\.\d+\.)", r"trunk.\1"),
)
_PUBLISHED_BLOCK = re.compile(
    r"^fcn\.layer(\d)\.block(\d+)\.(reduce|conv3x3|increase|proj)\.(conv|bn)\.(.*)$"
)
_PUBLISHED_PARTS = {"reduce": "1", "conv3x3": "2", "increase": "3"}


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


def is_published(weights: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of the authors' PSPNet."""
    return any(name.startswith("ppm.stages.") for name in weights)


def published_checkpoint(path: Path, weights: Mapping[str, Tensor]) -> Checkpoint:
    """A checkpoint of published weights read from `path`; its architecture is found from them.

    Raises:
        CheckpointError: the weights are not one of their networks.
    """
    ours = {_renamed(name): tensor for name, tensor in weights.items()}
    for name in ("trunk.stem.0.weight", "classifier.bias"):
        require_checkpoint(path, name in ours, f"set of weights (nothing for {name})")
    ours["trunk.stem.0.weight"] = ours["trunk.stem.0.weight"].flip(1)
    label_count = len(ours["classifier.bias"])
    require_checkpoint(path, 1 <= label_count < UNLABELLED, "label count")
    return Checkpoint(
        network_with(path, _architecture(ours), label_count, ours),
        kind="semantic" if label_count == _CITYSCAPES_CLASSES else "fgsn",
        mean=PUBLISHED_MEAN,
        std=PUBLISHED_STD,
        training={"published": path.name},
    )


def _architecture(ours: Mapping[str, Tensor]) -> str:
    resnet = "resnet101" if "trunk.layer3.22.conv1.weight" in ours else "resnet50"
    form = "caffe" if "trunk.stem.6.weight" in ours else "v1"
    return f"pspnet_{resnet}_{form}"


def _renamed(name: str) -> str:
    """Our name of an array; a name that is not theirs stays."""
    block = _PUBLISHED_BLOCK.match(name)
    if block:
        return _renamed_in_block(*block.groups())
    for pattern, ours in _PUBLISHED_NAMES:
        if re.match(pattern, name):
            return re.sub(pattern, ours, name)
    return name


def _renamed_in_block(layer: str, block: str, part: str, kind: str, rest: str) -> str:
    bottleneck = f"trunk.layer{int(layer) - 1}.{int(block) - 1}"
    if part == "proj":
        return f"{bottleneck}.downsample.{0 if kind == 'conv' else 1}.{rest}"
    return f"{bottleneck}.{kind}{_PUBLISHED_PARTS[part]}.{rest}"
