"""Pinhole cameras with the distortion models of sensor_msgs/CameraInfo.

Formulas: OpenCV's `projectPoints` (plumb_bob, rational_polynomial) and `fisheye` (equidistant;
Kannala and Brandt, PAMI 2006). Pixel (0, 0) is the centre of the top-left pixel.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fgsn_ros.errors import CameraError

Array = NDArray[np.float64]
Polynomial = np.polynomial.Polynomial

COEFFICIENT_COUNTS = {"plumb_bob": 5, "rational_polynomial": 8, "equidistant": 4}
"""Distortion model to number of coefficients: k1 k2 p1 p2 k3 [k4 k5 k6], or k1 k2 k3 k4."""

T_BASE_OPTICAL = np.array(
    [[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
"""Optical axes (x right, y down, z forward) in body axes (x forward, y left, z up), REP-103."""

_TOLERANCE = 1e-9  # in normalised image coordinates
_NEWTON_STEPS = 12
_TABLE_SIZE = 2048
_VANISHING = 1e-15  # leading coefficients below it say nothing about an image
_WIDEST_RADIUS = 1e3  # tan of the widest angle looked up: 89.94 degrees


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
    """plumb_bob k1 k2 p1 p2 k3; rational_polynomial k1 k2 p1 p2 k3 k4 k5 k6; equidistant k1 k2 k3
    k4; missing ones are filled with 0."""

    def __post_init__(self) -> None:
        count = COEFFICIENT_COUNTS.get(self.distortion_model)
        if count is None:
            raise CameraError(
                f"unknown distortion model '{self.distortion_model}'; "
                f"known: {', '.join(COEFFICIENT_COUNTS)}"
            )
        if self.width <= 0 or self.height <= 0:
            raise CameraError(f"camera size {self.width} x {self.height} is not positive")
        if not (np.isfinite([self.fx, self.fy, self.cx, self.cy]).all() and self.fx * self.fy > 0):
            raise CameraError("the camera matrix is empty or not finite; calibrate the camera")
        coefficients = tuple(float(c) for c in self.distortion)
        if any(coefficients[count:]) or not np.isfinite(coefficients).all():
            raise CameraError(
                f"{self.distortion_model} takes {count} finite coefficients, not {coefficients}"
            )
        padding = (0.0,) * (count - len(coefficients))
        object.__setattr__(self, "distortion", coefficients[:count] + padding)

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

        Raises:
            CameraError: the model is unknown, or the camera is not calibrated.
        """
        if len(k) != 9 or k[1] != 0.0:
            raise CameraError("k of a CameraInfo takes 9 numbers, with no skew")
        if distortion_model == "" and not any(d):
            distortion_model = "plumb_bob"
        fx, fy, cx, cy = (float(k[i]) for i in (0, 4, 2, 5))
        size = int(width), int(height)
        return cls(*size, fx, fy, cx, cy, distortion_model, tuple(float(c) for c in d))

    @property
    def matrix(self) -> Array:
        """K (3, 3)."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def is_distorted(self) -> bool:
        """Whether pixels differ from those of the pinhole model."""
        return self.distortion_model == "equidistant" or any(self.distortion)

    @cached_property
    def largest_radius(self) -> float:
        """Radius |x, y| / z up to which the radial distortion is monotone; infinite for most."""
        if self.distortion_model == "equidistant":
            k = self.distortion
            slope = Polynomial([1.0, 3 * k[0], 5 * k[1], 7 * k[2], 9 * k[3]])  # in theta^2
            theta = np.sqrt(_first_positive_root(slope))
            return float(np.tan(theta)) if theta < np.pi / 2 else np.inf
        numerator, denominator = self._radial_polynomials
        square = Polynomial([0.0, 1.0])
        cross = numerator.deriv() * denominator - numerator * denominator.deriv()
        slope = numerator * denominator + 2.0 * square * cross
        limit = min(_first_positive_root(slope), _first_positive_root(denominator))
        return float(np.sqrt(limit))

    def project(self, points_camera: ArrayLike) -> tuple[Array, NDArray[np.bool_]]:
        """Pixels (..., 2) = (u, v) of points (..., 3) [m, optical frame] and their validity (...).

        Valid: in front of the camera, within `largest_radius`, inside the image. Others are NaN.
        """
        points = np.asarray(points_camera, np.float64)
        z = points[..., 2]
        in_front = (z > 0.0) & (z < np.inf)
        with np.errstate(over="ignore", invalid="ignore"):
            xy = points[..., :2] / np.where(in_front, z, np.nan)[..., None]
            pixels = self._distort(xy) * (self.fx, self.fy) + (self.cx, self.cy)
            inside = np.hypot(xy[..., 0], xy[..., 1]) < self.largest_radius
            valid = in_front & inside & self._in_image(pixels)
        return np.where(valid[..., None], pixels, np.nan), valid

    def unproject(self, pixels: ArrayLike) -> tuple[Array, NDArray[np.bool_]]:
        """Rays (..., 3) with z = 1 of pixels (..., 2) = (u, v) and their validity (...).

        Valid: the model has a ray within `largest_radius` for the pixel. Others are NaN. Pixels
        may lie outside the image.
        """
        distorted = (np.asarray(pixels, np.float64) - (self.cx, self.cy)) / (self.fx, self.fy)
        with np.errstate(all="ignore"):
            xy = self._undistort(distorted) if self.is_distorted else distorted
            error = np.abs(self._distort(xy) - distorted).max(axis=-1)
            valid = (error < _TOLERANCE) & (np.hypot(xy[..., 0], xy[..., 1]) < self.largest_radius)
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
        )

    def _in_image(self, pixels: Array) -> NDArray[np.bool_]:
        u, v = pixels[..., 0], pixels[..., 1]
        inside: NDArray[np.bool_] = (
            (u >= -0.5) & (u < self.width - 0.5) & (v >= -0.5) & (v < self.height - 0.5)
        )
        return inside

    @property
    def _radial_polynomials(self) -> tuple[Polynomial, Polynomial]:
        """Numerator and denominator of the radial factor, in the squared radius."""
        k1, k2, _, _, k3, *rational = self.distortion
        return Polynomial([1.0, k1, k2, k3]), Polynomial([1.0, *(rational or [0.0])])

    @property
    def _tangential(self) -> tuple[float, float]:
        if self.distortion_model == "equidistant":
            return 0.0, 0.0
        return self.distortion[2], self.distortion[3]

    def _radial(self, square: Array) -> tuple[Array, Array]:
        """Radial factor and its derivative, at the squared radius."""
        if self.distortion_model == "equidistant":
            return _equidistant_factor(square, self.distortion)
        numerator, denominator = self._radial_polynomials
        n, d = numerator(square), denominator(square)
        slope = (numerator.deriv()(square) * d - n * denominator.deriv()(square)) / (d * d)
        return n / d, slope

    def _distort(self, xy: Array) -> Array:
        if not self.is_distorted:
            return xy
        x, y = xy[..., 0], xy[..., 1]
        p1, p2 = self._tangential
        square = x * x + y * y
        factor, _ = self._radial(square)
        return np.stack(
            [
                x * factor + 2 * p1 * x * y + p2 * (square + 2 * x * x),
                y * factor + p1 * (square + 2 * y * y) + 2 * p2 * x * y,
            ],
            axis=-1,
        )

    def _undistort(self, distorted: Array) -> Array:
        """Newton's method on `_distort`, from the inverse of its radial part."""
        radius, radial = self._radius_table
        length = np.hypot(distorted[..., 0], distorted[..., 1])
        start = np.interp(length, radial, radius)
        scale = np.where(length > 0.0, start / np.where(length > 0.0, length, 1.0), 1.0)
        xy = distorted * scale[..., None]
        for _ in range(_NEWTON_STEPS):
            error = self._distort(xy) - distorted
            xy = xy - self._newton_step(xy, error)
            if not np.any(np.abs(error) > 1e-3 * _TOLERANCE):
                break
        return xy

    def _newton_step(self, xy: Array, error: Array) -> Array:
        x, y = xy[..., 0], xy[..., 1]
        p1, p2 = self._tangential
        factor, slope = self._radial(x * x + y * y)
        xx = factor + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
        yy = factor + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x
        xy_mixed = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y  # the Jacobian is symmetric
        determinant = xx * yy - xy_mixed * xy_mixed
        along_x = yy * error[..., 0] - xy_mixed * error[..., 1]
        along_y = xx * error[..., 1] - xy_mixed * error[..., 0]
        return np.stack([along_x, along_y], axis=-1) / determinant[..., None]

    @cached_property
    def _radius_table(self) -> tuple[Array, Array]:
        """Radii up to the widest, evenly spaced in angle, and their distorted radii."""
        widest = np.arctan(min(self.largest_radius, _WIDEST_RADIUS))
        radius = np.tan(np.linspace(0.0, widest, _TABLE_SIZE))
        factor, _ = self._radial(radius * radius)
        return radius, radius * factor


