"""A street of labelled planes: label images by analytic ray casting, map points, a drive."""

import numpy as np

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, Camera, CameraMount
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.segmentation.labels import UNLABELLED, LabelMap

LABELS = 40
FOUND_LEAD = 25.0
"""Its panels repeat: a place leads all others by no more, in some metres [nat]."""
STRIDE = 8
SKY = 0
HALF_WIDTH_M = 9.0
WALL_HEIGHT_M = 9.0
MOUNT = CameraMount(
    Camera(512, 320, 400.0, 400.0, 255.5, 159.5, "plumb_bob", (-0.2, 0.05)),
    poses.from_rotation_translation(np.eye(3), [0.5, 0.0, 1.5]) @ T_BASE_OPTICAL,
    "camera_optical",
)


def surface_labels(points):
    """Label (...) of surface points (..., 3): bands of the ground along y, panels of the walls."""
    x, y, z = np.moveaxis(points, -1, 0)
    on_wall = np.abs(y) > HALF_WIDTH_M - 1e-6
    bands = np.digitize(np.abs(y), [0.15, 3.5, 4.0, 6.0, 7.5])
    stretch = np.floor(x / 6.0).astype(int)
    ground = 1 + bands + 6 * (bands == 4) * (stretch % 2)
    panel = np.floor(x / 2.5).astype(int) * 7 + np.floor(z / 1.5).astype(int) * 3 + (y > 0)
    wall = 12 + (panel * 2654435761 >> 7) % (LABELS - 12)
    return np.where(on_wall, wall, ground).astype(np.uint16)


def cast(T_map_camera, camera):
    """Labels (H, W) of the surfaces that the rays of a camera's pixels hit first."""
    v, u = np.mgrid[0 : camera.height, 0 : camera.width]
    rays, valid = camera.unproject(np.stack([u, v], axis=-1).astype(float))
    rays = np.where(valid[..., None], rays, 1.0) @ T_map_camera[:3, :3].T
    origin = T_map_camera[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        to_ground = np.where(rays[..., 2] < 0, -origin[2] / rays[..., 2], np.inf)
        side = np.sign(rays[..., 1]) * HALF_WIDTH_M
        to_wall = np.where(rays[..., 1] != 0, (side - origin[1]) / rays[..., 1], np.inf)
    scale = np.minimum(to_ground, to_wall)
    hit = np.isfinite(scale) & valid
    points = origin + rays * np.where(hit, scale, 1.0)[..., None]
    points[..., 1] = np.where(hit & (to_wall <= to_ground), side, points[..., 1])
    hit &= points[..., 2] < WALL_HEIGHT_M
    return np.where(hit, surface_labels(points), np.where(valid, SKY, UNLABELLED)).astype(np.uint16)


def noisy_label_map(labels, rng, wrong_share=0.25):
    """Label map with a share of cells relabelled at random, in patches of 2 x 2 cells."""
    height, width = labels.shape
    coarse = (-(-height // 2), -(-width // 2))
    patches = rng.random(coarse).repeat(2, 0).repeat(2, 1)[:height, :width] < wrong_share
    others = rng.integers(0, LABELS, coarse).repeat(2, 0).repeat(2, 1)[:height, :width]
    noisy = np.where(patches & (labels != UNLABELLED), others, labels).astype(np.uint16)
    return LabelMap(noisy, np.ones(labels.shape, np.float32), STRIDE, LABELS)


def label_map(T_map_base, mount, rng):
    """What a camera on a robot sees of the street, with noise."""
    grid = mount.camera.at_stride(STRIDE)
    return noisy_label_map(cast(T_map_base @ mount.T_base_camera, grid), rng)


def log_ratio_table(wrong_share=0.25):
    """Log p(observed | map) - log p(observed) of the noise above, for equally frequent labels."""
    table = np.full((LABELS, LABELS), wrong_share / LABELS)
    table[np.diag_indices(LABELS)] += 1.0 - wrong_share
    return np.log(table * LABELS).astype(np.float32)


def street_map(rng, length_m, count=20000):
    """Points on the ground and the walls, seen from the road 4 to 30 m before them."""
    x = rng.uniform(0.0, length_m, count)
    on_wall = rng.random(count) < 0.6
    side = rng.choice([-1.0, 1.0], count) * HALF_WIDTH_M
    y = np.where(on_wall, side, rng.uniform(-HALF_WIDTH_M, HALF_WIDTH_M, count))
    z = np.where(on_wall, rng.uniform(0.0, WALL_HEIGHT_M, count), 0.0)
    points = np.stack([x, y, z], axis=1)
    directions = points - np.stack([x - 10.0, np.zeros(count), np.full(count, 1.5)], axis=1)
    stations = np.arange(0.0, length_m, 2.0)
    return SemanticMap.from_points(
        points,
        surface_labels(points),
        np.full(count, 0.9),
        directions / np.linalg.norm(directions, axis=1, keepdims=True),
        np.full(count, 4.0),
        np.full(count, 30.0),
        poses.from_planar(stations, 0.0, 0.0),
        np.full((len(stations), LABELS), 1.0 / LABELS),
        "a" * 64,
    )


def weaving_drive(seconds, speed=8.0, rate=50.0):
    """True T_map_base along a weaving line, from x = 10 m."""
    stamps = np.arange(0.0, seconds + 0.2, 1.0 / rate)
    x = 10.0 + speed * stamps
    y = 1.0 * np.sin(x / 12.0)
    yaw = np.arctan(np.cos(x / 12.0) / 12.0)
    return Trajectory(stamps, poses.from_planar(x, y, yaw))


def drifting_odometry(truth, scale=1.02, yaw_per_metre=0.002):
    """Odometry with a scale error and a yaw drift."""
    steps = poses.compose(poses.invert(truth.poses[:-1]), truth.poses[1:])
    metres = np.linalg.norm(steps[:, :3, 3], axis=1)
    steps[:, :3, 3] *= scale
    steps = poses.compose(steps, poses.from_planar(0.0, 0.0, yaw_per_metre * metres))
    T = [np.eye(4)]
    for step in steps:
        T.append(T[-1] @ step)
    return Trajectory(truth.stamps, np.stack(T))
