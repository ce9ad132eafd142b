"""Structure from known motion: the points that a drive's tracks triangulate to."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fgsn_ros.config import require
from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import Camera, CameraMount, warn_of_mounts
from fgsn_ros.geometry.clocks import Span, apart
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.mapping.tracks import FeatureTracker, Tracks, TrackSettings, merged
from fgsn_ros.mapping.triangulation import (
    Triangulation,
    TriangulationSettings,
    Views,
    range_bounds,
    triangulate,
)
from fgsn_ros.recordings.recording import Frame, Recording, require_ground_truth

FloatArray = NDArray[np.float64]
CHUNK_TRACKS = 5_000
_FEW_ACCEPTED = 0.15
"""Share of tracks; of KITTI's and the simulated town's 70 % and more become points, and 2 to 8 %
where the camera is turned by 90 degrees or has the axes of the body."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StructureSettings:
    """Which images are used, and how points are made of them."""

    frame_spacing_m: float = 0.25
    """Least motion between two tracked images of a camera [m]. >= 0."""
    frame_turn_deg: float = 2.0
    """Turn that tracks an image before frame_spacing_m is reached [deg]. > 0."""
    tracks: TrackSettings = field(default_factory=TrackSettings)
    triangulation: TriangulationSettings = field(default_factory=TriangulationSettings)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.frame_spacing_m >= 0.0, "frame_spacing_m must be at least 0")
        require(self.frame_turn_deg > 0.0, "frame_turn_deg must be above 0")


@dataclass(frozen=True)
class PosedFrame:
    """A frame and where the robot was."""

    frame: Frame
    T_map_base: FloatArray
    """(4, 4)."""


@dataclass(frozen=True)
class StructurePoints:
    """Triangulated points, and the views that agree with them."""

    points: FloatArray
    """(P, 3) in the map [m]."""
    directions: FloatArray
    """(P, 3) mean unit viewing direction, camera to point, in the map."""
    min_range: FloatArray
    """(P,) shortest distance of a view [m]."""
    max_range: FloatArray
    """(P,) longest distance of a view [m]."""
    error_px: FloatArray
    """(P,) median reprojection error."""
    observations: Tracks
    """The agreeing views, ordered by point, then frame; `track` is the point."""


@dataclass(frozen=True)
class Structure(StructurePoints):
    """The points of a drive, and its frames."""

    T_map_camera: FloatArray
    """(F, 4, 4) camera pose of each frame."""
    cameras: tuple[str, ...]
    """(F,) camera of each frame."""


class MotionGate:
    """Lets a pose pass when it has moved or turned enough since the last that passed."""

    def __init__(self, spacing_m: float, turn_deg: float) -> None:
        self._spacing_m = spacing_m
        self._turn = np.radians(turn_deg)
        self._last: FloatArray | None = None

    def passes(self, T: FloatArray) -> bool:
        """Whether T (4, 4) passes; the first pose always does."""
        if self._last is not None:
            change = poses.compose(poses.invert(self._last), T)
            moved = float(np.linalg.norm(change[:3, 3])) >= self._spacing_m
            if not (moved or float(poses.rotation_angle(change)) >= self._turn):
                return False
        self._last = T
        return True


def posed_frames(
    recording: Recording, spacing_m: float, turn_deg: float, title: str
) -> Iterator[PosedFrame]:
    """Frames with a ground-truth pose, without those of a camera that has hardly moved.

    What has no pose, also in a hole of the poses, is counted and said at the end; a camera whose
    mounting looks wrong is said at the start.

    Raises:
        RecordingError: the recording has no ground truth, none during its frames, or a frame
            cannot be read.
    """
    ground_truth = require_ground_truth(recording)
    warn_of_mounts(recording.cameras)
    gates = {name: MotionGate(spacing_m, turn_deg) for name in recording.cameras}
    unposed = _FramesWithoutPose(recording.name, ground_truth)
    for frame in tqdm(recording.frames(), total=recording.frame_count, desc=title, unit="frame"):
        if unposed.covers(frame):
            T_map_base = ground_truth.at(frame.stamp)
            if gates[frame.camera].passes(T_map_base):
                yield PosedFrame(frame, T_map_base)
    unposed.close()


