"""Lens distortion: the models of sensor_msgs/CameraInfo, as OpenCV defines them.

`projectPoints` (plumb_bob, rational_polynomial; with 12 or 14 coefficients also the thin prism and
the tilted sensor) and `fisheye` (equidistant; Kannala and Brandt, PAMI 2006). Points are normalised
image coordinates: x / z, y / z in the camera's frame.
"""

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import CameraError

Array = NDArray[np.float64]
Polynomial = np.polynomial.Polynomial

PLUMB_BOB, RATIONAL, EQUIDISTANT = "plumb_bob", "rational_polynomial", "equidistant"
COEFFICIENTS = "k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4 tau_x tau_y"
"""OpenCV's order. plumb_bob has the first 5, rational_polynomial the first 8 or all."""
TOLERANCE = 1e-9
"""Of undistorted points that count as found, in normalised image coordinates."""

_NAMES = {
    PLUMB_BOB: ("plumbbob", "radtan", "radialtangential", "brownconrady", "opencv"),
    RATIONAL: ("rationalpolynomial", "rational"),
    EQUIDISTANT: (
        "equidistant",
        "fisheye",
        "opencvfisheye",
        "equi",
        "kannalabrandt",
        "kannalabrandt4",
        "kannalabrandt8",  # ORB-SLAM counts fx, fy, cx, cy as well
        "kb4",
    ),
}
_COUNTS = {PLUMB_BOB: 5, RATIONAL: 8, EQUIDISTANT: 4}
_FULL = len(COEFFICIENTS.split())
_LARGEST = 1e6
_LEAST_COSINE = 0.1  # of a tilted sensor
_NEWTON_STEPS = 12
_TABLE_SIZE = 2048
_VANISHING = 1e-15  # leading coefficients below it say nothing about an image
_WIDEST_RADIUS = 1e3  # tan of the widest angle looked up: 89.94 degrees


def model_named(name: str) -> str | None:
    """The model that calibration tools and drivers call by a name, in any spelling; or None."""
    plain = re.sub("[^a-z0-9]", "", name.lower())
    return next((model for model, names in _NAMES.items() if plain in names), None)


