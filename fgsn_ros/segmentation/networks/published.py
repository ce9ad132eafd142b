"""The weight files that the authors of FGSN published (PSPNet, `.pth`), as checkpoints.

Their networks take BGR images of 0 to 255 minus a mean; ours take RGB, scaled. The channels of the
first convolution are swapped, and mean and standard deviation chosen so that its input is theirs to
the bit: its zero padding then means the same too.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from fgsn_ros.segmentation.checkpoint import Checkpoint, require_checkpoint
from fgsn_ros.segmentation.labels import UNLABELLED
from fgsn_ros.segmentation.networks.weight_files import read_state_dict
from fgsn_ros.segmentation.networks.weights import network_with

PUBLISHED_MEAN = (123.68 / 255.0, 116.779 / 255.0, 103.939 / 255.0)
PUBLISHED_STD = (1.0 / 255.0, 1.0 / 255.0, 1.0 / 255.0)
_CITYSCAPES_CLASSES = 19

_RENAMED = (
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
_BLOCK = re.compile(
    r"^fcn\.layer(\d)\.block(\d+)\.(reduce|conv3x3|increase|proj)\.(conv|bn)\.(.*)$"
)
_PARTS = {"reduce": "1", "conv3x3": "2", "increase": "3"}


def is_published(weights: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of the authors' PSPNet."""
    return any(name.startswith("ppm.stages.") for name in weights)


def read_published(path: Path) -> Checkpoint:
    """A published weight file as a checkpoint; architecture and labels are found from its arrays.

    Raises:
        CheckpointError: the file is missing, damaged, or not one of theirs.
    """
    return published_checkpoint(path, read_state_dict(path))


def published_checkpoint(path: Path, weights: Mapping[str, Tensor]) -> Checkpoint:
    """The same of weights already read from `path`.

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
    block = _BLOCK.match(name)
    if block:
        return _renamed_in_block(*block.groups())
    for pattern, ours in _RENAMED:
        if re.match(pattern, name):
            return re.sub(pattern, ours, name)
    return name


def _renamed_in_block(layer: str, block: str, part: str, kind: str, rest: str) -> str:
    bottleneck = f"trunk.layer{int(layer) - 1}.{int(block) - 1}"
    if part == "proj":
        return f"{bottleneck}.downsample.{0 if kind == 'conv' else 1}.{rest}"
    return f"{bottleneck}.{kind}{_PARTS[part]}.{rest}"
