"""Height, roll and pitch of planar poses from the ground that the key frames drove on."""

from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from fgsn_ros.errors import MapError
from fgsn_ros.geometry.arrays import Array, Indices, host, is_tensor, like, namespace, zeros
from fgsn_ros.mapping.semantic_map import SemanticMap

_NEIGHBOURS = 3
_MARGIN_M = 100.0
"""Key frames are read so far around the robot, and further where they are sparse."""
_FIRST_CHECKED = 100
_MIN_UPWARD = 0.2
"""Least z component of a key frame's up axis: steeper is a frame that is not a base frame."""

_FEW = 64
"""Up to so many key frames around are compared one by one faster than a tree is searched."""
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
        if not is_tensor(planar):
            from fgsn_ros.mapping.ground_kernel import standing  # compiled when it is needed

            nearest, count = self._nearest_indices(planar), self._neighbours
            return standing(planar, nearest, count, self._positions, self._up)
        xp = namespace(planar)
        whole = xp.asarray(planar, dtype=xp.float64)
        distances, positions, normals = self._nearest_on_device(whole[:, :2])
        weights = _weights(distances, self._neighbours)
        up = xp.einsum("nk,nkj->nj", weights, normals)
        up /= xp.linalg.vector_norm(up, axis=1, keepdims=True)
        poses = zeros((len(planar), 4, 4), planar)
        poses[:, :2, 3] = planar[:, :2]
        poses[:, 2, 3] = _heights(whole[:, :2], positions, normals, weights)
        poses[:, 3, 3] = 1.0
        poses[:, :3, :3] = _rotations(up, whole[:, 2])
        return poses, distances[:, -1]

    @property
    def _queried(self) -> int:
        """Key frames that a place asks for: its neighbours, and the next one if there is one."""
        return min(self._neighbours + 1, len(self._positions))

    def _around(self, low: Array, high: Array) -> Indices:
        """Key frames among which are the nearest of every place in a box (2,) to (2,)."""
        centre, reach = 0.5 * (low + high), 0.5 * float(np.linalg.norm(high - low))
        off = np.hypot(*(self._positions[:, :2] - centre).T)
        # The q-th nearest of a place within reach is at most the reach further than the centre's.
        beyond = np.partition(off, self._queried - 1)[self._queried - 1]
        return np.flatnonzero(off <= 2.0 * reach + beyond + 1e-6)

    def _nearest_indices(self, planar: Array) -> Indices:
        """Key frames (N, q) that are nearest to each planar pose, in order of distance.

        Particles that are together are near few key frames, and need no tree.
        """
        from fgsn_ros.mapping.ground_kernel import nearest_of

        around = self._around(*_box(planar))
        if len(around) <= _FEW:
            return nearest_of(planar, self._positions, around, self._queried)
        indices: Indices = self._tree.query(planar[:, :2], k=np.arange(1, self._queried + 1))[1]
        return indices

    def _nearest_on_device(self, xy: Any) -> tuple[Any, Any, Any]:
        """Distances (N, k + 1) to the nearest key frames; positions, up axes (N, k, 3) of k.

        Without a key frame beyond the k neighbours, the distances are (N, k). A tree is of no use
        there: every particle is compared with the few key frames around.
        """
        import torch

        around = self._around(*_box(xy))
        positions: Any = like(self._positions[around], xy)
        up = like(self._up[around], xy)
        distances, indices = [], []
        for part in xy.split(max(_DEVICE_DISTANCES // len(around), 1)):
            # not torch.cdist, which on a GPU takes a block of threads for each distance
            offsets = part[:, :1] - positions[:, 0], part[:, 1:] - positions[:, 1]
            closest = torch.hypot(*offsets).topk(self._queried, largest=False)
            distances.append(closest.values)
            indices.append(closest.indices)
        nearest = torch.cat(indices)[:, : self._neighbours]
        return torch.cat(distances), positions[nearest], up[nearest]


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
        box, margin = _box(planar), _MARGIN_M
        if not self._room(*box) > 0.0:
            self._read(*box, margin)
        poses, reach = self._ground.poses_and_reach(planar)
        # A key frame that was not read may be nearer than one that was found further off.
        while not (self._whole or float(reach.max()) <= self._room(*box)):
            self._read(*box, margin)
            margin *= 4.0
            poses, reach = self._ground.poses_and_reach(planar)
        return poses

    def _room(self, low: Array, high: Array) -> float:
        """Distance of a box, (2,) to (2,), from the border of what was read; beyond it < 0 [m]."""
        return float(np.minimum(low - self._low, self._high - high).min())

    def _read(self, low: Array, high: Array, margin: float) -> None:
        near = self._map.keyframes_within(low - margin, high + margin)
        self._whole = len(near) == len(self._map.keyframes)
        if len(near) <= _NEIGHBOURS and not self._whole:
            self._read(low, high, 4.0 * margin)
        else:
            self._ground, self._low, self._high = Ground(near), low - margin, high + margin
        if self._whole:
            self._low, self._high = np.full(2, -np.inf), np.full(2, np.inf)


def _box(planar: Array) -> tuple[Array, Array]:
    """Lowest and highest x and y (2,) of planar poses (N, 2 or 3), on the host."""
    if is_tensor(planar):
        xp = namespace(planar)
        return host(xp.min(planar[:, :2], axis=0)), host(xp.max(planar[:, :2], axis=0))
    x, y = planar[:, 0], planar[:, 1]  # each by itself: NumPy is slow along a short axis
    return np.array([x.min(), y.min()]), np.array([x.max(), y.max()])


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
