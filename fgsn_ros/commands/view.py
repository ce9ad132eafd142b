"""A localized run, shown while it goes on or afterwards, by Rerun."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require_extra
from fgsn_ros.errors import OutputError
from fgsn_ros.evaluation.match_picture import AGREES, DISAGREES, point_matches
from fgsn_ros.evaluation.trajectory_errors import compare
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.localization.estimate import Estimate
from fgsn_ros.localization.online import OnlineLocalizer
from fgsn_ros.mapping.semantic_map import SemanticMap, ShownPoints
from fgsn_ros.outputs import check_apart, check_file, whole_file
from fgsn_ros.recordings.recording import Frame
from fgsn_ros.segmentation.labels import LabelMap, palette

if TYPE_CHECKING:
    import rerun.blueprint

View = Literal["live"] | Path
"""Where a run is shown: in a window, or in a file (.rrd) that `rerun FILE` opens."""

PATH_PERIOD_S = 1.0
JPEG_QUALITY = 80
_GREEN, _ORANGE, _WHITE, _BLUE = (60, 210, 90), (240, 150, 30), (235, 235, 235), (80, 150, 255)
_SIGMAS = 3.0
_LEAST_SEMI_AXIS_M = 1e-3

FloatArray = NDArray[np.float64]


def check_view(
    view: View | None, overwrite: bool, output: Path, inputs: Iterable[Path] = ()
) -> None:
    """Refuse a view before the work that it would show, not after.

    Args:
        view: What is asked for.
        overwrite: Its file may be there already.
        output: The run's folder, within which it cannot be.
        inputs: What it must not replace.

    Raises:
        SettingsError: rerun-sdk is not installed.
        OutputError: the file exists (without `overwrite`) or cannot be written, or a window cannot
            be opened.
    """
    if view is None:
        return
    require_extra("view", "rerun")
    if isinstance(view, Path):
        check_apart(view, output)
        check_file(view, overwrite, inputs)
    elif not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise OutputError("there is no screen for --view; write a file: --view run.rrd")


class RunView:
    """Shows a run: cameras, labels, map, particles, pose, paths, errors, times; a context manager.

    The camera's image holds the map's points that are expected in it, green where the labels agree,
    else red. The pose carries an ellipsoid of three standard deviations. Errors, where there is a
    reference, stand beside three standard deviations; times are those of one frame's steps.
    """

    def __init__(
        self,
        view: View,
        mounts: Mapping[str, CameraMount],
        odometry: Trajectory,
        reference: Trajectory | None,
        semantic_map: SemanticMap,
        log_ratio: NDArray[np.floating],
    ) -> None:
        """Prepare; the window opens, or the file is begun, when the context is entered.

        Args:
            view: "live" or a file.
            mounts: Cameras by name.
            odometry: T_odom_base.
            reference: T_map_base, if there is one.
            semantic_map: The map that is localized on.
            log_ratio: (K, K) [observed, map].
        """
        import rerun

        self._view, self._rr = view, rerun
        self._file = whole_file(view) if isinstance(view, Path) else None
        self._mounts, self._odometry, self._reference = mounts, odometry, reference
        self._map, self._log_ratio = semantic_map, log_ratio
        self._shown = ShownPoints(semantic_map)
        self._frames: dict[str, tuple[Frame, LabelMap]] = {}
        self._first_stamp: float | None = None
        self._T_map_odom_at_start: FloatArray | None = None
        self._paths: dict[str, list[FloatArray]] = {"estimate": [], "odometry": []}
        self._next_path = -np.inf
        self._seconds: dict[str, float] = {}
        self._stream = rerun.RecordingStream("fgsn_ros")

    def __enter__(self) -> "RunView":
        blueprint = _blueprint(list(self._mounts))
        if self._file is not None:
            self._stream.save(self._file.__enter__(), default_blueprint=blueprint)
        else:
            self._spawn(blueprint)
        self._log_what_stays()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if kind is None and self._first_stamp is not None:
            self._log_paths()
        self._stream.flush()
        self._stream.disconnect()
        return self._file.__exit__(kind, error, trace) if self._file is not None else None

    def add_labels(self, frame: Frame, label_map: LabelMap) -> None:
        """Show a frame and its labels."""
        self._set_time(frame.stamp)
        image = self._rr.Image(frame.image).compress(jpeg_quality=JPEG_QUALITY)
        self._stream.log(f"map/base/{frame.camera}/image", image)
        ids = np.minimum(label_map.labels, label_map.label_count)
        self._stream.log(f"labels/{frame.camera}", self._rr.SegmentationImage(ids))
        self._frames[frame.camera] = frame, label_map

    def add_estimate(self, estimate: Estimate, online: OnlineLocalizer) -> None:
        """Show an estimate, with the particles that it came from."""
        self._set_time(estimate.stamp)
        T_map_base, weights = online.particles
        self._log_pose(estimate)
        self._log_particles(T_map_base, weights)
        self._log_matches(estimate)
        self._log_map(estimate.T_map_base[:3, 3])
        self._log_errors(estimate)
        self._log_times(online.seconds)
        T_odom_base = self._odometry.at(estimate.stamp)
        if self._T_map_odom_at_start is None:
            self._T_map_odom_at_start = poses.compose(
                estimate.T_map_base, poses.invert(T_odom_base)
            )
        reckoned = poses.compose(self._T_map_odom_at_start, T_odom_base)
        self._paths["estimate"].append(estimate.T_map_base[:3, 3])
        self._paths["odometry"].append(reckoned[:3, 3])
        if estimate.stamp >= self._next_path:
            self._log_paths()
            # later paths are longer: growing periods keep the file from growing with their square
            driven_s = estimate.stamp - (self._first_stamp or 0.0)
            self._next_path = estimate.stamp + max(PATH_PERIOD_S, driven_s / 10)

    def _spawn(self, blueprint: "rerun.blueprint.Blueprint") -> None:
        try:
            self._stream.spawn(default_blueprint=blueprint)
        except (RuntimeError, OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise OutputError(
                f"Rerun's window did not open: {reason}; write a file: --view run.rrd"
            ) from error

    def _set_time(self, stamp: float) -> None:
        if self._first_stamp is None:
            self._first_stamp = stamp
        self._stream.set_time("time", duration=stamp - self._first_stamp)

    def _log_what_stays(self) -> None:
        rr, label_count = self._rr, self._map.label_count
        self._stream.log("map", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        colours = [*palette(label_count).tolist(), [0, 0, 0]]
        names = [*(f"label {label}" for label in range(label_count)), "unlabelled"]
        classes = list(zip(range(label_count + 1), names, map(tuple, colours), strict=True))
        self._stream.log("/", rr.AnnotationContext(classes), static=True)
        for name, mount in self._mounts.items():
            translation, q_xyzw = poses.to_quaternion(mount.T_base_camera)
            at = rr.Transform3D(translation=translation, quaternion=rr.Quaternion(xyzw=q_xyzw))
            self._stream.log(f"map/base/{name}", at, static=True)
            camera = mount.camera
            pinhole = rr.Pinhole(
                image_from_camera=camera.matrix,
                resolution=[camera.width, camera.height],
                image_plane_distance=2.0,
            )
            self._stream.log(f"map/base/{name}/image", pinhole, static=True)
        if self._reference is not None:
            pieces = [piece.poses[:, :3, 3] for piece in self._reference.pieces()]
            line = rr.LineStrips3D(pieces, colors=[_WHITE] * len(pieces))
            self._stream.log("map/paths/reference", line, static=True)
        for plot, series in _SERIES.items():
            for name, colour in series.items():
                lines = rr.SeriesLines(names=name.replace("_", " "), colors=[colour])
                self._stream.log(f"plots/{plot}/{name}", lines, static=True)

    def _log_pose(self, estimate: Estimate) -> None:
        rr = self._rr
        translation, q_xyzw = poses.to_quaternion(estimate.T_map_base)
        at = rr.Transform3D(translation=translation, quaternion=rr.Quaternion(xyzw=q_xyzw))
        self._stream.log("map/base", at)
        variances, axes = np.linalg.eigh(estimate.covariance[:3, :3])
        axes[:, 0] *= np.sign(np.linalg.det(axes))
        semi_axes = _SIGMAS * np.sqrt(np.maximum(variances, 0.0)) + _LEAST_SEMI_AXIS_M
        _, q_xyzw = poses.to_quaternion(poses.from_rotation_translation(axes, np.zeros(3)))
        ellipsoid = rr.Ellipsoids3D(
            centers=[translation],
            half_sizes=[semi_axes],
            quaternions=[rr.Quaternion(xyzw=q_xyzw)],
            colors=[_GREEN],
        )
        self._stream.log("map/covariance", ellipsoid)

    def _log_particles(self, T_map_base: FloatArray, weights: FloatArray) -> None:
        strength = np.clip(weights * len(weights), 0.1, 1.0)
        colours = (strength[:, None] * np.array(_BLUE)).astype(np.uint8)
        points = self._rr.Points3D(T_map_base[:, :3, 3], colors=colours, radii=[-2.0])
        self._stream.log("map/particles", points)

    def _log_matches(self, estimate: Estimate) -> None:
        shown = self._frames.get(estimate.camera)
        if shown is None or shown[0].stamp != estimate.stamp:
            return  # late labels: the pose of then is not known
        matches = point_matches(
            estimate.T_map_base,
            self._mounts[estimate.camera],
            shown[1],
            self._map,
            self._log_ratio,
        )
        colours = np.where(matches.agrees[:, None], AGREES, DISAGREES).astype(np.uint8)
        points = self._rr.Points2D(matches.pixels + 0.5, colors=colours, radii=[-2.0])
        self._stream.log(f"map/base/{estimate.camera}/image/points", points)

    def _log_map(self, position: FloatArray) -> None:
        shown = self._shown.around(position)
        if shown is not None:
            colours = palette(self._map.label_count)[shown.labels]
            points = self._rr.Points3D(shown.points, colors=colours, radii=[-1.5])
            self._stream.log("map/points", points)

    def _log_errors(self, estimate: Estimate) -> None:
        spread = _SIGMAS * float(np.sqrt(np.trace(estimate.covariance[:2, :2])))
        heading_spread = _SIGMAS * float(np.degrees(np.sqrt(estimate.covariance[5, 5])))
        self._plot("position", "3_sigma", spread)
        self._plot("heading", "3_sigma", heading_spread)
        self._plot("quality", "quality", float(np.clip(estimate.match_quality, 0.0, 1.0)))
        if self._reference is None or not self._reference.covers(estimate.stamp):
            return
        pose = Trajectory(np.array([estimate.stamp]), estimate.T_map_base[None])
        errors = compare(pose, self._reference)
        self._plot("position", "error", float(errors.position_m[0]))
        self._plot("heading", "error", float(errors.heading_deg[0]))

    def _log_times(self, seconds: Mapping[str, float]) -> None:
        """Each step's time since the estimate before."""
        for step, total in list(seconds.items()):
            self._plot("time", step, 1e3 * (total - self._seconds.get(step, 0.0)))
            self._seconds[step] = total

    def _log_paths(self) -> None:
        for name, colour in (("estimate", _GREEN), ("odometry", _ORANGE)):
            line = self._rr.LineStrips3D([np.array(self._paths[name])], colors=[colour])
            self._stream.log(f"map/paths/{name}", line)

    def _plot(self, plot: str, series: str, value: float) -> None:
        self._stream.log(f"plots/{plot}/{series}", self._rr.Scalars(value))


