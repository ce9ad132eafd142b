"""A drive along the street: its truth, odometry and label maps."""

from dataclasses import dataclass

import numpy as np
import pytest
import street

from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.mapping.semantic_map import SemanticMap


@dataclass(frozen=True)
class Drive:
    """A true trajectory, what odometry makes of it, and label maps."""

    truth: Trajectory
    odometry: Trajectory
    label_maps: tuple
    stamps: np.ndarray
    mounts: dict
    semantic_map: SemanticMap
    log_ratio: np.ndarray


@pytest.fixture(scope="session")
def drive():
    """Six seconds of driving: 60 label maps at 10 Hz of a camera of 512 x 320 px."""
    rng = np.random.default_rng(7)
    truth = street.weaving_drive(6.0)
    stamps = np.arange(0.0, 6.0, 0.1) + 0.005
    return Drive(
        truth,
        street.drifting_odometry(truth),
        tuple(street.label_map(truth.at(stamp), street.MOUNT, rng) for stamp in stamps),
        stamps,
        {"camera": street.MOUNT},
        street.street_map(rng, 110.0),
        street.log_ratio_table(),
    )