@dataclass(frozen=True)
class Distortion:
    """How a lens moves points, by a model and as many coefficients as it needs.

    plumb_bob with more than 5 coefficients is rational_polynomial, as in OpenCV.

    Raises:
        CameraError: the model is unknown, or its coefficients are too many or absurd.
    """

    model: str
    """plumb_bob, rational_polynomial or equidistant"""
    coefficients: tuple[float, ...]
    """in the order of COEFFICIENTS, or k1 k2 k3 k4 of the equidistant model; missing ones are 0"""

    def __post_init__(self) -> None:
        if self.model not in _COUNTS:
            raise CameraError(
                f"unknown distortion model '{self.model:.40}'; known: {', '.join(_COUNTS)}"
            )
        k = tuple(float(c) for c in self.coefficients)
        most = _COUNTS[EQUIDISTANT] if self.model == EQUIDISTANT else _FULL
        if any(k[most:]):
            raise CameraError(f"{self.model} takes at most {most} coefficients, not {len(k)}")
        absurd = [c for c in k if not abs(c) <= _LARGEST]
        if absurd:
            raise CameraError(
                f"a distortion coefficient of {absurd[0]:g} is absurd; calibrate again"
            )
        model, count = self.model, _COUNTS[self.model]
        if model == PLUMB_BOB and any(k[count:]):
            model, count = RATIONAL, _COUNTS[RATIONAL]
        if any(k[count:]):
            count = _FULL
        object.__setattr__(self, "model", model)
        object.__setattr__(self, "coefficients", (k + (0.0,) * count)[:count])
        if self._tilt is not None and np.cos(k[12]) * np.cos(k[13]) < _LEAST_COSINE:
            raise CameraError(f"a sensor tilted by {k[12]:g} and {k[13]:g} rad is absurd")

    @property
    def is_none(self) -> bool:
        """Whether points stay where the pinhole model has them."""
        return self.model != EQUIDISTANT and not any(self.coefficients)

    @cached_property
    def largest_radius(self) -> float:
        """Radius |x, y| up to which the radial distortion is monotone; infinite for most."""
        if self.model == EQUIDISTANT:
            k = self.coefficients
            slope = Polynomial([1.0, 3 * k[0], 5 * k[1], 7 * k[2], 9 * k[3]])  # in theta^2
            theta = np.sqrt(_first_positive_root(slope))
            return float(np.tan(theta)) if theta < np.pi / 2 else np.inf
        numerator, denominator = self._radial_polynomials
        square = Polynomial([0.0, 1.0])
        cross = numerator.deriv() * denominator - numerator * denominator.deriv()
        slope = numerator * denominator + 2.0 * square * cross
        limit = min(_first_positive_root(slope), _first_positive_root(denominator))
        return float(np.sqrt(limit))

    def distort(self, xy: Array) -> Array:
        """Where the lens moves points (..., 2)."""
        if self.is_none:
            return xy
        lens = self._through_lens(xy)
        return lens if self._tilt is None else _mapped(self._tilt, lens)

    def undistort(self, distorted: Array) -> Array:
        """Points (..., 2) that `distort` moves to given ones: Newton's method.

        Where there are none, what comes out is not moved to the given ones within TOLERANCE.
        """
        if self.is_none:
            return distorted
        lens = (
            distorted
            if self._tilt is None
            else _mapped(np.asarray(np.linalg.inv(self._tilt), np.float64), distorted)
        )
        xy = self._radially_undistorted(lens)
        for _ in range(_NEWTON_STEPS):
            error = self._through_lens(xy) - lens
            xy = xy - self._newton_step(xy, error)
            if not np.any(np.abs(error) > 1e-3 * TOLERANCE):
                break
        return xy

    @property
    def _tangential(self) -> tuple[float, float]:
        if self.model == EQUIDISTANT:
            return 0.0, 0.0
        return self.coefficients[2], self.coefficients[3]

    @property
    def _prism(self) -> Array:
        """s1 s2 s3 s4, as [[s1, s2], [s3, s4]]."""
        k = self.coefficients
        return np.reshape(k[8:12], (2, 2)) if len(k) == _FULL else np.zeros((2, 2))

    @cached_property
    def _tilt(self) -> Array | None:
        """(3, 3) homography onto the tilted sensor; OpenCV's computeTiltProjectionMatrix."""
        if len(self.coefficients) < _FULL or not any(self.coefficients[12:]):
            return None
        (sx, sy), (cx, cy) = np.sin(self.coefficients[12:]), np.cos(self.coefficients[12:])
        about_x = np.array([[1.0, 0.0, 0.0], [0.0, cx, sx], [0.0, -sx, cx]])
        about_y = np.array([[cy, 0.0, -sy], [0.0, 1.0, 0.0], [sy, 0.0, cy]])
        R = about_y @ about_x
        along = np.array([[R[2, 2], 0.0, -R[0, 2]], [0.0, R[2, 2], -R[1, 2]], [0.0, 0.0, 1.0]])
        return np.asarray(along @ R)

    @property
    def _radial_polynomials(self) -> tuple[Polynomial, Polynomial]:
        """Numerator and denominator of the radial factor, in the squared radius."""
        k1, k2, _, _, k3, *more = self.coefficients
        return Polynomial([1.0, k1, k2, k3]), Polynomial([1.0, *(more[:3] or [0.0])])

    def _radial(self, square: Array) -> tuple[Array, Array]:
        """Radial factor and its derivative, at the squared radius."""
        if self.model == EQUIDISTANT:
            return _equidistant_factor(square, self.coefficients)
        numerator, denominator = self._radial_polynomials
        n, d = numerator(square), denominator(square)
        slope = (numerator.deriv()(square) * d - n * denominator.deriv()(square)) / (d * d)
        return n / d, slope

    def _through_lens(self, xy: Array) -> Array:
        """Points (..., 2) moved by all but the tilt of the sensor."""
        x, y = xy[..., 0], xy[..., 1]
        p1, p2 = self._tangential
        square = x * x + y * y
        factor, _ = self._radial(square)
        lens = np.stack(
            [
                x * factor + 2 * p1 * x * y + p2 * (square + 2 * x * x),
                y * factor + p1 * (square + 2 * y * y) + 2 * p2 * x * y,
            ],
            axis=-1,
        )
        if len(self.coefficients) == _FULL:
            lens += np.stack([square, square * square], axis=-1) @ self._prism.T
        return lens

    def _radially_undistorted(self, lens: Array) -> Array:
        """The inverse (..., 2) of the radial part alone, from a table."""
        radius, radial = self._radius_table
        length = np.hypot(lens[..., 0], lens[..., 1])
        start = np.interp(length, radial, radius)
        scale = np.where(length > 0.0, start / np.where(length > 0.0, length, 1.0), 1.0)
        return np.asarray(lens * scale[..., None])

    def _newton_step(self, xy: Array, error: Array) -> Array:
        x, y = xy[..., 0], xy[..., 1]
        p1, p2 = self._tangential
        square = x * x + y * y
        factor, slope = self._radial(square)
        mixed = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
        # The prism's derivative by x is prism_u x in the first row and prism_v x in the second.
        ones = np.stack([2.0 * np.ones_like(square), 4.0 * square], axis=-1)
        prism_u, prism_v = np.moveaxis(ones @ self._prism.T, -1, 0)
        xx = factor + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x + prism_u * x
        xy_, yx = mixed + prism_u * y, mixed + prism_v * x
        yy = factor + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x + prism_v * y
        determinant = xx * yy - xy_ * yx
        along_x = yy * error[..., 0] - xy_ * error[..., 1]
        along_y = xx * error[..., 1] - yx * error[..., 0]
        return np.asarray(np.stack([along_x, along_y], axis=-1) / determinant[..., None])

    @cached_property
    def _radius_table(self) -> tuple[Array, Array]:
        """Radii up to the widest, evenly spaced in angle, and their distorted radii."""
        widest = np.arctan(min(self.largest_radius, _WIDEST_RADIUS))
        radius = np.tan(np.linspace(0.0, widest, _TABLE_SIZE))
        factor, _ = self._radial(radius * radius)
        return radius, radius * factor


def _mapped(homography: Array, points: Array) -> Array:
    """Points (..., 2) under a homography (3, 3); NaN for those that it turns to behind."""
    moved = points @ homography[:, :2].T + homography[:, 2]
    in_front = moved[..., 2:] > 0.0
    return np.asarray(
        np.where(in_front, moved[..., :2] / np.where(in_front, moved[..., 2:], 1.0), np.nan)
    )


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
