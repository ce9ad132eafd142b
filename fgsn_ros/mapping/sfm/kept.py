"""Features and matches of recordings kept in a folder: a run that was stopped goes on from them.

    session-DIGEST.npz       key frames of a recording; DIGEST is of what they were made from
    session-DIGEST.npy       their descriptors
    matches-DIGEST-0007.npz  of the eighth part of a session's pairs

Recordings can be prepared one by one, by jobs of their own, and then joined by one that finds all
of it. Files appear whole, so that jobs may share a folder.
"""

import hashlib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry.cameras import CameraMount
from fgsn_ros.mapping.descriptors import SIZES, TYPES
from fgsn_ros.mapping.sfm.keyframes import KeyFrame, KeyFrameSettings, Session, read_session
from fgsn_ros.mapping.sfm.two_views import TwoViews, TwoViewSettings
from fgsn_ros.outputs import whole_file
from fgsn_ros.recordings.recording import Recording, require_odometry

FloatArray = NDArray[np.float64]
Indices = NDArray[np.int64]
Kept = TypeVar("Kept")
VERSION = 1
"""Of the files; others are made anew."""


class KeptWork:
    """The parts of a run that take long, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def session(self, recording: Recording, settings: KeyFrameSettings) -> Session:
        """The key frames of a recording with their features, read if they are kept.

        A recording is known by its cameras, odometry, number of frames and first image.

        Raises:
            RecordingError: as `read_session`; or a file that is kept is damaged.
        """
        made_from = _recording_digest(recording, settings)
        path = self._folder / f"session-{made_from}.npz"
        if not path.exists():
            session = read_session(recording, settings)
            self._write_session(path, session)
            return session
        return _checked(path, lambda: _session_from(path, recording, settings))

    def matches(
        self, session: Session, pairs: Sequence[tuple[int, int]], settings: TwoViewSettings
    ) -> "KeptMatches":
        """Those of a session's pairs."""
        pixels = (frame.pixels for frame in session.frames)
        made_from = settings, session.kind, _cameras(session.cameras), np.array(pairs, np.int64)
        return KeptMatches(self._folder, _digest(*made_from, *pixels))

    def _write_session(self, path: Path, session: Session) -> None:
        frames = session.frames
        with whole_file(path.with_suffix(".npy")) as temporary, temporary.open("wb") as file:
            none = np.zeros((0, SIZES[session.kind]), TYPES[session.kind])
            np.save(file, np.concatenate([none, *(frame.descriptors for frame in frames)]))
        with whole_file(path) as temporary:
            np.savez(
                temporary,
                counts=np.array([len(frame) for frame in frames], np.int64),
                frame_stamps=np.array([frame.stamp for frame in frames]),
                camera=np.array([list(session.cameras).index(f.camera) for f in frames], np.int64),
                pixels=np.concatenate([frame.pixels for frame in frames]),
                rays=np.concatenate([frame.rays for frame in frames]),
                focal_px=np.concatenate([frame.focal_px for frame in frames]),
                stamps=session.stamps,
                frame_count=np.array(session.frame_count),
            )


@dataclass(frozen=True)
class KeptMatches:
    """What the pairs of a session share, in parts."""

    folder: Path
    digest: str
    """Of what they were made from."""

    def part(
        self, number: int, count: int, match: Callable[[], list[TwoViews | None]]
    ) -> list[TwoViews | None]:
        """Those of the `count` pairs of one part, matched if they are not kept.

        Raises:
            RecordingError: the file that is kept is damaged.
        """
        path = self.folder / f"matches-{self.digest}-{number:04d}.npz"
        if not path.exists():
            found = match()
            self._write(path, found)
            return found
        return _checked(path, lambda: _views_from(path, count))

    def _write(self, path: Path, found: list[TwoViews | None]) -> None:
        known = [views for views in found if views is not None]
        none, nowhere = np.zeros(0, np.int64), np.zeros((0, 3))
        with whole_file(path) as temporary:
            np.savez(
                temporary,
                counts=np.array([-1 if views is None else len(views.first) for views in found]),
                first=np.concatenate([none, *(views.first for views in known)]),
                second=np.concatenate([none, *(views.second for views in known)]),
                rotations=np.array([views.R_first_second for views in known]).reshape(-1, 3, 3),
                directions=np.concatenate([nowhere, *(v.direction[None] for v in known)]),
            )


def _session_from(path: Path, recording: Recording, settings: KeyFrameSettings) -> Session:
    odometry, names = require_odometry(recording), list(recording.cameras)
    with np.load(path, allow_pickle=False) as kept:
        counts, stamps, cameras = kept["counts"], kept["frame_stamps"], kept["camera"]
        ends = np.cumsum(counts)[:-1]
        pixels, rays, focal = (np.split(kept[k], ends) for k in ("pixels", "rays", "focal_px"))
        descriptors = np.load(path.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
        if len(descriptors) != counts.sum():
            raise ValueError("numbers do not match")
        parts = np.split(descriptors, ends)
        frames = tuple(
            KeyFrame(float(stamp), names[camera], odometry.at(float(stamp)), *features)
            for stamp, camera, *features in zip(
                stamps, cameras, pixels, rays, focal, parts, strict=True
            )
        )
        covered, count = kept["stamps"], int(kept["frame_count"])
    cameras_of = recording.cameras
    return Session(recording.name, cameras_of, odometry, frames, covered, count, settings.kind)


def _views_from(path: Path, count: int) -> list[TwoViews | None]:
    with np.load(path, allow_pickle=False) as kept:
        counts, known = kept["counts"], kept["counts"] >= 0
        ends = np.cumsum(counts[known])[:-1]
        first, second = np.split(kept["first"], ends), np.split(kept["second"], ends)
        columns = first, second, kept["rotations"], kept["directions"]
        parts = [TwoViews(*row) for row in zip(*columns, strict=True)] if known.any() else []
    if len(counts) != count or len(parts) != known.sum():
        raise ValueError("numbers do not match")
    found = iter(parts)
    return [next(found) if there else None for there in known]


def _checked(path: Path, read: Callable[[], Kept]) -> Kept:
    try:
        return read()
    except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile) as error:
        raise RecordingError(f"{path} is damaged; remove it, and it is made anew") from error


def _recording_digest(recording: Recording, settings: KeyFrameSettings) -> str:
    odometry = require_odometry(recording)
    first = next(iter(recording.frames()), None)
    image = np.zeros(0, np.uint8) if first is None else first.image
    cameras, count = _cameras(recording.cameras), recording.frame_count
    return _digest(settings, cameras, count, odometry.stamps, odometry.poses, image)


def _cameras(cameras: Mapping[str, CameraMount]) -> str:
    return repr([(name, m.camera, m.T_base_camera.tolist()) for name, m in cameras.items()])


def _digest(*parts: object) -> str:
    found = hashlib.sha256(str(VERSION).encode())
    for part in parts:
        raw = isinstance(part, np.ndarray)
        found.update(np.ascontiguousarray(part).tobytes() if raw else repr(part).encode())
        found.update(b"\0")
    return found.hexdigest()[:16]