@dataclass(frozen=True)
class CameraMount:
    """A camera and where it sits on the robot."""

    camera: Camera
    T_base_camera: Array
    """(4, 4), the camera's optical frame (z forward, y down) in base_link [m]"""
    frame_id: str
    """name of the optical frame"""


def _equidistant_factor(square: Array, k: tuple[float, ...]) -> tuple[Array, Array]:
    """theta_d / r and its derivative by r^2, with theta = atan(r)."""
    near = square < 1e-8
    radius = np.sqrt(np.where(near, 1.0, square))
    theta = np.arctan(radius)
    polynomial = Polynomial([0.0, 1.0, 0.0, k[0], 0.0, k[1], 0.0, k[2], 0.0, k[3]])
    distorted = polynomial(theta)
    slope = (polynomial.deriv()(theta) * radius / (1 + radius**2) - distorted) / (2 * radius**3)
    at_zero = k[0] - 1 / 3
    return (
        np.where(near, 1.0 + at_zero * square, distorted / radius),
        np.where(near, at_zero, slope),
    )


def _first_positive_root(polynomial: Polynomial) -> float:
    roots = polynomial.trim(_VANISHING).roots()
    real = roots.real[np.abs(roots.imag) < 1e-9 * np.maximum(np.abs(roots), 1.0)]
    positive = real[real > 0.0]
    return float(positive.min()) if len(positive) else np.inf
