"""Height, roll and pitch of planar poses from the ground that the key frames drove on."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from fgsn_ros.errors import MapError

_MIN_UPWARD = 0.2
"""Least z component of a key frame's up axis: steeper is a frame that is not a base frame."""


class Ground:
    """A smooth surface through the key frames, each with its own tangent plane.

    Near a key frame the surface is the plane through its position with its up axis as normal;
    between key frames the planes of the nearest ones are blended with weights that vanish
    continuously as a key frame stops being among the nearest (Franke & Little, 1980).
    """

    def __init__(self, keyframe_poses: NDArray[np.float64], neighbours: int = 3) -> None:
        """Index key frames (F, 4, 4) T_map_base; `neighbours` of them are blended.

        Raises:
            MapError: there is no key frame, or one's up axis does not point up.
        """
        poses = np.asarray(keyframe_poses, dtype=np.float64)
        if len(poses) == 0:
            raise MapError("the map has no key frames, so its ground is unknown; build it again")
        self._positions = poses[:, :3, 3].copy()
        self._up = poses[:, :3, 2].copy()
        if float(self._up[:, 2].min()) < _MIN_UPWARD:
            raise MapError(
                "a key frame's z axis does not point up in the map; the map frame needs z up"
            )
        self._tree = cKDTree(self._positions[:, :2])
        self._neighbours = min(neighbours, len(poses))

    def poses(self, planar: NDArray[np.float64]) -> NDArray[np.float64]:
        """T_map_base (N, 4, 4) of planar poses (N, 3): x, y [m], yaw [rad], standing on the ground.

        The base's up axis is the ground's normal and its x axis heads along yaw.
        """
        planar = np.asarray(planar, dtype=np.float64)
        nearest, weights = self._nearest(planar[:, :2])
        up = np.einsum("nk,nkj->nj", weights, self._up[nearest])
        up /= np.linalg.norm(up, axis=1, keepdims=True)
        poses = np.zeros((len(planar), 4, 4))
        poses[:, :2, 3] = planar[:, :2]
        poses[:, 2, 3] = self._heights(planar[:, :2], nearest, weights)
        poses[:, 3, 3] = 1.0
        poses[:, :3, :3] = _rotations(up, planar[:, 2])
        return poses

    def _nearest(self, xy: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        k = self._neighbours
        queried = min(k + 1, len(self._positions))
        distances, indices = self._tree.query(xy, k=np.arange(1, queried + 1))
        distances = np.maximum(distances, 1e-6)
        near = distances[:, :k]
        if queried > k:
            beyond = distances[:, k:]
            near = np.minimum(near, beyond * (1.0 - 1e-9))
            weights = np.square(1.0 / near - 1.0 / beyond)
        else:
            weights = np.square(1.0 / near)
        weights /= weights.sum(axis=1, keepdims=True)
        return indices[:, :k], weights

    def _heights(
        self, xy: NDArray[np.float64], nearest: NDArray[np.int64], weights: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        normals = self._up[nearest]
        offsets = xy[:, None, :] - self._positions[nearest, :2]
        rise = -np.einsum("nkj,nkj->nk", offsets, normals[..., :2]) / normals[..., 2]
        heights: NDArray[np.float64] = np.einsum(
            "nk,nk->n", weights, self._positions[nearest, 2] + rise
        )
        return heights


def _rotations(up: NDArray[np.float64], yaw: NDArray[np.float64]) -> NDArray[np.float64]:
    cosine, sine = np.cos(yaw), np.sin(yaw)
    slope = -(up[:, 0] * cosine + up[:, 1] * sine) / up[:, 2]
    forward = np.stack([cosine, sine, slope], axis=-1)
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    return np.stack([forward, np.cross(up, forward), up], axis=-1)
