"""Write simulated drives as rosbag2."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fgsn_ros.messages.poses import make_transform
from fgsn_ros.messages.types import BAG_TYPES
from fgsn_ros.recordings.recording import Frame
from fgsn_ros.recordings.rosbag_writer import BASE_FRAME, ODOM_FRAME, RecordingWriter, Storage
from fgsn_ros.simulation.drive import CAMERA, SimulatedDrive


def write_drive(
    drive: SimulatedDrive,
    path: Path,
    storage: Storage = "mcap",
    with_classes: bool = False,
    with_depth: bool = False,
    overwrite: bool = False,
) -> None:
    """Render a drive into a rosbag2: images, camera_info, odometry, ground truth, TF.

    Args:
        drive: The drive.
        path: Folder of the bag.
        storage: Storage plugin.
        with_classes: Write /camera/class too (mono8, ids of CLASS_NAMES).
        with_depth: Write /camera/depth too (32FC1, m).
        overwrite: Replace a folder that is already there.

    Raises:
        OutputError: the bag exists or cannot be written.
    """
    with RecordingWriter(path, storage, overwrite) as writer:
        writer.add_camera(CAMERA, drive.cameras[CAMERA])
        stamps = drive.ground_truth.stamps
        frame_of = {float(stamp): index for index, stamp in enumerate(drive.frame_stamps)}
        pairs = zip(stamps, drive.odometry.poses, drive.ground_truth.poses, strict=True)
        with tqdm(total=len(frame_of), desc=drive.name, unit="frame") as progress:
            for stamp, T_odom_base, T_map_base in pairs:
                writer.write_odometry(float(stamp), np.asarray(T_odom_base))
                _write_transform(writer, float(stamp), np.asarray(T_odom_base))
                writer.write_ground_truth(float(stamp), np.asarray(T_map_base))
                if float(stamp) in frame_of:
                    layers = with_classes, with_depth
                    _write_frame(writer, drive, frame_of[float(stamp)], float(stamp), layers)
                    progress.update()


def _write_transform(writer: RecordingWriter, stamp: float, T: NDArray[np.float64]) -> None:
    """The odometry on /tf too, as robots have it."""
    transform = make_transform(BAG_TYPES, stamp, ODOM_FRAME, BASE_FRAME, T)
    writer.write_transforms(stamp, transform)


def _write_frame(
    writer: RecordingWriter,
    drive: SimulatedDrive,
    index: int,
    stamp: float,
    layers: tuple[bool, bool],
) -> None:
    rendered = drive.render(index)
    writer.write_image(Frame(stamp, CAMERA, rendered.image))
    if layers[0]:
        writer.write_class(stamp, CAMERA, rendered.classes)
    if layers[1]:
        depth = np.where(np.isfinite(rendered.depth), rendered.depth, np.float32(np.nan))
        writer.write_depth(stamp, CAMERA, depth.astype(np.float32))
