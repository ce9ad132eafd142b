"""Bundle adjustment with relations between poses: sparse, robust, by the Schur complement.

Triggs et al., "Bundle adjustment - a modern synthesis" (2000), sections 5 and 6. Poses T_map_base
change by T exp(delta), 1812.01537; points by addition.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import bsr_matrix

from fgsn_ros.config import require
from fgsn_ros.geometry import poses
from fgsn_ros.mapping.sfm.banded import solved
from fgsn_ros.mapping.sfm.block_sums import Blocks, bsr, group_sums

FloatArray = NDArray[np.float64]
Indices = NDArray[np.int64]
_NEAREST_M = 0.1
_SEEN_AT_ONCE = 20_000
"""Observations that are linearised together: some 4 kB each, 80 MB, however long the drive is."""
_DAMPING = 1e-4
_STRONGEST_DAMPING = 1e6
_CONVERGED = 1e-4


@dataclass(frozen=True, eq=False)
class Observations:
    """Points seen in images; ordered by point."""

    pose: Indices
    """(M,) pose of each."""
    point: Indices
    """(M,) point of each, ascending; a pose sees a point once."""
    rays: FloatArray
    """(M, 2) x, y of the ray at z = 1."""
    focal_px: FloatArray
    """(M, 2)."""
    camera: Indices
    """(M,) calibration of each, 0..C-1."""
    T_camera_base: FloatArray
    """(M, 4, 4)."""

    def __len__(self) -> int:
        return len(self.pose)

    def __getitem__(self, chosen: NDArray[np.bool_] | Indices | slice) -> "Observations":
        return Observations(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


@dataclass(frozen=True, eq=False)
class Relations:
    """What is known of the motion between poses, beside what they see."""

    first: Indices
    """(R,)."""
    second: Indices
    """(R,)."""
    T_first_second: FloatArray
    """(R, 4, 4)."""
    sigma: FloatArray
    """(R, 6) standard deviations [m and rad], in the frame of the second."""
    doubtful: NDArray[np.bool_]
    """(R,) may be wrong altogether: weighs less the more it disagrees (Cauchy)."""

    def __len__(self) -> int:
        return len(self.first)

    @staticmethod
    def joined(parts: "list[Relations]") -> "Relations":
        """All relations of several sets."""
        names = Relations.__dataclass_fields__
        return Relations(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))


@dataclass(frozen=True)
class CalibrationTrust:
    """How sure the calibrations are: one standard deviation."""

    focal: float = 0.01
    """of the focal length, as a share. > 0."""
    radial: float = 0.02
    """of the radial distortion k1. > 0."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.focal > 0.0, "focal must be above 0")
        require(self.radial > 0.0, "radial must be above 0")


@dataclass(frozen=True, eq=False)
class Verticals:
    """Where up is, as was measured at poses."""

    pose: Indices
    """(K,) distinct poses."""
    up: FloatArray
    """(K, 3) unit vectors in base_link, z above 0."""
    sigma_rad: FloatArray
    """(K,) standard deviation of each."""

    def __len__(self) -> int:
        return len(self.pose)


@dataclass(frozen=True, eq=False)
class Positions:
    """Where points on the robot were, as was measured; any may be wrong altogether (Cauchy)."""

    pose: Indices
    """(G,) pose of each."""
    lever: FloatArray
    """(G, 3) the point in base_link of that pose [m]."""
    position: FloatArray
    """(G, 3) in the map [m]."""
    root: FloatArray
    """(G, 3, 3) W with W^T W the inverse of each one's covariance [1/m]."""
    share: FloatArray
    """(G,) how much of one independent measurement each is. Above 0, at most 1."""

    def __len__(self) -> int:
        return len(self.pose)

    @staticmethod
    def joined(parts: "list[Positions]") -> "Positions":
        """All positions of several sets."""
        names = Positions.__dataclass_fields__
        return Positions(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))

    def residuals(self, T: FloatArray) -> FloatArray:
        """(G, 3) from where each was measured to where it is by poses (N, 4, 4), per sigma."""
        apart = poses.transform(T[self.pose], self.lever) - self.position
        return np.asarray((self.root @ apart[:, :, None])[:, :, 0])


