"""Map points drawn over the image that should show them, coloured by agreement of the labels."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.segmentation.labels import LabelMap

FloatArray = NDArray[np.float64]

AGREES, DISAGREES = (40, 220, 60), (235, 40, 40)
"""RGB"""
_POINTS_DRAWN = 1000
_NEAR_M, _FAR_M = 3.0, 50.0


@dataclass(frozen=True)
class PointMatches:
    """Map points that a labelled image should show."""

    pixels: FloatArray
    """(N, 2) pixels (u, v) of the mount's camera"""
    agrees: NDArray[np.bool_]
    """(N,) whether the map's label and the one that is seen are likelier together than apart"""


def point_matches(
    T_map_base: FloatArray,
    mount: CameraMount,
    label_map: LabelMap,
    semantic_map: SemanticMap,
    log_ratio: NDArray[np.floating],
) -> PointMatches:
    """The points that are expected in an image from a pose (4, 4), where it has a label.

    A point agrees where its log-ratio (K, K) [observed, map] is above zero.
    """
    pixels, labels = _expected(T_map_base, mount, semantic_map)
    observed = _observed(label_map, pixels)
    labelled = observed < label_map.label_count
    agrees = log_ratio[observed[labelled], labels[labelled]] > 0.0
    return PointMatches(pixels[labelled], agrees)


def draw_match(
    image: NDArray[np.uint8],
    T_map_base: FloatArray,
    mount: CameraMount,
    label_map: LabelMap,
    semantic_map: SemanticMap,
    log_ratio: NDArray[np.floating],
) -> NDArray[np.uint8]:
    """The image (H, W, 3) RGB with `point_matches` drawn in it, green where they agree, else red.

    The mount's camera may be that of the label grid, smaller than the image.
    """
    drawn: NDArray[np.uint8] = np.ascontiguousarray(image).copy()
    matches = point_matches(T_map_base, mount, label_map, semantic_map, log_ratio)
    scale = max(1, round(image.shape[1] / mount.camera.width))
    centres = np.rint((matches.pixels + 0.5) * scale - 0.5).astype(int)
    for (u, v), agrees in zip(centres, matches.agrees, strict=True):
        cv2.circle(drawn, (int(u), int(v)), 3, (0, 0, 0), -1, cv2.LINE_AA)
        colour = AGREES if agrees else DISAGREES
        cv2.circle(drawn, (int(u), int(v)), 2, colour, -1, cv2.LINE_AA)
    return drawn


def _expected(
    T_map_base: FloatArray, mount: CameraMount, semantic_map: SemanticMap
) -> tuple[FloatArray, NDArray[np.uint16]]:
    """Pixels and labels of map points that the camera should see."""
    T_map_camera = poses.compose(T_map_base, mount.T_base_camera)
    near = semantic_map.points_near(T_map_camera[:3, 3], _FAR_M)
    points = near.points.astype(np.float64)
    sight = points - T_map_camera[:3, 3]
    distance = np.linalg.norm(sight, axis=1)
    facing = np.einsum("ij,ij->i", sight, near.directions) / distance
    pixels, inside = mount.camera.project(poses.transform(poses.invert(T_map_camera), points))
    seen = inside & (facing > np.cos(np.deg2rad(30))) & (distance > _NEAR_M)
    seen &= distance < 1.5 * near.max_range
    chosen = np.flatnonzero(seen)
    chosen = chosen[:: max(1, len(chosen) // _POINTS_DRAWN)]
    return pixels[chosen], near.labels[chosen]


def _observed(label_map: LabelMap, pixels: FloatArray) -> NDArray[np.int64]:
    cells = np.floor((pixels + 0.5) / label_map.stride).astype(np.int64)
    height, width = label_map.labels.shape
    columns, rows = np.clip(cells, 0, [width - 1, height - 1]).T
    observed: NDArray[np.int64] = label_map.labels[rows, columns].astype(np.int64)
    return observed
