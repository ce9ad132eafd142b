from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera, CameraMount
from fgsn_ros.mapping.map_files import save_map
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.recordings.recording import Frame
from fgsn_ros.recordings.rosbag_writer import RecordingWriter
from fgsn_ros.segmentation.architectures import LRASPP
from fgsn_ros.segmentation.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from fgsn_ros.segmentation.networks import make_network

LABELS = 8
FRAMES = 12
FIRST_STAMP = 1000.0
OPTICAL = np.array([[0.0, 0, 1, 0.5], [-1, 0, 0, 0], [0, -1, 0, 1.2], [0, 0, 0, 1]])
MOUNT = CameraMount(Camera(96, 64, 80.0, 80.0, 47.5, 31.5), OPTICAL, "camera_optical")


@dataclass(frozen=True)
class Workplace:
    """Small files of every kind, which belong together."""

    folder: Path

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.safetensors"

    @property
    def map(self) -> Path:
        return self.folder / "map"

    @property
    def bag(self) -> Path:
        return self.folder / "bag"


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    place = Workplace(tmp_path_factory.mktemp("workplace"))
    save_checkpoint(place.checkpoint, random_checkpoint(0))
    save_map(place.map, random_map(load_checkpoint(place.checkpoint).fingerprint))
    write_bag(place.bag)
    return place


def random_checkpoint(seed: int) -> Checkpoint:
    torch.manual_seed(seed)
    log_ratio = np.where(np.eye(LABELS) > 0, 1.5, -0.5).astype(np.float32)
    return Checkpoint(make_network(LRASPP, LABELS).eval(), log_ratio=log_ratio)


def random_map(fingerprint: str) -> SemanticMap:
    rng = np.random.default_rng(0)
    count = 500
    points = rng.uniform([0, -8, 0], [30, 8, 5], (count, 3))
    return SemanticMap.from_points(
        points=points,
        labels=rng.integers(0, LABELS, count),
        confidence=np.ones(count),
        directions=np.tile([1.0, 0.0, 0.0], (count, 1)),
        min_range=np.full(count, 1.0),
        max_range=np.full(count, 40.0),
        keyframe_poses=poses.from_planar(np.arange(0, 10.0), 0.0, 0.0),
        keyframe_histograms=np.full((10, LABELS), 1 / LABELS),
        fingerprint=fingerprint,
    )


def write_bag(path: Path) -> None:
    rng = np.random.default_rng(1)
    with RecordingWriter(path) as writer:
        writer.add_camera("camera", MOUNT)
        for index in range(FRAMES):
            stamp = FIRST_STAMP + 0.1 * index
            T_map_base = poses.from_planar(0.3 * index, 0.0, 0.0)
            writer.write_odometry(stamp, T_map_base)
            writer.write_ground_truth(stamp, T_map_base)
            image = rng.integers(0, 255, (64, 96, 3), np.uint8)
            writer.write_image(Frame(stamp, "camera", image))
