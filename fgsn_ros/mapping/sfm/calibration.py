"""Whether a calibration contradicts the images of a drive, and a better one that they tell.

Images tell a focal length by how the robot turns: along a straight way any will do, for what is
seen lies nearer or farther to the side.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.geometry.cameras import Camera, CameraMount
from fgsn_ros.mapping.sfm.adjustment import CalibrationTrust, Knowledge, Relations, adjust
from fgsn_ros.mapping.sfm.colmap_model import corrected_camera
from fgsn_ros.mapping.sfm.keyframes import KeyFrame, Session
from fgsn_ros.mapping.sfm.session_poses import AdjustmentSettings, Solution
from fgsn_ros.mapping.structure import focal_px

FloatArray = NDArray[np.float64]
OPEN = CalibrationTrust(focal=0.3, radial=0.3)
"""How sure a calibration is that may be rough."""
_STEPS = 20
_MEDIAN_OF_RADIUS = 1.18
"""Median length of an error whose both parts have a standard deviation of 1."""
_LEAST_SIGMA_PX = 0.05
LARGEST_CORRECTION = 0.05
"""Correction of a focal length, as a share, beyond which the calibration is said to be wrong."""
_CLEAR_GAIN = 50.0
"""Fall of the cost, in squared standard deviations, that makes a correction no chance."""


@dataclass(frozen=True, eq=False)
class Doubt:
    """What images say of calibrations when these are open."""

    calibration: FloatArray
    """(C, 2) corrections as `Adjusted` has them."""
    gain: float
    """How much the cost falls by them."""


def doubt(
    solution: Solution, relations: Relations, known: Knowledge, settings: AdjustmentSettings
) -> Doubt:
    """Adjust a solution once more, its calibration open, errors as small as they turned out."""
    known = dataclasses.replace(known, calibration=OPEN)
    errors = solution.error_px
    if len(errors) == 0:
        return Doubt(solution.calibration, 0.0)
    sigma = float(
        np.clip(np.median(errors) / _MEDIAN_OF_RADIUS, _LEAST_SIGMA_PX, settings.sigma_px)
    )
    found = adjust(
        solution.T_map_base,
        solution.structure.points,
        solution.structure.seen,
        relations,
        solution.calibration,
        known,
        sigma,
        _STEPS,
    )
    return Doubt(found.calibration, found.gain)


def contradiction(session: Session, found: Doubt) -> str:
    """What to say where the images clearly want another focal length; empty where they do not."""
    shares = np.expm1(found.calibration[:, 0])
    worst = int(np.abs(shares).argmax())
    if abs(shares[worst]) < LARGEST_CORRECTION or found.gain < _CLEAR_GAIN:
        return ""
    camera = _cameras(session)[worst]
    return (
        f"the calibration contradicts the images: a focal length of about "
        f"{camera.fx * (1.0 + shares[worst]):.0f} px, not {camera.fx:.0f}, fits them; "
        "calibrate again, or let --poses.refine-calibration find it"
    )


def _cameras(session: Session) -> list[Camera]:
    """Distinct calibrations in the order of `FeatureTable.of`."""
    return list(dict.fromkeys(session.cameras[frame.camera].camera for frame in session.frames))


def recalibrated(session: Session, calibration: FloatArray) -> Session:
    """A session whose cameras have the corrections (C, 2) of `Adjusted`."""
    rows = dict(zip(_cameras(session), calibration.tolist(), strict=True))
    mounts = {
        name: _corrected(mount, rows.get(mount.camera, [0.0, 0.0]))
        for name, mount in session.cameras.items()
    }
    frames = tuple(_seen_by(frame, mounts[frame.camera].camera) for frame in session.frames)
    return dataclasses.replace(session, cameras=mounts, frames=frames)


def _corrected(mount: CameraMount, row: list[float]) -> CameraMount:
    return dataclasses.replace(mount, camera=corrected_camera(mount.camera, *row))


def _seen_by(frame: KeyFrame, camera: Camera) -> KeyFrame:
    """A key frame with the rays of another calibration; features without one are left out."""
    rays, valid = camera.unproject(frame.pixels)
    pixels = frame.pixels[valid]
    # All of them stay on the disk; only a part is copied.
    descriptors = frame.descriptors if valid.all() else frame.descriptors[valid]
    return dataclasses.replace(
        frame,
        pixels=pixels,
        rays=rays[valid, :2],
        focal_px=np.array(focal_px(camera, pixels.astype(np.float32))),
        descriptors=descriptors,
    )
