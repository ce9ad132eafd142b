"""The segmentation networks, by name."""

import torch

from fgsn_ros.config import require
from fgsn_ros.segmentation.architectures import ARCHITECTURES, LRASPP, STRIDE
from fgsn_ros.segmentation.networks.base import FgsnNetwork, seeded
from fgsn_ros.segmentation.networks.lraspp import Lraspp
from fgsn_ros.segmentation.networks.resnet import ResnetNetwork

__all__ = ["ARCHITECTURES", "LRASPP", "STRIDE", "FgsnNetwork", "make_network"]


def make_network(
    architecture: str, label_count: int, generator: torch.Generator | None = None
) -> FgsnNetwork:
    """A network with random weights from `generator`; nothing is downloaded.

    Raises:
        SettingsError: there is no such architecture.
    """
    known = ", ".join(ARCHITECTURES)
    require(architecture in ARCHITECTURES, f"no architecture {architecture}; take one of {known}")
    with seeded(generator):
        if architecture == LRASPP:
            return Lraspp(label_count)
        return ResnetNetwork(architecture, label_count)
