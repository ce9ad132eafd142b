"""What a label map says of the pose: labels seen at projected map points against theirs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fgsn_ros.config import require
from fgsn_ros.errors import LocalizationError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.arrays import Array, doubles, host, on_gpu
from fgsn_ros.geometry.cameras import Camera, CameraMount
from fgsn_ros.localization import kernel
from fgsn_ros.localization.measured_pose import MeasuredPose
from fgsn_ros.localization.selection import PointSelector, SelectedPoints, SelectionSettings
from fgsn_ros.mapping.semantic_map import SemanticMap
from fgsn_ros.segmentation.labels import LabelMap

if TYPE_CHECKING:
    from fgsn_ros.localization.gpu_kernel import DeviceEvidence

Grid = npt.NDArray[np.int32]


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
    shared_longitudinal_m: float = 0.45
    """Error that frames share, along the robot's x axis [m], >= 0. Labels end alike too soon or too
    late in frame after frame: no number of them averages it away. It is in every covariance that
    is reported, and in no weight."""
    shared_lateral_m: float = 0.12
    """The same along its y axis [m], >= 0."""
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
        shared = min(self.shared_longitudinal_m, self.shared_lateral_m)
        require(shared >= 0.0, "measurement: shared_longitudinal_m or shared_lateral_m is < 0")
        require(self.independent_angle_rad > 0.0, "measurement: independent_angle_rad must be > 0")

    def shared_covariance(self, T_map_base: Array) -> Array:
        """Covariance (6, 6) of what frames at a pose (4, 4) share, as `InitialPose.covariance`."""
        covariance = np.zeros((6, 6))
        axes = T_map_base[:3, :2] * [self.shared_longitudinal_m, self.shared_lateral_m]
        covariance[:3, :3] = axes @ axes.T
        return covariance

    def evidence_share(self, T_since: Array | None) -> float:
        """Share [0, 1] of a frame's evidence that is new after a motion since the last frame.

        A robot that stands still sees the same image again: it is not evidence twice.
        """
        if T_since is None or self.independent_distance_m == 0.0:
            return 1.0
        metres = float(np.linalg.norm(T_since[:3, 3])) / self.independent_distance_m
        turned = float(poses.rotation_angle(T_since)) / self.independent_angle_rad
        return min(1.0, metres + turned)


class EvidenceTable:
    """What each observed label says for each map label [nat]."""

    def __init__(self, log_ratio: npt.NDArray[np.floating], outlier_share: float) -> None:
        """From label statistics (K, K) [observed, map], with outliers mixed in.

        log((1 - e) exp(r) + e): with probability e an observation is drawn from p(observed)
        whatever the map says (occlusion, change, a wrong map label).

        Raises:
            LocalizationError: the statistics are not square or not finite.
        """
        table = np.asarray(log_ratio, np.float64)
        if table.ndim != 2 or table.shape[0] != table.shape[1] or not np.isfinite(table).all():
            raise LocalizationError("the label statistics must be a finite (K, K) table")
        with np.errstate(divide="ignore"):
            robust = np.logaddexp(np.log1p(-outlier_share) + table, np.log(outlier_share))
        self.log_ratio = log_ratio
        """(K, K) [observed, map], as given."""
        self.label_count = len(table)
        # In Fortran order: the kernel reads the columns, and need not copy them for each frame.
        self.values: npt.NDArray[np.float32] = np.asfortranarray(
            np.vstack([robust, np.zeros((1, self.label_count))]), np.float32
        )
        """(K + 1, K) [observed, map]; the last row, for unlabelled cells, is 0."""
        ratios, likely = self.values[:-1].astype(np.float64), np.exp(table)
        self._range_sums = np.stack([ratios, likely, likely * ratios])
        self._sent: Any = None

    def range_of(self, occurs: npt.NDArray[np.int64]) -> tuple[Array, Array]:
        """Log-ratios (K,) that points of each map label have by chance, and if the pose is right.

        By chance a point of map label m meets the labels o of an image as often as they occur in
        it, h(o) (K,); else as often as h(o) exp(log_ratio(o, m)), normalised.
        """
        chances, likely, rights = occurs @ self._range_sums
        return chances / occurs.sum(), rights / likely

    def on(self, device: Any) -> Any:
        """The values (K, K + 1) [map, observed] as a tensor on a device, where they stay."""
        if self._sent is None or self._sent.device != device:
            import torch

            # A point's row is in one piece.
            self._sent = torch.from_numpy(np.ascontiguousarray(self.values.T)).to(device)
        return self._sent


def evidence_table(
    semantic_map: SemanticMap, log_ratio: npt.NDArray[np.floating], outlier_share: float
) -> EvidenceTable:
    """The table of label statistics (K, K) [observed, map] for a map.

    Raises:
        LocalizationError: the statistics are unusable or do not fit the map.
    """
    table = EvidenceTable(log_ratio, outlier_share)
    if table.label_count != semantic_map.label_count:
        raise LocalizationError(
            f"label statistics for {table.label_count} labels do not fit a map of "
            f"{semantic_map.label_count}; use the checkpoint that labelled the map"
        )
    return table


class PinholeGrid:
    """Label grid of one camera without its distortion: points project as into a pinhole."""

    def __init__(self, camera: Camera, stride: int) -> None:
        self.distorted = camera.at_stride(stride)
        self.camera: Camera = self.distorted.undistorted()
        self._camera_to_grid = np.hstack([self.camera.matrix, np.zeros((3, 1))])
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

    def projections(self, T_map_camera: Array, origin: Array) -> Array:
        """(N, 3, 4) from points relative to `origin` (3,) in the map to homogeneous grid pixels."""
        return kernel.projections(T_map_camera, self._camera_to_grid, origin)

    def _source_cells(self) -> npt.NDArray[np.int64]:
        """Flat cell of the distorted grid under each pinhole cell; one past the end for none."""
        height, width = self.distorted.height, self.distorted.width
        v, u = np.mgrid[0:height, 0:width]
        rays, _ = self.camera.unproject(np.stack([u, v], axis=-1).astype(np.float64))
        pixels, valid = self.distorted.project(rays)
        cells = np.floor(np.where(valid[..., None], pixels, 0.0) + 0.5).astype(np.int64)
        return np.where(valid, cells[..., 1] * width + cells[..., 0], height * width)


@dataclass(frozen=True)
class Match:
    """How the labels of one frame fit the map at one pose."""

    visible_points: int
    """Points on labelled cells."""
    score: float
    """Their mean log-ratio [nat]: above 0 the labels speak for the pose."""
    quality: float
    """Score on a scale from 0, labels scattered at random over this image, to 1, labels that agree
    as they did on the correspondences that the statistics were counted on; not clipped. NaN
    without visible points."""


class FrameLikelihood:
    """Log-likelihood of base poses given one frame's labels and the points chosen for it."""

    def __init__(
        self,
        pinhole: PinholeGrid,
        T_base_camera: Array,
        grid: Grid,
        selected: SelectedPoints,
        table: EvidenceTable,
        size_share: float,
        power: float,
        threads: int = 0,
        new: float = 1.0,
    ) -> None:
        """`power` (beta) scales the sum; `threads` as in `MeasurementSettings`."""
        self.power = power
        self.new = new
        """Share of the frame's evidence that earlier frames did not give."""
        self.measured: MeasuredPose | None = None
        """What local features of the same image say, if anything."""
        self.selected = selected
        self.pinhole = pinhole
        self._base_to_grid = pinhole.camera.matrix @ poses.invert(T_base_camera)[:3]
        self.grid = grid
        self._table = table
        self._size_share = size_share
        self._threads = threads
        # Relative to a point nearby, float32 resolves micrometres anywhere on the map.
        self._origin = selected.points.mean(axis=0) if len(selected) else np.zeros(3)
        self._points = (selected.points - self._origin).astype(np.float32)
        self._sent: DeviceEvidence | None = None

    def __call__(self, T_map_base: Array) -> Array:
        """(N,) log-likelihoods of poses (N, 4, 4), up to a constant, beside the poses."""
        if on_gpu(T_map_base):
            scores = self.sent_to(T_map_base.device).scores(T_map_base)
        else:
            scores = self._evidence.scores(self._projections(host(T_map_base)))
        logs: Array = self.power * doubles(scores, T_map_base)
        if self.measured is not None:
            logs = logs + self.new * self.measured.log_likelihood(T_map_base)
        return logs

    @property
    def tells(self) -> bool:
        """Whether there is anything that it depends on the pose by."""
        return self.power > 0.0 or self.measured is not None

    @cached_property
    def _evidence(self) -> kernel.Evidence:
        relative = replace(self.selected, points=self.selected.points - self._origin)
        return kernel.Evidence(
            relative, self._size_share, self._table.values, self.grid, self._threads
        )

    def sent_to(self, device: Any) -> "DeviceEvidence":
        """The evidence on a device, where it stays."""
        if self._sent is None:
            from fgsn_ros.localization.gpu_kernel import DeviceEvidence  # where there is a GPU

            self._sent = DeviceEvidence(
                self.selected,
                self._origin,
                self._size_share,
                self._table,
                self.grid,
                self._base_to_grid,
                device,
            )
        return self._sent

    def match(self, T_map_base: Array) -> Match:
        """How the labels fit at one pose (4, 4)."""
        projection = self._projections(T_map_base[None])[0]
        homogeneous = projection[:, :3] @ self._points.T + projection[:, 3:]
        cells, inside = kernel.project_to_cells(homogeneous, self.grid.shape)
        observed = self.grid.ravel()[np.where(inside, cells, 0)]
        seen = inside & (observed < self._table.label_count)
        if not seen.any():
            return Match(0, 0.0, float("nan"))
        labels = self.selected.labels[seen]
        score = float(self._table.values[observed[seen], labels].mean())
        chance, expected = self._score_range(labels)
        quality = (score - chance) / max(expected - chance, 1e-6)
        return Match(int(seen.sum()), score, quality)

    def _projections(self, T_map_base: Array) -> Array:
        return kernel.projections(T_map_base, self._base_to_grid, self._origin)

    def _score_range(self, labels: npt.NDArray[np.int32]) -> tuple[float, float]:
        """Mean log-ratio of points (M,) expected by chance, and if the pose is right."""
        label_count = self._table.label_count
        occurs = np.bincount(self.grid.ravel(), minlength=label_count + 1)[:label_count]
        share = np.bincount(labels, minlength=label_count) / len(labels)
        chances, rights = self._table.range_of(occurs)
        return float(share @ chances), float(share @ rights)


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
        self.table = evidence_table(semantic_map, log_ratio, settings.outlier_share)
        """What the labels say."""
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

    def warm_up(self, T_map_base: Array) -> None:
        """Compile what weighs poses (N, 4, 4), with arrays of the kinds that labels bring."""
        pinhole = PinholeGrid(Camera(16, 12, 8.0, 8.0, 7.5, 5.5), 4)
        grid = np.zeros((pinhole.distorted.height, pinhole.distorted.width), np.int32)
        one = np.ones(1)
        point = SelectedPoints(np.ones((1, 3)), np.zeros(1, np.int32), one, one)
        s = self._settings
        likelihood = FrameLikelihood(
            pinhole, np.eye(4), grid, point, self.table, s.size_share, 1.0, s.threads
        )
        likelihood(T_map_base)
        self._selector.warm_up(pinhole.camera)
        none = np.zeros(1, np.int64)
        kernel.score_places(
            np.zeros((1, 3, 4)),
            none,
            none,
            np.zeros((1, 3), np.float32),
            np.zeros(1, np.int32),
            np.zeros(1, np.float32),
            self.table.values.astype(np.float32, order="C"),
            grid,
        )

    def require_camera(self, camera: str) -> None:
        """Raise LocalizationError for a camera that is not mounted."""
        if camera not in self._mounts:
            known = ", ".join(sorted(self._mounts)) or "none"
            raise LocalizationError(f"labels of unknown camera '{camera}'; known: {known}")

    def seen(self, camera: str, label_map: LabelMap) -> tuple[PinholeGrid, Grid]:
        """A label map on its pinhole grid.

        Raises:
            LocalizationError: it does not fit the camera or the map.
        """
        pinhole = self._grid(self._mounts[camera].camera, label_map.stride)
        return pinhole, pinhole.labels(label_map, self.table.label_count)

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
        pinhole, grid = self.seen(camera, label_map)
        T_map_base, covariance = prediction
        T_map_camera = poses.compose(T_map_base, mount.T_base_camera)
        selected = self._selector.select(
            T_map_camera, covariance, pinhole.camera, self._settings.points, rng
        )
        new = self._new_share(camera, T_odom_base)
        total = max(float(selected.weights.sum()), 1e-9)
        power = new * min(1.0, self._settings.independent_points / total)
        return FrameLikelihood(
            pinhole,
            mount.T_base_camera,
            grid,
            selected,
            self.table,
            self._settings.size_share,
            power if len(selected) else 0.0,
            self._settings.threads,
            new,
        )

    def _new_share(self, camera: str, T_odom_base: Array) -> float:
        """Share [0, 1] of a frame's evidence that the frames before did not give.

        Frames from almost the same place err together, as neighbouring cells do: the plain product
        over frames and points would be far too sure.
        """
        before = self._used_at.get(camera)
        T_since = None if before is None else poses.compose(poses.invert(before), T_odom_base)
        self._used_at[camera] = T_odom_base
        return self._settings.evidence_share(T_since)

    def _grid(self, camera: Camera, stride: int) -> PinholeGrid:
        key = (camera, stride)
        if key not in self._grids:
            self._grids[key] = PinholeGrid(camera, stride)
        return self._grids[key]
