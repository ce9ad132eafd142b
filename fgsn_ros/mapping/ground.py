"""Height, roll and pitch of planar poses from the ground that the key frames drove on."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from fgsn_ros.errors import MapError
from fgsn_ros.mapping.semantic_map import SemanticMap

_NEIGHBOURS = 3
_MARGIN_M = 100.0
"""Key frames are read so far around the robot, and further where they are sparse."""
_FIRST_CHECKED = 100
_MIN_UPWARD = 0.2
"""Least z component of a key frame's up axis: steeper is a frame that is not a base frame."""


class Ground:
    """A smooth surface through the key frames, each with its own tangent plane.

    Near a key frame the surface is the plane through its position with its up axis as normal;
    between key frames the planes of the nearest ones are blended with weights that vanish
    continuously as a key frame stops being among the nearest (Franke & Little, 1980).
    """

    def __init__(self, keyframe_poses: NDArray[np.float64], neighbours: int = _NEIGHBOURS) -> None:
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
        return self.poses_and_reach(planar)[0]

    def poses_and_reach(
        self, planar: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The poses, and how far (N,) [m] each looked for key frames."""
        planar = np.asarray(planar, dtype=np.float64)
        nearest, weights, reach = self._nearest(planar[:, :2])
        up = np.einsum("nk,nkj->nj", weights, self._up[nearest])
        up /= np.linalg.norm(up, axis=1, keepdims=True)
        poses = np.zeros((len(planar), 4, 4))
        poses[:, :2, 3] = planar[:, :2]
        poses[:, 2, 3] = self._heights(planar[:, :2], nearest, weights)
        poses[:, 3, 3] = 1.0
        poses[:, :3, :3] = _rotations(up, planar[:, 2])
        return poses, reach

    def _nearest(
        self, xy: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
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
        return indices[:, :k], weights, distances[:, -1]

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


class MapGround:
    """The `Ground` of a map's key frames, of which only those around the robot are read."""

    def __init__(self, semantic_map: SemanticMap) -> None:
        """Prepare.

        Raises:
            MapError: the first key frames' up axes do not point up.
        """
        self._map = semantic_map
        self._ground = Ground(semantic_map.some_keyframe_poses(_FIRST_CHECKED))
        self._low, self._high = np.full(2, np.inf), np.full(2, -np.inf)
        self._whole = False

    def poses(self, planar: NDArray[np.float64]) -> NDArray[np.float64]:
        """As `Ground.poses` of all key frames.

        Raises:
            MapError: key frames that are read are damaged.
        """
        planar = np.asarray(planar, dtype=np.float64)
        xy, margin = planar[:, :2], _MARGIN_M
        if not (self._room(xy) > 0.0).all():
            self._read(xy, margin)
        poses, reach = self._ground.poses_and_reach(planar)
        # A key frame that was not read may be nearer than one that was found further off.
        while not (self._whole or (reach <= self._room(xy)).all()):
            self._read(xy, margin)
            margin *= 4.0
            poses, reach = self._ground.poses_and_reach(planar)
        return poses

    def _room(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distance (N,) of positions from the border of what was read, below 0 beyond it [m]."""
        room: NDArray[np.float64] = np.minimum(xy - self._low, self._high - xy).min(axis=1)
        return room

    def _read(self, xy: NDArray[np.float64], margin: float) -> None:
        low, high = xy.min(axis=0) - margin, xy.max(axis=0) + margin
        near = self._map.keyframes_within(low, high)
        self._whole = len(near) == len(self._map.keyframes)
        if len(near) <= _NEIGHBOURS and not self._whole:
            self._read(xy, 4.0 * margin)
        else:
            self._ground, self._low, self._high = Ground(near), low, high
        if self._whole:
            self._low, self._high = np.full(2, -np.inf), np.full(2, np.inf)


def _rotations(up: NDArray[np.float64], yaw: NDArray[np.float64]) -> NDArray[np.float64]:
    cosine, sine = np.cos(yaw), np.sin(yaw)
    slope = -(up[:, 0] * cosine + up[:, 1] * sine) / up[:, 2]
    forward = np.stack([cosine, sine, slope], axis=-1)
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    return np.stack([forward, np.cross(up, forward), up], axis=-1)
