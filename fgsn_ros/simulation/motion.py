"""How the vehicle drives: speed, wander, sway; and what its wheels say about it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.simulation.streets import LANE_WIDTH, Ground, Street

Array = NDArray[np.float64]
RATE_HZ = 50.0  # of odometry and ground truth


@dataclass(frozen=True)
class Route:
    """Where the vehicle is along and beside the street's centre line."""

    stamps: Array  # (N,) s
    station: Array  # (N,) m along the centre line, not wrapped
    lateral: Array  # (N,) m to the left of the centre line

    @staticmethod
    def drawn(
        duration_s: float,
        start_m: float,
        speed: tuple[float, float],
        wander_m: float,
        stops: bool,
        rng: np.random.Generator,
    ) -> "Route":
        """Draw a drive on the right-hand lane: slow changes of speed, at times a stop."""
        stamps = np.arange(round(duration_s * RATE_HZ) + 1) / RATE_HZ
        low, high = speed
        wave = _waves(stamps, np.array([23.0, 11.0, 7.0]), rng)
        velocity = (low + high) / 2 + (high - low) / 2 * np.clip(wave, -1.0, 1.0)
        if stops:
            velocity = velocity * _stops(stamps, rng)
        station = start_m + np.concatenate([[0.0], np.cumsum(velocity[:-1]) / RATE_HZ])
        wander = wander_m * np.clip(_waves(station, np.array([90.0, 41.0, 23.0]), rng), -1, 1)
        return Route(stamps, station, -LANE_WIDTH / 2 + wander)


def _waves(x: Array, periods: Array, rng: np.random.Generator) -> Array:
    """Sum of sines of about [-1, 1]."""
    phase = rng.uniform(0, 2 * np.pi, len(periods))
    amplitude = np.array([0.55, 0.35, 0.2])
    result: Array = np.sin(2 * np.pi * x[:, None] / periods + phase) @ amplitude
    return result


def _stops(stamps: Array, rng: np.random.Generator) -> Array:
    """Share of the speed (N,): falls to 0 for two seconds about every half minute."""
    share = np.ones(len(stamps))
    time = float(rng.uniform(15.0, 35.0))
    while time < stamps[-1]:
        away = np.abs(stamps - time) - 1.0  # standing for two seconds
        ramp = np.clip(away / 4.0, 0.0, 1.0)
        share *= ramp * ramp * (3 - 2 * ramp)
        time += float(rng.uniform(25.0, 45.0))
    return share


def ground_truth(
    route: Route, street: Street, ground: Ground, rng: np.random.Generator
) -> Trajectory:
    """T_map_base (50 Hz): on the ground, x forward, with some roll and pitch of the springs."""
    xy = street.at(route.station, route.lateral)
    ahead = street.at(route.station + 0.3, _lateral_at(route, 0.3))
    behind = street.at(route.station - 0.3, _lateral_at(route, -0.3))
    yaw = np.arctan2(*(ahead - behind).T[::-1])
    up = ground.normal(xy)
    c, s = np.cos(yaw), np.sin(yaw)
    pitch = np.arctan2(up[:, 0] * c + up[:, 1] * s, up[:, 2])
    roll = np.arctan2(up[:, 0] * s - up[:, 1] * c, up[:, 2])
    speed = np.gradient(route.station, route.stamps)
    braking = -np.gradient(speed, route.stamps)
    turning = speed * np.gradient(np.unwrap(yaw), route.stamps)
    sway = np.clip(speed / 5.0, 0.0, 1.0)
    periods = np.array([6.5, 3.1, 1.9])  # m: unevenness of the road
    pitch = pitch + 0.006 * braking + 0.004 * sway * _waves(route.station, periods, rng)
    roll = roll + 0.005 * turning + 0.004 * sway * _waves(route.station, 1.3 * periods, rng)
    z = ground.height(xy) + 0.006 * sway * _waves(route.station, 0.9 * periods, rng)
    xyz = np.concatenate([xy, z[:, None]], axis=1)
    return Trajectory(route.stamps, poses.from_xyz_rpy(xyz, np.stack([roll, pitch, yaw], axis=1)))


def _lateral_at(route: Route, offset_m: float) -> Array:
    """Lateral offset a little ahead; where the vehicle stands, its own."""
    order = np.concatenate([[True], np.diff(route.station) > 1e-6])
    ahead = route.station + offset_m
    return np.asarray(np.interp(ahead, route.station[order], route.lateral[order]))


@dataclass(frozen=True)
class WheelErrors:
    """Errors of one drive's wheel odometry."""

    scale: float  # share of distance
    yaw_drift: float  # rad/m
    yaw_scale: float  # share of turning
    slip: float  # share of distance lost while speeding up or braking, per m/s^2
    noise: float  # m per sqrt(m), along and across; rad per sqrt(m) / 5 in heading

    @staticmethod
    def drawn(rng: np.random.Generator) -> "WheelErrors":
        """Draw errors that add up to a drift of 2 % of the distance or more."""
        sign = rng.choice([-1.0, 1.0], 3)
        return WheelErrors(
            scale=float(sign[0] * rng.uniform(0.022, 0.035)),
            yaw_drift=float(sign[1] * np.radians(rng.uniform(0.02, 0.05))),
            yaw_scale=float(sign[2] * rng.uniform(0.0, 0.02)),
            slip=float(rng.uniform(0.002, 0.006)),
            noise=float(rng.uniform(0.004, 0.008)),
        )


def wheel_odometry(truth: Trajectory, errors: WheelErrors, rng: np.random.Generator) -> Trajectory:
    """T_odom_base (planar, starts at the identity) that the wheels measure on the true path."""
    steps = poses.compose(poses.invert(truth.poses[:-1]), truth.poses[1:])
    distance = steps[:, 0, 3]
    turn = np.arctan2(steps[:, 1, 0], steps[:, 0, 0])
    interval = np.diff(truth.stamps)
    slip = errors.slip * np.abs(np.gradient(distance / interval)) / interval
    root = np.sqrt(np.abs(distance))
    noise = errors.noise * root * rng.normal(0, 1, (3, len(root)))
    measured = distance * (1 + errors.scale - np.minimum(slip, 0.05)) + noise[0]
    turned = turn * (1 + errors.yaw_scale) + errors.yaw_drift * distance + 0.2 * noise[2]
    yaw = np.concatenate([[0.0], np.cumsum(turned)])
    middle = yaw[:-1] + turned / 2
    x = np.cumsum(measured * np.cos(middle) - 0.3 * noise[1] * np.sin(middle))
    y = np.cumsum(measured * np.sin(middle) + 0.3 * noise[1] * np.cos(middle))
    planar = poses.from_planar(np.concatenate([[0.0], x]), np.concatenate([[0.0], y]), yaw)
    return Trajectory(truth.stamps, planar)
