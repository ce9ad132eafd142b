"""What a label map says of the pose: how far it is trusted, and over which points."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fgsn_ros.config import require
from fgsn_ros.errors import LocalizationError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.arrays import Array
from fgsn_ros.geometry.cameras import Camera, CameraMount
from fgsn_ros.localization.device_evidence import DeviceRatios
from fgsn_ros.localization.likelihood import FrameLikelihood
from fgsn_ros.localization.pinhole_grid import PinholeGrid
from fgsn_ros.localization.selection import PointSelector, SelectedPoints, SelectionSettings
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.segmentation.labels import LabelMap


@dataclass(frozen=True)
class MeasurementSettings:
    """How far label agreement is trusted."""

    points: int = 3000
    """Most map points per frame, >= 1."""
    outlier_share: float = 0.35
    """Share of observations that say nothing, [0, 1); bounds what one point can cost."""
    size_share: float = 0.3
    """How far a point's evidence grows with the size at which a pose shows it, [0, 1].

    Without it a pose further back loses little: it shows everything smaller, within its own
    outlines, and no point speaks for the cells that are left over. Estimates lag then."""
    independent_points: float = 60.0
    """A frame counts as this many independent points at most, > 0. Less follows odometry more."""
    independent_distance_m: float = 1.0
    """Frames closer than this tell the same again and share that evidence [m], >= 0."""
    independent_angle_rad: float = 0.3
    """The same for turning on the spot [rad], > 0."""
    threads: int = 0
    """CPU threads that weigh the particles, >= 0; 0: all cores. Fewer leave some to the network."""
    selection: SelectionSettings = field(default_factory=SelectionSettings)
    """Which points are expected to be seen."""

    def __post_init__(self) -> None:
        require(self.points >= 1, "measurement: points must be at least 1")
        require(self.threads >= 0, "measurement: threads must be at least 0")
        require(0.0 <= self.outlier_share < 1.0, "measurement: outlier_share must be in [0, 1)")
        require(0.0 <= self.size_share <= 1.0, "measurement: size_share must be in [0, 1]")
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
    # In Fortran order: the kernel reads the columns, and need not copy them for each frame.
    return np.asfortranarray(np.vstack([robust, np.zeros((1, table.shape[1]))]), np.float32)


class LabelMeasurement:
    """Makes the likelihood of each label map on one semantic map."""

    def __init__(
        self,
        semantic_map: SemanticMap,
        log_ratio: npt.NDArray[np.floating],
        mounts: Mapping[str, CameraMount],
        settings: MeasurementSettings,
    ) -> None:
        """For label statistics (K, K) [observed, map] and the cameras known so far, by name.

        Raises:
            LocalizationError: the statistics do not fit the map.
        """
        self._settings = settings
        self._label_count = semantic_map.label_count
        self._statistics = log_ratio
        robust = robust_log_ratio(log_ratio, settings.outlier_share)
        if robust.shape[1] != self._label_count:
            raise LocalizationError(
                f"label statistics for {robust.shape[1]} labels do not fit a map of "
                f"{self._label_count}; use the checkpoint that labelled the map"
            )
        self._ratios = DeviceRatios(robust)
        self._mounts = dict(mounts)
        self._selector = PointSelector(semantic_map, settings.selection)
        self._grids: dict[tuple[Camera, int], PinholeGrid] = {}
        self._used_at: dict[str, Array] = {}

    @property
    def mounts(self) -> Mapping[str, CameraMount]:
        """Cameras by name."""
        return self._mounts

    def set_mount(self, camera: str, mount: CameraMount) -> None:
        """Mount a camera, or say where it is now."""
        self._mounts[camera] = mount

    def restart(self) -> None:
        """Forget the frames before: the next one of each camera is evidence in full."""
        self._used_at = {}

    def require_camera(self, camera: str) -> None:
        """Raise LocalizationError for a camera that is not mounted."""
        if camera not in self._mounts:
            known = ", ".join(sorted(self._mounts)) or "none"
            raise LocalizationError(f"labels of unknown camera '{camera}'; known: {known}")

    def likelihood(
        self,
        camera: str,
        label_map: LabelMap,
        prediction: tuple[Array, Array],
        T_odom_base: Array,
        rng: np.random.Generator,
    ) -> FrameLikelihood:
        """Likelihood of a label map, over points chosen at the predicted pose.

        Args:
            camera: Name of the camera.
            label_map: Its labels.
            prediction: T_map_base (4, 4) and covariance (6, 6) before the measurement.
            T_odom_base: (4, 4) at the label map's stamp.
            rng: Draws among the points.

        Raises:
            LocalizationError: the label map does not fit the camera or the map.
        """
        mount = self._mounts[camera]
        pinhole = self._grid(mount.camera, label_map.stride)
        grid = pinhole.labels(label_map, self._label_count)
        T_map_base, covariance = prediction
        T_map_camera = poses.compose(T_map_base, mount.T_base_camera)
        selected = self._selector.select(
            T_map_camera, covariance, pinhole.camera, self._settings.points, rng
        )
        power = self._power(camera, T_odom_base, selected)
        return FrameLikelihood(
            pinhole,
            mount.T_base_camera,
            grid,
            selected,
            self._statistics,
            self._ratios,
            self._settings.size_share,
            power,
            self._settings.threads,
        )

    def _power(self, camera: str, T_odom_base: Array, selected: SelectedPoints) -> float:
        """Power [0, 1] of the likelihood: dependent points and frames do not count in full.

        Neighbouring cells err together, and so do frames from almost the same place: the plain
        product over points and frames would be far too sure.
        """
        if len(selected) == 0:
            return 0.0
        before = self._used_at.get(camera)
        T_since = None if before is None else poses.compose(poses.invert(before), T_odom_base)
        self._used_at[camera] = T_odom_base
        total = max(float(selected.weights.sum()), 1e-9)
        new = self._settings.evidence_share(T_since)
        return new * min(1.0, self._settings.independent_points / total)

    def _grid(self, camera: Camera, stride: int) -> PinholeGrid:
        key = (camera, stride)
        if key not in self._grids:
            self._grids[key] = PinholeGrid(camera, stride)
        return self._grids[key]
