"""The motion that a session's images see, against what odometry and the mountings say of it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.mapping.sfm.keyframes import Session
from fgsn_ros.mapping.sfm.session_poses import Neighbours

FloatArray = NDArray[np.float64]
_FEWEST_PAIRS = 0.2
"""Share of pairs of following key frames."""
_LARGEST_ANGLE_DEG = 25.0
_LEAST_STEP_M = 0.3
_LARGEST_TURN_DEG = 10.0
"""Pairs that move less or turn more say little about the direction of motion."""
_MANY = 10


@dataclass(frozen=True, eq=False)
class Directions:
    """Directions of motion from image to image, unit vectors in base_link."""

    camera: NDArray[np.str_]
    """(K,) name of the pair's camera."""
    seen: FloatArray
    """(K, 3) of the camera, as its images have it."""
    driven: FloatArray
    """(K, 3) as odometry has it."""

    def angles_deg(self) -> FloatArray:
        """(K,) between the two."""
        cosines = np.clip((self.seen * self.driven).sum(axis=1), -1.0, 1.0)
        return np.asarray(np.degrees(np.arccos(cosines)))


def check_motion(session: Session, neighbours: Neighbours) -> None:
    """Refuse a session whose images show nothing, or another motion than odometry says.

    Raises:
        RecordingError: names the likely cause.
    """
    following = (np.diff(neighbours.pairs, axis=1) == 1).ravel()
    verified = np.array([found is not None for found in neighbours.views])
    if not (verified & following).sum() > _FEWEST_PAIRS * max(following.sum(), 1):
        raise RecordingError(
            f"{session.name}: only {int((verified & following).sum())} of {int(following.sum())} "
            "pairs of following key frames share enough features; the images lack texture, are "
            "blurred or dark, or the odometry is of another drive"
        )
    angles = directions(session, neighbours).angles_deg()
    if len(angles) and float(np.median(angles)) > _LARGEST_ANGLE_DEG:
        raise RecordingError(
            f"{session.name}: the images move by {np.median(angles):.0f} deg (median) to the "
            "direction that odometry has; check the camera's mounting, and whether odometry is "
            "reversed"
        )


def directions(session: Session, neighbours: Neighbours) -> Directions:
    """Directions of motion of neighbouring key frames, where the drive is straight."""
    T_odom = session.T_odom_base
    cameras, seen, driven = [], [], []
    for (i, j), found in zip(neighbours.pairs.tolist(), neighbours.views, strict=True):
        if found is None:
            continue
        name = session.frames[i].camera
        mount = session.cameras[name].T_base_camera
        T = poses.compose(T_odom[[i, j]], mount)
        apart = poses.compose(poses.invert(T[0]), T[1])
        moved = float(np.linalg.norm(apart[:3, 3]))
        turned = float(np.degrees(poses.rotation_angle(apart)))
        if moved > _LEAST_STEP_M and turned < _LARGEST_TURN_DEG:
            cameras.append(name)
            seen.append(mount[:3, :3] @ found.direction)
            driven.append(mount[:3, :3] @ apart[:3, 3] / moved)
    rows = np.array([seen, driven]).reshape(2, -1, 3)
    return Directions(np.array(cameras, np.str_), rows[0], rows[1])


def mounting_errors_deg(session: Session, neighbours: Neighbours) -> Mapping[str, FloatArray]:
    """How far each camera's mounting is turned wrongly, by what its images see of the motion.

    Returns:
        (2,) of each camera with enough pairs, medians: yaw and pitch [deg] by which the mounting
        is to be turned, about base_link's z and y. Roll does not show.
    """
    found = directions(session, neighbours)
    error = np.stack(
        [
            _azimuth(found.driven) - _azimuth(found.seen),
            _elevation(found.seen) - _elevation(found.driven),
        ],
        axis=1,
    )
    error = np.degrees(poses.wrap_angle(error))
    return {
        name: np.median(error[found.camera == name], axis=0)
        for name in session.cameras
        if (found.camera == name).sum() >= _MANY
    }


def _azimuth(directions: FloatArray) -> FloatArray:
    return np.asarray(np.arctan2(directions[:, 1], directions[:, 0]))


def _elevation(directions: FloatArray) -> FloatArray:
    return np.asarray(np.arcsin(np.clip(directions[:, 2], -1.0, 1.0)))
