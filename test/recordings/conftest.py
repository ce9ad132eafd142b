from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
from real_data import real_data

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, Camera, CameraMount
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.recordings.open import open_recording
from fgsn_ros.recordings.recording import Frame, RecordingSettings
from fgsn_ros.recordings.rosbag_writer import RecordingWriter, Storage

WIDTH, HEIGHT = 64, 40


def made_image(phase: float) -> np.ndarray:
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    channels = [128 + 100 * np.sin(u / 15 + phase + c) * np.cos(v / 11 - c) for c in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def mount(frame_id: str = "camera_optical_frame") -> CameraMount:
    camera = Camera(WIDTH, HEIGHT, 50.0, 51.0, 31.2, 19.4, "plumb_bob", (-0.1, 0.01, 1e-4, 2e-4))
    T_base_body = poses.from_xyz_rpy([1.2, 0.1, 1.5], [0.0, 0.1, 0.2])
    return CameraMount(camera, T_base_body @ T_BASE_OPTICAL, frame_id)


def curve(stamps: np.ndarray) -> Trajectory:
    t = stamps - stamps[0]
    return Trajectory(
        stamps, poses.from_planar(5.0 * np.sin(0.3 * t), 5.0 - 5.0 * np.cos(0.3 * t), 0.3 * t)
    )


@dataclass
class MadeDrive:
    """A drive of 2 s around a corner, in memory."""

    start: float = 1_700_000_000.25
    name: str = "made"
    cameras: dict[str, CameraMount] = field(default_factory=lambda: {"camera": mount()})
    odometry_origin: str = "recorded"
    frame_count: int = 8

    @property
    def stamps(self) -> np.ndarray:
        return self.start + 0.25 * np.arange(self.frame_count)

    @property
    def odometry(self) -> Trajectory:
        truth = curve(self.start + 0.05 * np.arange(41))
        return Trajectory(truth.stamps, poses.from_planar(1.0, 2.0, 0.5) @ truth.poses)

    @property
    def ground_truth(self) -> Trajectory:
        return curve(self.start + 0.05 * np.arange(41))

    def frames(self) -> Iterator[Frame]:
        for i, stamp in enumerate(self.stamps):
            for name in self.cameras:
                yield Frame(float(stamp), name, made_image(0.3 * i))


@pytest.fixture
def drive() -> MadeDrive:
    return MadeDrive()


@pytest.fixture
def smooth_image() -> Callable[[float], np.ndarray]:
    return made_image


@pytest.fixture
def kitti_poses() -> Callable[[np.ndarray], np.ndarray]:
    return made_kitti_poses


@pytest.fixture
def shared_data() -> Path:
    return real_data()


@pytest.fixture
def kitti_folder(tmp_path: Path) -> Path:
    """Frames 3 to 7 of a made KITTI sequence 42 with ten poses, in KITTI's own folders."""
    folder = tmp_path / "sequences/42"
    (folder / "image_0").mkdir(parents=True)
    for number in range(3, 8):
        cv2.imwrite(str(folder / f"image_0/{number:06d}.png"), made_image(number)[:, :, 0])
    P = np.hstack([[[50.0, 0, 31.2], [0, 50.0, 19.4], [0, 0, 1]], np.zeros((3, 1))])
    (folder / "calib.txt").write_text("P0: " + " ".join(f"{x:e}" for x in P.ravel()) + "\n")
    (folder / "times.txt").write_text("".join(f"{0.1 * i:e}\n" for i in range(10)))
    (tmp_path / "poses").mkdir()
    rows = made_kitti_poses(np.arange(10))[:, :3].reshape(10, 12)
    np.savetxt(tmp_path / "poses/42.txt", rows, fmt="%.6e")
    return folder


def made_kitti_poses(number: np.ndarray) -> np.ndarray:
    """T_world_camera of a drive ahead (z) that bends right (x) and climbs (-y)."""
    T = poses.from_xyz_rpy(np.zeros((len(number), 3)), np.zeros((len(number), 3)))
    T[:, 0, 3], T[:, 1, 3], T[:, 2, 3] = 0.01 * number**2, -0.05 * number, 1.0 * number
    angle = 0.02 * number
    T[:, 0, 0], T[:, 0, 2] = np.cos(angle), np.sin(angle)
    T[:, 2, 0], T[:, 2, 2] = -np.sin(angle), np.cos(angle)
    return T


class Edited(RecordingWriter):
    """Writes a drive with messages left out or changed."""

    def __init__(self, path: Path, edit) -> None:
        super().__init__(path)
        self.edit = edit

    def write(self, topic, stamp, message, latched=False) -> None:
        for item in self.edit(topic, stamp, message):
            super().write(topic, item[0], item[1], latched)


def write(entered: RecordingWriter, drive, jpeg_quality: int | None = 95) -> None:
    with entered as writer:
        for name, mount in drive.cameras.items():
            writer.add_camera(name, mount)
        for stamp, T in zip(drive.ground_truth.stamps, drive.ground_truth.poses, strict=True):
            writer.write_ground_truth(float(stamp), T)
        for stamp, T in zip(drive.odometry.stamps, drive.odometry.poses, strict=True):
            writer.write_odometry(float(stamp), T)
        for frame in drive.frames():
            writer.write_image(frame, jpeg_quality)


@pytest.fixture
def write_drive() -> Callable[..., Path]:
    """Writes a drive to a path."""

    def written(
        path: Path,
        drive,
        storage: Storage = "mcap",
        quality: int | None = 95,
        overwrite: bool = False,
    ) -> Path:
        write(RecordingWriter(path, storage, overwrite), drive, quality)
        return path

    return written


@pytest.fixture
def write_edited() -> Callable[..., Path]:
    """Writes a drive to a path, each message passed through an edit."""

    def written(path: Path, drive, edit) -> Path:
        write(Edited(path, edit), drive)
        return path

    return written


@pytest.fixture
def refused() -> Callable[..., str]:
    """The one line that opening or playing a recording is refused with."""

    def line(path: Path, settings: RecordingSettings | None = None) -> str:
        with pytest.raises(RecordingError) as error:
            list(open_recording(path, settings or RecordingSettings()).frames())
        assert "\n" not in str(error.value)
        return str(error.value)

    return line
