"""A synthetic street with 50,000 labelled points, and label maps of a drive along it.

Points on ground and walls; the label maps of 80 x 60 cells are made by projecting the points at the
true pose, a quarter of the labels at random.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, Camera, CameraMount
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import Localizer, LocalizerSettings
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.segmentation.labels import UNLABELLED, LabelMap

STEP_M, LABELS, STRIDE, POINTS = 0.8, 100, 8, 50_000
LENGTH_M = 156.0


def street(rng: np.random.Generator) -> SemanticMap:
    x = rng.uniform(0.0, LENGTH_M, POINTS)
    on_wall = rng.random(POINTS) < 0.6
    wall_y = rng.choice([-9.0, 9.0], POINTS)
    y = np.where(on_wall, wall_y, rng.uniform(-9.0, 9.0, POINTS))
    z = np.where(on_wall, rng.uniform(0.0, 8.0, POINTS), 0.0)
    points = np.stack([x, y, z], axis=1)
    patch = np.floor(points / 2.0).astype(np.int64) @ [73856093, 19349663, 83492791]
    directions = points - np.stack([x - 10.0, np.zeros(POINTS), np.full(POINTS, 1.5)], axis=1)
    stations = np.arange(0.0, LENGTH_M, 2.0)
    return SemanticMap.from_points(
        points,
        patch % LABELS,
        np.ones(POINTS),
        directions / np.linalg.norm(directions, axis=1, keepdims=True),
        np.full(POINTS, 4.0),
        np.full(POINTS, 30.0),
        poses.from_planar(stations, 0.0, 0.0),
        np.full((len(stations), LABELS), 1.0 / LABELS),
        "0" * 64,
    )


def seen_labels(
    semantic_map: SemanticMap, T_map_camera: npt.NDArray[np.float64], grid: Camera
) -> LabelMap:
    """Labels of the nearest point in each cell, a quarter of them at random."""
    rng = np.random.default_rng(1)
    near = semantic_map.points_near(T_map_camera[:3, 3], 50.0)
    in_camera = poses.transform(poses.invert(T_map_camera), near.points)
    pixels, valid = grid.project(in_camera)
    far_first = np.flatnonzero(valid)[np.argsort(-in_camera[valid, 2])]
    cells = np.floor(pixels[far_first] + 0.5).astype(int)
    labels = np.full((grid.height, grid.width), UNLABELLED, np.uint16)
    labels[cells[:, 1], cells[:, 0]] = near.labels[far_first]
    wrong = (rng.random(labels.shape) < 0.25) & (labels != UNLABELLED)
    labels[wrong] = rng.integers(0, LABELS, int(wrong.sum()))
    return LabelMap(labels, np.ones(labels.shape, np.float32), STRIDE, LABELS)


def log_ratio() -> npt.NDArray[np.float32]:
    table = np.full((LABELS, LABELS), 0.4 / LABELS)
    table[np.diag_indices(LABELS)] += 0.6
    return np.log(table * LABELS).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Drive:
    """A straight drive along the street, a frame each `STEP_M`."""

    semantic_map: SemanticMap
    mount: CameraMount
    truth: npt.NDArray[np.float64]
    """(N, 4, 4) T_map_base."""
    label_maps: list[LabelMap]

    def localizer(self, settings: LocalizerSettings) -> Localizer:
        """One that starts around the first pose."""
        localizer = Localizer(self.semantic_map, log_ratio(), {"camera": self.mount}, settings)
        localizer.initialize(InitialPose.around(self.truth[0], 0.5, 0.03, 0.0))
        return localizer


def drive(frames: int) -> Drive:
    semantic_map = street(np.random.default_rng(0))
    camera = Camera(640, 480, 512.0, 512.0, 319.5, 239.5, "plumb_bob", (-0.1, 0.02))
    T_base_camera = poses.from_rotation_translation(np.eye(3), [0.0, 0.0, 1.5]) @ T_BASE_OPTICAL
    truth = poses.from_planar(10.0 + STEP_M * np.arange(frames), 0.0, 0.0)
    grid = camera.at_stride(STRIDE)
    label_maps = [seen_labels(semantic_map, T @ T_base_camera, grid) for T in truth]
    mount = CameraMount(camera, T_base_camera, "camera_optical")
    return Drive(semantic_map, mount, truth, label_maps)
