"""Log-likelihood of poses: labels seen at projected map points against the points' labels."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fgsn_ros.config import require
from fgsn_ros.errors import LocalizationError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera
from fgsn_ros.localization import kernel
from fgsn_ros.localization.selection import SelectedPoints, SelectionSettings
from fgsn_ros.segmentation.labels import LabelMap
from fgsn_ros.sequences.recording import CameraMount

Array = npt.NDArray[np.float64]
Grid = npt.NDArray[np.int32]


@dataclass(frozen=True)
class MeasurementSettings:
    """How far label agreement is trusted."""

    points: int = 3000
    """Most map points per frame, >= 1."""
    outlier_share: float = 0.1
    """Share of observations that say nothing, [0, 1); bounds what one point can cost."""
    independent_points: float = 100.0
    """A frame counts as this many independent points at most, > 0."""
    independent_distance_m: float = 1.0
    """Frames closer than this tell the same again and share that evidence [m], >= 0."""
    independent_angle_rad: float = 0.3
    """The same for turning on the spot [rad], > 0."""
    selection: SelectionSettings = field(default_factory=SelectionSettings)
    """Which points are expected to be seen."""

    def __post_init__(self) -> None:
        require(self.points >= 1, "measurement: points must be at least 1")
        require(0.0 <= self.outlier_share < 1.0, "measurement: outlier_share must be in [0, 1)")
        require(self.independent_points > 0.0, "measurement: independent_points must be above 0")
        require(self.independent_distance_m >= 0.0, "measurement: independent_distance_m is < 0")
        require(self.independent_angle_rad > 0.0, "measurement: independent_angle_rad must be > 0")

    def evidence_share(self, T_since: Array | None) -> float:
        """Share [0, 1] of a frame's evidence that is new after a motion since the last frame.

        A robot that stands still sees the same image again: it is not evidence twice.
        """
        if T_since is None or self.independent_distance_m == 0.0:
            return 1.0
        metres = float(np.linalg.norm(T_since[:3, 3])) / self.independent_distance_m
        turned = float(poses.rotation_angle(T_since)) / self.independent_angle_rad
        return min(1.0, metres + turned)


def robust_log_ratio(
    log_ratio: npt.NDArray[np.floating], outlier_share: float
) -> npt.NDArray[np.float32]:
    """Table (K + 1, K) [observed, map] with outliers mixed in, and a last row for unlabelled.

    log((1 - e) exp(r) + e): with probability e an observation is drawn from p(observed) whatever
    the map says (occlusion, change, a wrong map label).

    Raises:
        LocalizationError: the table is not square or not finite.
    """
    table = np.asarray(log_ratio, np.float64)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or not np.isfinite(table).all():
        raise LocalizationError("the label statistics must be a finite (K, K) table")
    with np.errstate(divide="ignore"):
        robust = np.logaddexp(np.log1p(-outlier_share) + table, np.log(outlier_share))
    return np.vstack([robust, np.zeros((1, table.shape[1]))]).astype(np.float32)


class PinholeGrid:
    """Label grid of one camera without its distortion: points project as into a pinhole."""

    def __init__(self, mount: CameraMount, stride: int) -> None:
        self.distorted = mount.camera.at_stride(stride)
        self.camera: Camera = self.distorted.undistorted()
        self.T_base_camera = mount.T_base_camera
        self._source = self._source_cells() if self.distorted.is_distorted else None

    def labels(self, label_map: LabelMap, label_count: int) -> Grid:
        """Labels (H, W) on the pinhole grid; `label_count` where unlabelled or not in the image.

        Raises:
            LocalizationError: the label map is of another size or of another label set.
        """
        shape = (self.distorted.height, self.distorted.width)
        if label_map.labels.shape != shape or label_map.label_count != label_count:
            raise LocalizationError(
                f"a label map of {label_map.labels.shape} cells and {label_map.label_count} labels "
                f"does not fit the camera's {shape} cells and the map's {label_count} labels"
            )
        labels = np.minimum(label_map.labels, label_count).astype(np.int32)
        if self._source is None:
            return labels
        return np.append(labels.ravel(), np.int32(label_count))[self._source]

    def projections(self, T_map_base: Array, origin: Array) -> Array:
        """(N, 3, 4) from points relative to `origin` (3,) in the map to homogeneous grid pixels."""
        T_camera_map = poses.invert(poses.compose(T_map_base, self.T_base_camera))
        T_camera_map[:, :3, 3] += T_camera_map[:, :3, :3] @ origin
        return self.camera.matrix @ T_camera_map[:, :3]

    def _source_cells(self) -> npt.NDArray[np.int64]:
        """Flat cell of the distorted grid under each pinhole cell; one past the end for none."""
        height, width = self.distorted.height, self.distorted.width
        v, u = np.mgrid[0:height, 0:width]
        rays, _ = self.camera.unproject(np.stack([u, v], axis=-1).astype(np.float64))
        pixels, valid = self.distorted.project(rays)
        cells = np.floor(np.where(valid[..., None], pixels, 0.0) + 0.5).astype(np.int64)
        return np.where(valid, cells[..., 1] * width + cells[..., 0], height * width)


class FrameLikelihood:
    """Log-likelihood of base poses given one frame's labels and the points chosen for it."""

    def __init__(
        self,
        pinhole: PinholeGrid,
        grid: Grid,
        selected: SelectedPoints,
        log_ratio: npt.NDArray[np.float32],
        power: float,
    ) -> None:
        """`power` scales the sum over points (beta): see `tempering_power`."""
        self._pinhole = pinhole
        self._grid = grid
        self._log_ratio = log_ratio
        self._power = power
        self._labels = selected.labels
        # Relative to a point nearby, float32 resolves micrometres anywhere on the map.
        self._origin = selected.points.mean(axis=0) if len(selected) else np.zeros(3)
        self._points = (selected.points - self._origin).astype(np.float32)
        self._weights = selected.weights.astype(np.float32)
        self._evidence = kernel.Evidence(self._points, self._labels, self._weights, log_ratio, grid)

    def __call__(self, T_map_base: Array) -> Array:
        """(N,) log-likelihoods of poses (N, 4, 4), up to a constant."""
        projections = self._pinhole.projections(T_map_base, self._origin)
        return self._power * self._evidence.scores(projections).astype(np.float64)

    def match(self, T_map_base: Array) -> tuple[int, float]:
        """Number of points on labelled cells at one pose (4, 4), and their mean log-ratio."""
        projection = self._pinhole.projections(T_map_base[None], self._origin)[0]
        homogeneous = projection[:, :3] @ self._points.T + projection[:, 3:]
        cells, inside = kernel.project_to_cells(homogeneous, self._grid.shape)
        observed = self._grid.ravel()[np.where(inside, cells, 0)]
        seen = inside & (observed < self._log_ratio.shape[1])
        if not seen.any():
            return 0, 0.0
        ratios = self._log_ratio[observed[seen], self._labels[seen]]
        return int(seen.sum()), float(ratios.mean())


def tempering_power(selected: SelectedPoints, independent_points: float) -> float:
    """Power (0, 1] of the likelihood under which the points count as `independent_points` at most.

    Neighbouring cells err together, so the plain product over points would be far too sure.
    """
    return min(1.0, independent_points / max(float(selected.weights.sum()), 1e-9))
