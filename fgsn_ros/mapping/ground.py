"""Height, roll and pitch of planar poses from the ground that the key frames drove on."""

from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from fgsn_ros.errors import MapError
from fgsn_ros.geometry.arrays import Array, host, is_tensor, like, namespace, zeros
from fgsn_ros.mapping.semantic_map import SemanticMap

_NEIGHBOURS = 3
_MARGIN_M = 100.0
"""Key frames are read so far around the robot, and further where they are sparse."""
_FIRST_CHECKED = 100
_MIN_UPWARD = 0.2
"""Least z component of a key frame's up axis: steeper is a frame that is not a base frame."""

_DEVICE_DISTANCES = 1 << 24
"""Distances that are held at once on a GPU: 128 MiB."""


class Ground:
    """A smooth surface through the key frames, each with its own tangent plane.

    Near a key frame the surface is the plane through its position with its up axis as normal;
    between key frames the planes of the nearest ones are blended with weights that vanish
    continuously as a key frame stops being among the nearest (Franke & Little, 1980).
    """

    def __init__(self, keyframe_poses: Array, neighbours: int = _NEIGHBOURS) -> None:
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

    def poses(self, planar: Array) -> Array:
        """T_map_base (N, 4, 4) of planar poses (N, 3): x, y [m], yaw [rad], standing on the ground.

        The base's up axis is the ground's normal and its x axis heads along yaw. Tensors stay such,
        and are worked on in double precision.
        """
        return self.poses_and_reach(planar)[0]

    def poses_and_reach(self, planar: Array) -> tuple[Array, Array]:
        """The poses, and how far (N,) [m] each looked for key frames."""
        xp = namespace(planar)
        whole = xp.asarray(planar, dtype=xp.float64)
        distances, positions, normals = self._nearest(whole[:, :2])
        weights = _weights(distances, self._neighbours)
        up = xp.einsum("nk,nkj->nj", weights, normals)
        up /= xp.linalg.vector_norm(up, axis=1, keepdims=True)
        poses = zeros((len(planar), 4, 4), planar)
        poses[:, :2, 3] = planar[:, :2]
        poses[:, 2, 3] = _heights(whole[:, :2], positions, normals, weights)
        poses[:, 3, 3] = 1.0
        poses[:, :3, :3] = _rotations(up, whole[:, 2])
        return poses, distances[:, -1]

    def _nearest(self, xy: Array) -> tuple[Array, Array, Array]:
        """Distances (N, k + 1) to the nearest key frames; positions, up axes (N, k, 3) of k.

        Without a key frame beyond the k neighbours, the distances are (N, k).
        """
        queried = min(self._neighbours + 1, len(self._positions))
        if is_tensor(xy):
            distances, indices, positions, up = self._nearest_on_device(xy, queried)
        else:
            distances, indices = self._tree.query(xy, k=np.arange(1, queried + 1))
            positions, up = self._positions, self._up
        nearest = indices[:, : self._neighbours]
        return distances, positions[nearest], up[nearest]

    def _nearest_on_device(self, xy: Any, queried: int) -> tuple[Any, Any, Any, Any]:
        """Distances and indices (N, q) into the positions and up axes, which are near all of xy.

        A tree is of no use there: every particle is compared with the few key frames around.
        """
        import torch

        low, high = host(xy.amin(dim=0)), host(xy.amax(dim=0))
        centre, reach = 0.5 * (low + high), 0.5 * float(np.linalg.norm(high - low))
        # The q-th nearest of a place within reach is at most the reach further than the centre's.
        beyond = float(self._tree.query(centre, k=[queried])[0][0])
        around = self._tree.query_ball_point(centre, 2.0 * reach + beyond + 1e-6)
        positions: Any = like(self._positions[around], xy)
        up = like(self._up[around], xy)
        distances, indices = [], []
        for part in xy.split(max(_DEVICE_DISTANCES // len(around), 1)):
            # not torch.cdist, which on a GPU takes a block of threads for each distance
            offsets = part[:, :1] - positions[:, 0], part[:, 1:] - positions[:, 1]
            nearest = torch.hypot(*offsets).topk(queried, largest=False)
            distances.append(nearest.values)
            indices.append(nearest.indices)
        return torch.cat(distances), torch.cat(indices), positions, up


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

    def poses(self, planar: Array) -> Array:
        """As `Ground.poses` of all key frames.

        Raises:
            MapError: key frames that are read are damaged.
        """
        xy, margin = planar[:, :2], _MARGIN_M
        if not bool((self._room(xy) > 0.0).all()):
            self._read(xy, margin)
        poses, reach = self._ground.poses_and_reach(planar)
        # A key frame that was not read may be nearer than one that was found further off.
        while not (self._whole or bool((reach <= self._room(xy)).all())):
            self._read(xy, margin)
            margin *= 4.0
            poses, reach = self._ground.poses_and_reach(planar)
        return poses

    def _room(self, xy: Array) -> Array:
        """Distance (N,) of positions from the border of what was read, below 0 beyond it [m]."""
        xp, low, high = namespace(xy), like(self._low, xy), like(self._high, xy)
        room: Array = xp.min(xp.minimum(xy - low, high - xy), axis=1)
        return room

    def _read(self, xy: Array, margin: float) -> None:
        xp = namespace(xy)
        low, high = host(xp.min(xy, axis=0)) - margin, host(xp.max(xy, axis=0)) + margin
        near = self._map.keyframes_within(low, high)
        self._whole = len(near) == len(self._map.keyframes)
        if len(near) <= _NEIGHBOURS and not self._whole:
            self._read(xy, 4.0 * margin)
        else:
            self._ground, self._low, self._high = Ground(near), low, high
        if self._whole:
            self._low, self._high = np.full(2, -np.inf), np.full(2, np.inf)


def _weights(distances: Array, neighbours: int) -> Array:
    """Weights (N, k), summing to 1, of the nearest k of distances (N, k + 1 or k)."""
    xp = namespace(distances)
    distances = xp.clip(distances, 1e-6, None)
    near, beyond = distances[:, :neighbours], distances[:, neighbours:]
    if beyond.shape[1]:
        near = xp.minimum(near, beyond * (1.0 - 1e-9))
        weights = xp.square(1.0 / near - 1.0 / beyond)
    else:
        weights = xp.square(1.0 / near)
    share: Array = weights / weights.sum(axis=1, keepdims=True)
    return share


def _heights(xy: Array, positions: Array, normals: Array, weights: Array) -> Array:
    xp = namespace(xy)
    offsets = xy[:, None, :] - positions[..., :2]
    rise = -xp.einsum("nkj,nkj->nk", offsets, normals[..., :2]) / normals[..., 2]
    heights: Array = xp.einsum("nk,nk->n", weights, positions[..., 2] + rise)
    return heights


def _rotations(up: Array, yaw: Array) -> Array:
    xp = namespace(up)
    cosine, sine = xp.cos(yaw), xp.sin(yaw)
    slope = -(up[:, 0] * cosine + up[:, 1] * sine) / up[:, 2]
    forward = xp.stack([cosine, sine, slope], axis=-1)
    forward /= xp.linalg.vector_norm(forward, axis=1, keepdims=True)
    rotations: Array = xp.stack([forward, xp.linalg.cross(up, forward), up], axis=-1)
    return rotations