@dataclass(frozen=True)
class Knowledge:
    """What is known beside the images and the motion."""

    tilt_rad: float
    """standard deviation of roll and pitch of one pose where up was not measured [rad]."""
    calibration: CalibrationTrust
    verticals: Verticals | None = None
    positions: Positions | None = None
    """by which the map lies where it does; without, the first pose stays near where it is"""


@dataclass(frozen=True, eq=False)
class Adjusted:
    """Poses and points after adjustment."""

    T_map_base: FloatArray
    """(N, 4, 4)."""
    points: FloatArray
    """(P, 3) [m]."""
    calibration: FloatArray
    """(C, 2) logarithm of the focal length's ratio to the calibrated one, and radial distortion
    that the calibration left: a ray (x, y) is seen at exp(a) (1 + k (x^2 + y^2)) (x, y)."""
    error_px: FloatArray
    """(M,) reprojection error of each observation; infinite behind the camera."""
    gain: float
    """fall of the cost [squared standard deviations]"""


def adjust(
    T_map_base: FloatArray,
    points: FloatArray,
    seen: Observations,
    relations: Relations,
    calibration: FloatArray,
    known: Knowledge,
    sigma_px: float,
    iterations: int,
) -> Adjusted:
    """Poses (N, 4, 4), points (P, 3) and calibrations (C, 2) with the least robust cost.

    Where no positions are known, the first pose stays near where it is.

    Levenberg-Marquardt; reprojection errors weigh by Cauchy's function of sigma_px.
    """
    problem = _Problem(seen, relations, known, sigma_px, T_map_base[:1].copy())
    T, X, c = T_map_base, points, calibration
    cost, damping = problem.cost(T, X, c), _DAMPING
    first_cost = cost
    for _ in range(iterations):
        system = problem.linearised(T, X, c)
        while damping < _STRONGEST_DAMPING:
            step, step_X = system.solved(damping)
            T_new = poses.compose(T, poses.exp(step[: len(T)]))
            X_new, c_new = X + step_X, c + step[len(T) :, :2]
            new_cost = problem.cost(T_new, X_new, c_new)
            if new_cost < cost:
                break
            damping *= 10.0
        else:
            break
        gain = cost - new_cost
        T, X, c, cost, damping = T_new, X_new, c_new, new_cost, max(damping / 5.0, 1e-8)
        if gain < _CONVERGED * cost:
            break
    return Adjusted(T, X, c, problem.errors_px(T, X, c), first_cost - cost)


