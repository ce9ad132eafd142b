"""Key frames of a recording: chosen by the odometry's motion, with their local features."""

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fgsn_ros.config import require
from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry.cameras import CameraMount, warn_of_mounts
from fgsn_ros.geometry.clocks import Span, apart
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.lookahead import read_ahead
from fgsn_ros.mapping.descriptors import (
    SIZES,
    TYPES,
    Bytes,
    FeatureSettings,
    Kind,
    feature_extractor,
)
from fgsn_ros.mapping.structure import MotionGate, focal_px
from fgsn_ros.recordings.recording import Frame, Recording, require_odometry

FloatArray = NDArray[np.float64]
_IMAGES_AHEAD = 4
_FEWEST = 3
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeyFrameSettings:
    """Which frames of a recording are key frames, and what is found in them."""

    spacing_m: float = 1.0
    """Least motion between two key frames of a camera [m]. > 0."""
    turn_deg: float = 5.0
    """Turn that makes a key frame before spacing_m is reached [deg]. > 0."""
    kind: Kind = "sift"
    """Local features: sift, or xfeat, which carries further across seasons and is less exact (extra
    xfeat)."""
    features: FeatureSettings = field(default_factory=FeatureSettings)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.spacing_m > 0.0, "spacing_m must be above 0")
        require(self.turn_deg > 0.0, "turn_deg must be above 0")


@dataclass(frozen=True, eq=False)
class KeyFrame:
    """An image, its local features and where odometry says that it was taken."""

    stamp: float
    """[s]."""
    camera: str
    T_odom_base: FloatArray
    """(4, 4)."""
    pixels: FloatArray
    """(M, 2) u, v [px]."""
    rays: FloatArray
    """(M, 2) x, y of the viewing rays at z = 1."""
    focal_px: FloatArray
    """(M, 2) pixels per unit of the rays' x and y."""
    descriptors: Bytes
    """(M, D), on the disk."""

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True, eq=False)
class Session:
    """The key frames of one recording."""

    name: str
    cameras: Mapping[str, CameraMount]
    odometry: Trajectory
    frames: tuple[KeyFrame, ...]
    """ordered by stamp."""
    stamps: FloatArray
    """(F,) distinct stamps of all frames that odometry covers [s], increasing."""
    frame_count: int
    """frames that were read."""
    kind: Kind = "sift"
    """of its local features."""

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def T_odom_base(self) -> FloatArray:
        """(N, 4, 4) dead-reckoned poses of the key frames."""
        return np.array([frame.T_odom_base for frame in self.frames]).reshape(-1, 4, 4)

    @property
    def path_m(self) -> FloatArray:
        """(N,) length of the dead-reckoned path up to each key frame [m]."""
        steps = np.linalg.norm(np.diff(self.T_odom_base[:, :3, 3], axis=0), axis=1)
        return np.concatenate([[0.0], np.cumsum(steps)])


def read_session(recording: Recording, settings: KeyFrameSettings) -> Session:
    """Read a recording's images and find the features of its key frames.

    Raises:
        RecordingError: it has no odometry, none during its images, or it stands still.
    """
    odometry = require_odometry(recording)
    warn_of_mounts(recording.cameras)
    extract = feature_extractor(settings.kind, settings.features)
    stamps: list[float] = []
    frames: list[KeyFrame] = []
    put_aside = _PutAside(settings.kind)
    for frame, passes in read_ahead(_gated(recording, odometry, settings, stamps), _IMAGES_AHEAD):
        if passes:
            found = extract(frame.image)
            camera = recording.cameras[frame.camera].camera
            rays, valid = camera.unproject(found.pixels)
            pixels, pose = found.pixels[valid], odometry.at(frame.stamp)
            focal = np.array(focal_px(camera, pixels))
            descriptors = put_aside.add(found.descriptors[valid])
            features = pixels.astype(np.float64), rays[valid, :2], focal, descriptors
            frames.append(KeyFrame(frame.stamp, frame.camera, pose, *features))
    _check(recording, odometry, frames, stamps)
    covered = np.unique([stamp for stamp in stamps if odometry.covers(stamp)])
    return Session(
        recording.name,
        recording.cameras,
        odometry,
        put_aside.with_descriptors(frames),
        covered,
        len(stamps),
        settings.kind,
    )


class _PutAside:
    """Descriptors, most of what a key frame takes, in a file that goes when nobody reads it."""

    def __init__(self, kind: Kind) -> None:
        self._file = tempfile.TemporaryFile(prefix="fgsn_poses_")  # noqa: SIM115
        self._type, self._size = np.dtype(TYPES[kind]), SIZES[kind]

    def add(self, descriptors: Bytes) -> Bytes:
        """Write descriptors (M, D), and keep none of them."""
        self._file.write(np.ascontiguousarray(descriptors, self._type).tobytes())
        return np.zeros((0, self._size), self._type)

    def with_descriptors(self, frames: Sequence[KeyFrame]) -> tuple[KeyFrame, ...]:
        """The key frames in the order of writing, with what was written, as it lies on the disk."""
        ends = np.cumsum([len(frame) for frame in frames])
        self._file.flush()
        written = np.zeros((0, self._size), self._type)
        if ends[-1] > 0:
            # one for all: each mapping of a file holds it open
            written = np.memmap(self._file, self._type, "r", shape=(int(ends[-1]), self._size))
        self._file.close()
        parts = np.split(written, ends[:-1])
        return tuple(replace(f, descriptors=part) for f, part in zip(frames, parts, strict=True))


def _gated(
    recording: Recording, odometry: Trajectory, settings: KeyFrameSettings, stamps: list[float]
) -> Iterator[tuple[Frame, bool]]:
    """Frames, and whether each is a key frame; all stamps are put down."""
    gates = {name: MotionGate(settings.spacing_m, settings.turn_deg) for name in recording.cameras}
    bar = tqdm(recording.frames(), recording.name, recording.frame_count, unit="frame")
    for frame in bar:
        stamps.append(frame.stamp)
        if odometry.covers(frame.stamp):
            yield frame, gates[frame.camera].passes(odometry.at(frame.stamp))


def _check(
    recording: Recording, odometry: Trajectory, frames: list[KeyFrame], stamps: list[float]
) -> None:
    name, missing = recording.name, int((~odometry.covered(stamps)).sum()) if stamps else 0
    if not stamps:
        raise RecordingError(f"{name} holds no frame")
    if missing == len(stamps):
        spans = Span("the images", min(stamps), max(stamps)), Span.of("odometry", odometry.stamps)
        raise RecordingError(f"{name}: {apart(*spans)}")
    if missing:
        _log.warning(
            "%s: %d of %d frames are without odometry and get no pose", name, missing, len(stamps)
        )
    if len(frames) < _FEWEST:
        raise RecordingError(
            f"{name} stands still: its odometry moves by {odometry.length_m():.2f} m, which makes "
            f"{len(frames)} key frames; poses need at least {_FEWEST}"
        )