class _FramesWithoutPose:
    """Frames, and how many of them and how much time have no pose."""

    def __init__(self, name: str, ground_truth: Trajectory) -> None:
        self._name = name
        self._ground_truth = ground_truth
        self._newest: dict[str, float] = {}
        self._first_stamp = self._last_stamp = 0.0
        self._frames = self._outside = 0
        self._holes: list[float] = []
        self._missing_s = 0.0

    def covers(self, frame: Frame) -> bool:
        """Count a frame; whether there is a pose for it."""
        stamp, truth = frame.stamp, self._ground_truth
        self._first_stamp = min(self._first_stamp, stamp) if self._frames else stamp
        self._last_stamp = max(self._last_stamp, stamp) if self._frames else stamp
        self._frames += 1
        before = self._newest.get(frame.camera, stamp)
        self._newest[frame.camera] = stamp
        covered = truth.covers(stamp)
        if not covered:
            self._missing_s += (stamp - before) / max(len(self._newest), 1)
            if truth.stamps[0] < stamp < truth.stamps[-1]:
                self._holes.append(stamp)
            else:
                self._outside += 1
        return covered

    def close(self) -> None:
        """Say in one line how much had no pose.

        Raises:
            RecordingError: there are frames, and none has a pose.
        """
        missing = len(self._holes) + self._outside
        if not missing:
            return
        frames = Span("the images", self._first_stamp, self._last_stamp)
        known = Span.of("the poses", self._ground_truth.stamps)
        if missing == self._frames and not frames.meets(known):
            raise RecordingError(f"{self._name}: {apart(frames, known)}")
        limit = f"no two poses within {self._ground_truth.limit_s:g} s around them"
        if missing == self._frames:
            raise RecordingError(
                f"{self._name}: none of {missing} frames has a pose ({limit}): {known} have holes; "
                "raise max_pose_gap_s if they are accurate between"
            )
        where = [f"{self._outside} before the first or after the last pose"] * bool(self._outside)
        if self._holes:
            where.append(f"{len(self._holes)} have {limit} (first: {self._holes[0]:.3f} s)")
        _log.warning(
            "%s: %d of %d frames (%.1f s) are without a pose and left out: %s",
            self._name,
            missing,
            self._frames,
            self._missing_s,
            ", ".join(where),
        )


@dataclass(frozen=True)
class PosedTracks:
    """Tracks of a camera that are not triangulated yet."""

    camera: str
    tracks: Tracks
    """Their frames are numbered from first_frame on."""
    T_map_camera: FloatArray
    """(F, 4, 4) camera poses of those frames."""
    first_frame: int


class Reconstruction:
    """Gathers tracks frame by frame, then triangulates them."""

    def __init__(
        self, mounts: Mapping[str, CameraMount], settings: StructureSettings | None = None
    ) -> None:
        self._settings = settings or StructureSettings()
        self._mounts = mounts
        self._trackers = {name: FeatureTracker(self._settings.tracks) for name in mounts}
        self._cameras: list[str] = []
        self._T_map_camera: list[FloatArray] = []
        self._first_frame = 0
        self.tried = 0
        """Tracks that `points` was given."""
        self.accepted = 0
        """Points that it made of them."""

    @property
    def frame_count(self) -> int:
        """Frames so far."""
        return self._first_frame + len(self._T_map_camera)

    def add(self, posed: PosedFrame) -> int:
        """Track into a frame; returns its number in the structure."""
        number = self.frame_count
        camera = posed.frame.camera
        self._trackers[camera].add(posed.frame.image, number)
        self._cameras.append(camera)
        mount = self._mounts[camera]
        self._T_map_camera.append(poses.compose(posed.T_map_base, mount.T_base_camera))
        return number

    def take_ended(self) -> list[PosedTracks]:
        """Hand over the tracks that ended, and forget them: so a drive may be of any length."""
        taken = self._posed({name: one.take_ended() for name, one in self._trackers.items()})
        held = [tracker.first_frame for tracker in self._trackers.values()]
        first = min((frame for frame in held if frame is not None), default=self.frame_count)
        del self._T_map_camera[: first - self._first_frame]
        del self._cameras[: first - self._first_frame]
        self._first_frame = first
        return taken

    def tracks(self) -> list[PosedTracks]:
        """All tracks so far that were not taken."""
        return self._posed({name: tracker.tracks() for name, tracker in self._trackers.items()})

    def _posed(self, tracks: Mapping[str, Tracks]) -> list[PosedTracks]:
        T, first = np.array(self._T_map_camera).reshape(-1, 4, 4), self._first_frame
        return [
            PosedTracks(name, Tracks(part.track, part.frame - first, part.pixels), T, first)
            for name, part in tracks.items()
        ]

    def points(self, posed: list[PosedTracks]) -> StructurePoints:
        """Points of tracks that pass the triangulation's tests; may run in another thread."""
        points = _joined(
            [
                _triangulated(part, one, self._mounts[one.camera].camera, self._settings)
                for one in posed
                for part in _chunks(one.tracks)
            ]
        )
        self.tried += sum(len(one.tracks) for one in posed)
        self.accepted += len(points.points)
        return points

    def warn_of_failures(self, name: str) -> None:
        """Say so where nearly no track of the recording `name` became a point."""
        if self.accepted < _FEW_ACCEPTED * self.tried:
            _log.warning(
                "%s: only %d of %d tracks became points; check that the mounting and calibration "
                "of each camera (is its frame an optical one?) and the poses (their clock, frame "
                "and accuracy) belong to the images",
                name,
                self.accepted,
                self.tried,
            )

    def structure(self) -> Structure:
        """Points of all tracks that pass the triangulation's tests, if none was taken."""
        T_map_camera = np.array(self._T_map_camera).reshape(-1, 4, 4)
        points = self.points(self.tracks())
        return Structure(**vars(points), T_map_camera=T_map_camera, cameras=tuple(self._cameras))


