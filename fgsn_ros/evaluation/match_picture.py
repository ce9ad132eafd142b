"""Map points drawn over the image that should show them, coloured by agreement of the labels."""

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


def draw_match(
    image: NDArray[np.uint8],
    T_map_base: FloatArray,
    mount: CameraMount,
    label_map: LabelMap,
    semantic_map: SemanticMap,
    log_ratio: NDArray[np.floating],
) -> NDArray[np.uint8]:
    """The image (H, W, 3) RGB with the points that are expected in it from a pose (4, 4).

    A point is green where its label and the one that is seen at it are likelier together than
    apart (log-ratio (K, K) [observed, map] above zero), else red. The mount's camera may be that of
    the label grid, smaller than the image.
    """
    drawn: NDArray[np.uint8] = np.ascontiguousarray(image).copy()
    pixels, labels = _expected(T_map_base, mount, semantic_map)
    observed = _observed(label_map, pixels)
    labelled = observed < label_map.label_count
    pixels, labels, observed = pixels[labelled], labels[labelled], observed[labelled]
    scale = max(1, round(image.shape[1] / mount.camera.width))
    centres = np.rint((pixels + 0.5) * scale - 0.5).astype(int)
    for (u, v), agrees in zip(centres, log_ratio[observed, labels] > 0.0, strict=True):
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