@dataclass(frozen=True, eq=False)
class _Problem:
    seen: Observations
    relations: Relations
    known: Knowledge
    sigma_px: float
    T_gauge: FloatArray

    def _sight(self, T: FloatArray, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Points in base_link and in the camera (M, 3)."""
        seen = self.seen
        R, t = T[seen.pose, :3, :3], T[seen.pose, :3, 3]
        in_base = np.einsum("mji,mj->mi", R, X[seen.point] - t)
        return in_base, poses.transform(seen.T_camera_base, in_base)

    def _residuals(self, in_camera: FloatArray, c: FloatArray) -> FloatArray:
        """(M, 2) [px]."""
        ray = in_camera[:, :2] / np.maximum(in_camera[:, 2:], _NEAREST_M)
        focal, radial = c[self.seen.camera].T
        factor = np.exp(focal) * (1.0 + radial * (ray**2).sum(axis=1))
        return np.asarray(self.seen.focal_px * (ray * factor[:, None] - self.seen.rays))

    def errors_px(self, T: FloatArray, X: FloatArray, c: FloatArray) -> FloatArray:
        in_camera = self._sight(T, X)[1]
        error = np.linalg.norm(self._residuals(in_camera, c), axis=1)
        return np.where(in_camera[:, 2] > _NEAREST_M, error, np.inf)

    def cost(self, T: FloatArray, X: FloatArray, c: FloatArray) -> float:
        r = self._residuals(self._sight(T, X)[1], c) / self.sigma_px
        related = self._related(T)
        square = (related**2).sum(axis=1)
        doubtful = self.relations.doubtful
        total = np.log1p((r**2).sum(axis=1)).sum() + square[~doubtful].sum()
        total += np.log1p(square[doubtful]).sum()
        total += (self._tilts(T) ** 2).sum() + (self._gauge(T) ** 2).sum()
        if self.known.positions is not None:
            square = (self.known.positions.residuals(T) ** 2).sum(axis=1)
            total += (self.known.positions.share * np.log1p(square)).sum()
        return float(total + ((c / self._calibration_sigma) ** 2).sum())

    @property
    def _calibration_sigma(self) -> FloatArray:
        return np.array([self.known.calibration.focal, self.known.calibration.radial])

    def _related(self, T: FloatArray) -> FloatArray:
        known = self.relations
        apart = poses.compose(poses.invert(T[known.first]), T[known.second])
        return poses.log(poses.compose(poses.invert(known.T_first_second), apart)) / known.sigma

    def _tilts(self, T: FloatArray) -> FloatArray:
        """(N, 2) x, y of the vertical in base_link less where it should be, per sigma."""
        up, sigma = self._levels(len(T))
        return (T[:, 2, :2] - up) / sigma

    def _levels(self, count: int) -> tuple[FloatArray, FloatArray]:
        """Where up is in base_link, x and y (N, 2), and its standard deviation (N, 1) [rad]."""
        up, sigma = np.zeros((count, 2)), np.full((count, 1), self.known.tilt_rad)
        measured = self.known.verticals
        if measured is not None:
            up[measured.pose], sigma[measured.pose, 0] = measured.up[:, :2], measured.sigma_rad
        return up, sigma

    def _gauge(self, T: FloatArray) -> FloatArray:
        """(4,) x, y, z and yaw of the first pose against where it was."""
        apart = poses.compose(poses.invert(self.T_gauge[0]), T[0])
        return np.append(apart[:3, 3], poses.to_rpy(apart)[2]) / self._gauge_sigma

    @property
    def _gauge_sigma(self) -> float:
        """[m and rad]."""
        return _GAUGE_SIGMA if self.known.positions is None else np.inf

    def linearised(self, T: FloatArray, X: FloatArray, c: FloatArray) -> "_System":
        """Gauss-Newton's normal equations; calibrations are blocks after those of the poses."""
        blocks = Blocks(len(T) + len(c))
        self._add_relations(T, blocks)
        self._add_level(T, blocks)
        self._add_positions(T, blocks)
        self._add_calibration(len(T), c, blocks)
        across = Blocks(len(T) + len(c), len(X))
        V, gradient = np.zeros((len(X), 3, 3)), np.zeros((len(X), 3))
        for first in range(0, len(self.seen), _SEEN_AT_ONCE):
            some = replace(self, seen=self.seen[first : first + _SEEN_AT_ONCE])
            J = some._jacobians(T, X, c)
            some._add_seen(J, len(T), blocks, across)
            _, _, B, r = J
            points = slice(some.seen.point[0], some.seen.point[-1] + 1)
            own, count = some.seen.point - points.start, points.stop - points.start
            V[points] += group_sums(_product(B, B), own, count)
            gradient[points] += group_sums(_product(B, r[:, :, None])[:, :, 0], own, count)
        return _System(blocks, across, len(c), V, gradient)

    def _add_seen(self, J: "_Jacobians", first_camera: int, blocks: Blocks, across: Blocks) -> None:
        """What the observations say of poses and calibrations, and of these with points."""
        A, C, B, r = J
        pose, point, camera = self.seen.pose, self.seen.point, self.seen.camera + first_camera
        for rows, K in ((pose, A), (camera, C)):
            blocks.descend(rows, _product(K, r[:, :, None])[:, :, 0])
            across.add(rows, point, _product(K, B))
            for columns, L in ((pose, A), (camera, C)):
                blocks.add(rows, columns, _product(K, L))

    def _jacobians(self, T: FloatArray, X: FloatArray, c: FloatArray) -> "_Jacobians":
        """Weighted derivatives by pose and calibration (M, 2, 6), point (M, 2, 3); residuals."""
        seen = self.seen
        in_base, in_camera = self._sight(T, X)
        r = self._residuals(in_camera, c) / self.sigma_px
        z = np.maximum(in_camera[:, 2:], _NEAREST_M)
        weight = np.where(
            in_camera[:, 2] < _NEAREST_M, 0.0, 1.0 / np.sqrt(1.0 + (r**2).sum(axis=1))
        )
        scale = seen.focal_px / self.sigma_px * weight[:, None]
        ray = in_camera[:, :2] / z
        square, (focal, radial) = (ray**2).sum(axis=1), c[seen.camera].T
        to_ray = np.zeros((len(seen), 2, 3))
        to_ray[:, 0, 0] = to_ray[:, 1, 1] = 1.0 / z[:, 0]
        to_ray[:, :, 2] = -ray / z
        bend = 2.0 * radial[:, None, None] * ray[:, :, None] * ray[:, None, :]
        bend = bend + (1.0 + radial * square)[:, None, None] * np.eye(2)
        bend *= np.exp(focal)[:, None, None] * scale[:, :, None]
        D = bend @ to_ray @ seen.T_camera_base[:, :3, :3]
        A = np.concatenate([-D, D @ _skew(in_base)], axis=2)
        B = D @ T[seen.pose, :3, :3].swapaxes(1, 2)
        C = np.zeros((len(seen), 2, 6))
        grown = np.exp(focal)[:, None] * scale * ray
        C[:, :, 0] = grown * (1.0 + radial * square)[:, None]
        C[:, :, 1] = grown * square[:, None]
        return A, C, B, r * weight[:, None]

    def _add_calibration(self, first: int, c: FloatArray, blocks: Blocks) -> None:
        """What is known of the calibrations; a block's other four numbers stand for nothing."""
        information = np.append(1.0 / self._calibration_sigma**2, np.ones(4))
        every = np.arange(first, first + len(c))
        blocks.add(every, every, np.broadcast_to(np.diag(information), (len(c), 6, 6)))
        gradient = np.zeros((len(c), 6))
        gradient[:, :2] = c * information[:2]
        blocks.descend(every, gradient)

    def _add_relations(self, T: FloatArray, blocks: Blocks) -> None:
        known = self.relations
        if len(known) == 0:
            return
        r = self._related(T)
        square = (r**2).sum(axis=1)
        weight = np.where(known.doubtful, 1.0 / np.sqrt(1.0 + square), 1.0)[:, None]
        scale = weight / known.sigma
        back = poses.compose(poses.invert(T[known.second]), T[known.first])
        J_first = -_adjoint(back) * scale[:, :, None]
        J_second = np.eye(6) * scale[:, :, None]
        r = r * weight
        i, j = known.first, known.second
        for a, J_a in ((i, J_first), (j, J_second)):
            blocks.descend(a, np.einsum("mki,mk->mi", J_a, r))
            for b, J_b in ((i, J_first), (j, J_second)):
                blocks.add(a, b, np.einsum("mki,mkj->mij", J_a, J_b))

    def _add_level(self, T: FloatArray, blocks: Blocks) -> None:
        """Tilts of all poses, and the place of the first."""
        J = np.zeros((len(T), 2, 6))
        # The third row of R exp(phi) is that of R plus phi x it: d row = -row skew... by columns.
        row = T[:, 2, :3]
        J[:, 0, 4], J[:, 0, 5] = -row[:, 2], row[:, 1]
        J[:, 1, 3], J[:, 1, 5] = row[:, 2], -row[:, 0]
        J /= self._levels(len(T))[1][:, :, None]
        every = np.arange(len(T))
        blocks.add(every, every, np.einsum("mki,mkj->mij", J, J))
        blocks.descend(every, np.einsum("mki,mk->mi", J, self._tilts(T)))
        G = np.zeros((1, 4, 6))
        apart = poses.compose(poses.invert(self.T_gauge[0]), T[0])
        G[0, :3, :3], G[0, 3, 3:] = apart[:3, :3], apart[2, :3]
        G /= self._gauge_sigma
        first = np.zeros(1, np.int64)
        blocks.add(first, first, np.einsum("mki,mkj->mij", G, G))
        blocks.descend(first, np.einsum("mki,k->mi", G, self._gauge(T)))

    def _add_positions(self, T: FloatArray, blocks: Blocks) -> None:
        known = self.known.positions
        if known is None:
            return
        r = known.residuals(T)
        weight = np.sqrt(known.share / (1.0 + (r**2).sum(axis=1)))
        R = T[known.pose, :3, :3]
        # R exp(phi) (lever + rho) = R (lever + rho + phi x lever)
        J = known.root @ np.concatenate([R, -R @ _skew(known.lever)], axis=2)
        J = J * weight[:, None, None]
        blocks.add(known.pose, known.pose, np.einsum("mki,mkj->mij", J, J))
        blocks.descend(known.pose, np.einsum("mki,mk->mi", J, r * weight[:, None]))


_GAUGE_SIGMA = 1e-3  # m and rad


_Jacobians = tuple[FloatArray, FloatArray, FloatArray, FloatArray]


@dataclass(frozen=True, eq=False)
class _System:
    blocks: Blocks
    across: Blocks
    calibrations: int
    V: FloatArray
    g_points: FloatArray

    def solved(self, damping: float) -> tuple[FloatArray, FloatArray]:
        """Steps of poses and calibrations (N + C, 6), and of points (P, 3)."""
        rows, columns, blocks = self.blocks.summed()
        damped = blocks.copy()
        diagonal = rows == columns
        damped[diagonal] += _of_diagonal(blocks[diagonal], damping)
        H = bsr(rows, columns, damped, self.blocks.shape)
        gradient = self.blocks.gradient
        if len(self.V) == 0:
            return self._blocks_solved(H, -gradient), np.zeros((0, 3))
        V_inverse = np.linalg.inv(self.V + _of_diagonal(self.V, damping) + 1e-9 * np.eye(3))
        pose, point, W = self.across.summed()
        Y = W @ V_inverse[point]
        across = bsr(pose, point, Y, self.across.shape)
        down = bsr(point, pose, W.swapaxes(1, 2), self.across.shape[::-1])
        reduced = across @ self.g_points.ravel()
        step = self._blocks_solved(H - across @ down, reduced.reshape(-1, 6) - gradient)
        right = -self.g_points - (down @ step.ravel()).reshape(-1, 3)
        return step, (V_inverse @ right[:, :, None])[:, :, 0]

    def _blocks_solved(self, H: bsr_matrix, right: FloatArray) -> FloatArray:
        """(N + C, 6); calibrations are coupled with all poses."""
        return solved(H, right.ravel(), self.calibrations).reshape(-1, 6)


def _of_diagonal(blocks: FloatArray, damping: float) -> FloatArray:
    diagonal = np.einsum("...ii->...i", blocks) * damping
    return np.asarray(diagonal[..., None] * np.eye(blocks.shape[-1]))


def _product(J: FloatArray, K: FloatArray) -> FloatArray:
    """J^T K of (M, 2, a) and (M, 2, b)."""
    return np.asarray(J.swapaxes(1, 2) @ K)


def _skew(v: FloatArray) -> FloatArray:
    W = np.zeros((len(v), 3, 3))
    W[:, 2, 1], W[:, 0, 2], W[:, 1, 0] = v[:, 0], v[:, 1], v[:, 2]
    W[:, 1, 2], W[:, 2, 0], W[:, 0, 1] = -v[:, 0], -v[:, 1], -v[:, 2]
    return W


def _adjoint(T: FloatArray) -> FloatArray:
    """(R, 6, 6) of poses (R, 4, 4); 1812.01537 eq. 175."""
    R = T[:, :3, :3]
    Ad = np.zeros((len(T), 6, 6))
    Ad[:, :3, :3] = Ad[:, 3:, 3:] = R
    Ad[:, :3, 3:] = _skew(T[:, :3, 3]) @ R
    return Ad