def _chunks(tracks: Tracks) -> Iterator[Tracks]:
    starts = tracks.starts
    for first in range(0, len(tracks), CHUNK_TRACKS):
        last = min(first + CHUNK_TRACKS, len(tracks))
        part = slice(starts[first], starts[last])
        yield Tracks(tracks.track[part] - first, tracks.frame[part], tracks.pixels[part])


def _triangulated(
    tracks: Tracks, posed: PosedTracks, camera: Camera, settings: StructureSettings
) -> StructurePoints:
    rays, valid = camera.unproject(tracks.pixels)
    tracks, rays = _whole_tracks(tracks, rays[:, :2], valid)
    if len(tracks) == 0:
        return _joined([])
    T_camera_map = poses.invert(posed.T_map_camera)[tracks.frame]
    views = Views(tracks.track, T_camera_map, rays, focal_px(camera, tracks.pixels))
    result = triangulate(views, settings.triangulation, settings.tracks.min_views)
    return _accepted(tracks, views, result, posed.first_frame)


def _whole_tracks(
    tracks: Tracks, rays: FloatArray, valid: NDArray[np.bool_]
) -> tuple[Tracks, FloatArray]:
    """Without the tracks that leave the camera model's field of view."""
    broken = np.zeros(len(tracks), bool)
    broken[tracks.track[~valid]] = True
    kept = ~broken[tracks.track]
    numbers = np.cumsum(~broken) - 1
    whole = Tracks(numbers[tracks.track[kept]], tracks.frame[kept], tracks.pixels[kept])
    return whole, rays[kept]


def focal_px(camera: Camera, pixels: NDArray[np.float32]) -> FloatArray:
    """Pixels per unit of the ray's x and y at each pixel (M, 2), distortion included."""
    plain = np.broadcast_to(np.array([camera.fx, camera.fy]), pixels.shape)
    if not camera.is_distorted:
        return plain
    spread = np.zeros(pixels.shape)
    for axis in range(2):
        offset = np.eye(2)[axis] * 0.5
        low, high = (camera.unproject(pixels + sign * offset)[0] for sign in (-1.0, 1.0))
        spread[:, axis] = (high - low)[:, axis]
    usable = np.isfinite(spread) & (spread * plain > 0.0)
    return np.where(usable, 1.0 / np.where(usable, spread, 1.0), plain)


def _accepted(
    tracks: Tracks,
    views: Views,
    result: Triangulation,
    first_frame: int,
) -> StructurePoints:
    starts = views.starts
    sight = result.points[tracks.track] - views.centres
    ranges = np.linalg.norm(sight, axis=1)
    shortest, longest = range_bounds(ranges, result.agreeing, starts)
    units = np.where(result.agreeing[:, None], sight / ranges[:, None], 0.0)
    directions = np.add.reduceat(units, starts)
    chosen = np.flatnonzero(result.accepted)
    kept = result.agreeing & result.accepted[tracks.track]
    numbers = np.cumsum(result.accepted) - 1
    mean = directions[chosen]
    frames = tracks.frame[kept] + first_frame
    return StructurePoints(
        points=result.points[chosen],
        directions=mean / np.linalg.norm(mean, axis=1, keepdims=True),
        min_range=shortest[chosen],
        max_range=longest[chosen],
        error_px=result.median_error_px[chosen],
        observations=Tracks(numbers[tracks.track[kept]], frames, tracks.pixels[kept]),
    )


def _joined(parts: list[StructurePoints]) -> StructurePoints:
    none = np.zeros(0)
    return StructurePoints(
        points=np.concatenate([none.reshape(0, 3)] + [p.points for p in parts]),
        directions=np.concatenate([none.reshape(0, 3)] + [p.directions for p in parts]),
        min_range=np.concatenate([none] + [p.min_range for p in parts]),
        max_range=np.concatenate([none] + [p.max_range for p in parts]),
        error_px=np.concatenate([none] + [p.error_px for p in parts]),
        observations=merged([p.observations for p in parts]),
    )
