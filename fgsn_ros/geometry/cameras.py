"""Pinhole cameras with the distortion models of sensor_msgs/CameraInfo, and how they are mounted.

Pixel (0, 0) is the centre of the top-left pixel.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fgsn_ros.errors import CameraError
from fgsn_ros.geometry.distortion import PLUMB_BOB, TOLERANCE, Distortion, model_named

Array = NDArray[np.float64]

T_BASE_OPTICAL = np.array(
    [[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
"""Optical axes (x right, y down, z forward) in body axes (x forward, y left, z up), REP-103."""

_STEEPEST_DEG = 65.0
"""Elevation of an optical axis beyond which it is no camera's that is to see streets."""
_log = logging.getLogger(__name__)
_LARGEST_SIZE = 65_535  # pixels, JPEG's limit
_FOCAL_SHARES = 1e-3, 1e4  # of the image's size, wide enough for a crop of a telephoto's image


@dataclass(frozen=True)
class Camera:
    """A calibrated camera.

    Raises:
        CameraError: the size, the matrix or the distortion cannot be used.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion_model: str = "plumb_bob"
    distortion: tuple[float, ...] = ()
    """plumb_bob k1 k2 p1 p2 k3; rational_polynomial k1 k2 p1 p2 k3 k4 k5 k6, or with s1 s2 s3 s4
    tau_x tau_y; equidistant k1 k2 k3 k4; missing ones are filled with 0"""

    skew: float = 0.0
    """what v / fy adds to u [px], K[0, 1]: not zero in some calibrations of fisheyes"""

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0:
            raise CameraError(f"camera size {self.width} x {self.height} is not positive")
        if max(self.width, self.height) > _LARGEST_SIZE:
            raise CameraError(f"no camera has an image side of more than {_LARGEST_SIZE} pixels")
        self._check_matrix()
        object.__setattr__(self, "distortion_model", self._lens.model)
        object.__setattr__(self, "distortion", self._lens.coefficients)

    def _check_matrix(self) -> None:
        numbers = self.fx, self.fy, self.cx, self.cy, self.skew
        if not (np.isfinite(numbers).all() and self.fx > 0.0 and self.fy > 0.0):
            raise CameraError("the camera matrix is empty or not finite; calibrate the camera")
        least, most = _FOCAL_SHARES
        shares = self.fx / self.width, self.fy / self.height
        if not (least < min(shares) and max(shares) < most and abs(self.skew) < self.fx):
            raise CameraError(
                f"focal lengths of {self.fx:g} and {self.fy:g} and a skew of {self.skew:g} pixels "
                f"are absurd for an image of {self.width} x {self.height}; calibrate the camera"
            )
        if abs(self.cx) > most * self.width or abs(self.cy) > most * self.height:
            raise CameraError(f"a principal point at {self.cx:g}, {self.cy:g} is absurd")

    @classmethod
    def from_camera_info(
        cls,
        width: int,
        height: int,
        distortion_model: str,
        d: Sequence[float],
        k: Sequence[float],
    ) -> "Camera":
        """Camera of a CameraInfo's fields; k is the 3x3 matrix, row by row.

        Where d is empty or all zero there is no distortion, whatever the model's name: so
        image_geometry reads it, also of equidistant.

        Raises:
            CameraError: the model is unknown, or the camera is not calibrated.
        """
        if len(k) != 9:
            raise CameraError(f"k of a CameraInfo takes 9 numbers, not {len(k)}")
        model = model_named(distortion_model) or distortion_model
        if not any(d):
            model, d = PLUMB_BOB, ()
        fx, skew, cx, fy, cy = (float(k[i]) for i in (0, 1, 2, 4, 5))
        size = int(width), int(height)
        return cls(*size, fx, fy, cx, cy, model, tuple(float(c) for c in d), skew)

    @property
    def matrix(self) -> Array:
        """K (3, 3)."""
        return np.array([[self.fx, self.skew, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @cached_property
    def _lens(self) -> Distortion:
        return Distortion(self.distortion_model, self.distortion)

    @property
    def is_distorted(self) -> bool:
        """Whether pixels differ from those of the pinhole model."""
        return not self._lens.is_none

    @property
    def largest_radius(self) -> float:
        """Radius |x, y| / z up to which the radial distortion is monotone; infinite for most."""
        return self._lens.largest_radius

    def project(self, points_camera: ArrayLike) -> tuple[Array, NDArray[np.bool_]]:
        """Pixels (..., 2) = (u, v) of points (..., 3) [m, optical frame] and their validity (...).

        Valid: in front of the camera, within `largest_radius`, inside the image. Others are NaN.
        """
        points = np.asarray(points_camera, np.float64)
        z = points[..., 2]
        in_front = (z > 0.0) & (z < np.inf)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            xy = points[..., :2] / np.where(in_front, z, np.nan)[..., None]
            moved = self._lens.distort(xy)
            pixels = moved * (self.fx, self.fy) + (self.cx, self.cy)
            if self.skew != 0.0:
                pixels[..., 0] += self.skew * moved[..., 1]
            inside = np.hypot(xy[..., 0], xy[..., 1]) < self.largest_radius
            valid = in_front & inside & self._in_image(pixels)
        return np.where(valid[..., None], pixels, np.nan), valid

    def unproject(self, pixels: ArrayLike) -> tuple[Array, NDArray[np.bool_]]:
        """Rays (..., 3) with z = 1 of pixels (..., 2) = (u, v) and their validity (...).

        Valid: the model has a ray within `largest_radius` for the pixel. Others are NaN. Pixels
        may lie outside the image.
        """
        with np.errstate(all="ignore"):
            v = (np.asarray(pixels, np.float64)[..., 1] - self.cy) / self.fy
            u = (np.asarray(pixels, np.float64)[..., 0] - self.cx - self.skew * v) / self.fx
            distorted = np.stack([u, v], axis=-1)
            xy = self._lens.undistort(distorted)
            error = np.abs(self._lens.distort(xy) - distorted).max(axis=-1)
            valid = (error < TOLERANCE) & (np.hypot(xy[..., 0], xy[..., 1]) < self.largest_radius)
        rays = np.concatenate([xy, np.ones((*xy.shape[:-1], 1))], axis=-1)
        return np.where(valid[..., None], rays, np.nan), valid

    def at_stride(self, stride: int) -> "Camera":
        """Camera of a label grid whose cell (i, j) covers `stride` x `stride` pixels from there.

        Raises:
            CameraError: the stride is not positive.
        """
        if stride < 1:
            raise CameraError(f"a stride must be positive, not {stride}")
        size = -(-self.width // stride), -(-self.height // stride)
        return self._resized(size, 1.0 / stride, 1.0 / stride)

    def scaled(self, width: int, height: int) -> "Camera":
        """Camera of the whole image resized to width x height pixels."""
        return self._resized((width, height), width / self.width, height / self.height)

    def cropped(self, left: int, top: int, width: int, height: int) -> "Camera":
        """Camera of a part of the image, from pixel (left, top) on.

        Raises:
            CameraError: the part leaves the image.
        """
        if left + width > self.width or top + height > self.height:
            raise CameraError(
                f"the region of interest, {width} x {height} pixels from {left}, {top} on, leaves "
                f"the sensor of {self.width} x {self.height} pixels"
            )
        return dataclasses.replace(
            self, width=int(width), height=int(height), cx=self.cx - left, cy=self.cy - top
        )

    def binned(self, across: int, down: int) -> "Camera":
        """Camera of an image whose pixels are `across` x `down` of this one's each.

        Raises:
            CameraError: no pixel is left.
        """
        size = self.width // across, self.height // down
        return self._resized(size, 1.0 / across, 1.0 / down)

    def undistorted(self) -> "Camera":
        """The pinhole camera with the same matrix and no distortion."""
        return dataclasses.replace(self, distortion_model="plumb_bob", distortion=())

    def _resized(self, size: tuple[int, int], along_u: float, along_v: float) -> "Camera":
        return dataclasses.replace(
            self,
            width=size[0],
            height=size[1],
            fx=self.fx * along_u,
            fy=self.fy * along_v,
            cx=(self.cx + 0.5) * along_u - 0.5,
            cy=(self.cy + 0.5) * along_v - 0.5,
            skew=self.skew * along_u,
        )

    def _in_image(self, pixels: Array) -> NDArray[np.bool_]:
        u, v = pixels[..., 0], pixels[..., 1]
        inside: NDArray[np.bool_] = (
            (u >= -0.5) & (u < self.width - 0.5) & (v >= -0.5) & (v < self.height - 0.5)
        )
        return inside


@dataclass(frozen=True)
class CameraMount:
    """A camera and where it sits on the robot."""

    camera: Camera
    T_base_camera: Array
    """(4, 4), the camera's optical frame (z forward, y down) in base_link [m]"""
    frame_id: str
    """name of the optical frame"""

    @property
    def doubt(self) -> str:
        """What looks wrong with the mounting, in words; empty where nothing does.

        A frame with body axes (x ahead, z up), which some drivers and simulators publish in the
        place of the optical one, has its optical axis, z, point at the sky.
        """
        up = float(self.T_base_camera[2, 2])
        if abs(up) < np.sin(np.radians(_STEEPEST_DEG)):
            return ""
        at, steep = "sky" if up > 0.0 else "ground", np.degrees(np.arcsin(min(abs(up), 1.0)))
        return (
            f"the optical axis of {self.frame_id} points at the {at} ({steep:.0f} deg); is it no "
            "optical frame (z ahead, x right, y down)?"
        )


def warn_of_mounts(mounts: Mapping[str, CameraMount]) -> None:
    """Say which cameras by name look wrongly mounted."""
    for name, mount in mounts.items():
        if mount.doubt:
            _log.warning("%s: %s", name, mount.doubt)