_SERIES = {
    "position": {"error": _GREEN, "3_sigma": _BLUE},
    "heading": {"error": _GREEN, "3_sigma": _BLUE},
    "quality": {"quality": _GREEN},
}
"""Series of fixed colours, by plot."""
_PLOTS = {
    "position": "position [m]",
    "heading": "heading [deg]",
    "quality": "quality",
    "time": "time of a frame [ms]",
}
"""Titles of the plots."""


def _blueprint(cameras: list[str]) -> Any:
    """Where things are on the screen: world and cameras above, plots below."""
    from rerun import blueprint as rrb

    images = [
        rrb.Vertical(
            rrb.Spatial2DView(origin=f"map/base/{name}/image", name=f"{name}: map points"),
            rrb.Spatial2DView(origin=f"labels/{name}", name=f"{name}: labels"),
        )
        for name in cameras
    ]
    world = rrb.Spatial3DView(origin="map", name="map")
    plots = [
        rrb.TimeSeriesView(origin=f"plots/{plot}", name=title) for plot, title in _PLOTS.items()
    ]
    above = rrb.Horizontal(world, *images, column_shares=[2.0, *[1.0] * len(images)])
    return rrb.Blueprint(
        rrb.Vertical(above, rrb.Horizontal(*plots), row_shares=[3.0, 1.0]),
        collapse_panels=True,
    )
