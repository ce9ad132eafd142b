"""GPS fixes and inertial measurements from messages: sensor_msgs/NavSatFix and Imu."""

import math

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.messages.types import Message

FloatArray = NDArray[np.float64]

_NO_FIX = -1
_UNKNOWN = 0
_LARGEST_M = 1e5
"""No altitude of a robot is larger, no standard deviation of use."""
_NOT_GIVEN = -1.0
_QUATERNION_TOLERANCE = 0.05


def fix_fault(fix: Message) -> str:
    """Why a NavSatFix is no position, in words; empty where it is one."""
    if fix.status.status <= _NO_FIX:
        return "without a fix"
    if not (math.isfinite(fix.latitude) and math.isfinite(fix.longitude)):
        return "not finite"
    if abs(fix.latitude) > 90.0 or abs(fix.longitude) > 360.0:
        return "not on the earth"
    return ""


def fix_row(fix: Message) -> list[float]:
    """Latitude, longitude [deg], altitude [m] and covariance east-north-up (9) [m^2] of a position.

    An altitude or covariance that the message does not give is NaN.
    """
    altitude = fix.altitude if abs(fix.altitude) <= _LARGEST_M else math.nan
    covariance = [float(value) for value in fix.position_covariance]
    if fix.position_covariance_type == _UNKNOWN or not _is_covariance(covariance):
        covariance = [math.nan] * 9
    return [fix.latitude, fix.longitude, altitude, *covariance]


def _is_covariance(values: list[float]) -> bool:
    """Whether 9 numbers are one: finite, symmetric, positive definite, and no absurd one."""
    matrix = np.array(values).reshape(3, 3)
    if not np.isfinite(matrix).all() or np.abs(matrix).max() > _LARGEST_M**2:
        return False
    if not np.allclose(matrix, matrix.T, rtol=1e-3, atol=1e-9):
        return False
    return bool(np.linalg.eigvalsh(matrix)[0] > 0.0)


def imu_fault(imu: Message) -> str:
    """Why an Imu tells nothing of what is up, in words; empty where it does."""
    numbers: list[float] = []
    if imu.orientation_covariance[0] != _NOT_GIVEN:
        numbers += _quaternion(imu)
    if imu.linear_acceleration_covariance[0] != _NOT_GIVEN:
        numbers += _force(imu)
    if not numbers:
        return "without orientation and acceleration"
    return "" if all(map(math.isfinite, numbers)) else "not finite"


def imu_row(imu: Message) -> list[float]:
    """Orientation x y z w, its standard deviation of roll and pitch [rad], specific force [m/s^2].

    REP 145: the orientation is that of the sensor in a frame whose z points up; the specific force
    of a level sensor at rest is (0, 0, 9.81). What the message does not give is NaN.
    """
    q_xyzw, sigma, force = _quaternion(imu), math.nan, _force(imu)
    known = imu.orientation_covariance[0] != _NOT_GIVEN
    if not known or abs(math.hypot(*q_xyzw) - 1.0) > _QUATERNION_TOLERANCE:
        q_xyzw = [math.nan] * 4
    else:
        variance = max(imu.orientation_covariance[0], imu.orientation_covariance[4])
        sigma = math.sqrt(variance) if 0.0 < variance < math.pi**2 else math.nan
    if imu.linear_acceleration_covariance[0] == _NOT_GIVEN:
        force = [math.nan] * 3
    return [*q_xyzw, sigma, *force]


def _quaternion(imu: Message) -> list[float]:
    q = imu.orientation
    return [q.x, q.y, q.z, q.w]


def _force(imu: Message) -> list[float]:
    force = imu.linear_acceleration
    return [force.x, force.y, force.z]
