"""Drives whose images show nothing: wheel odometry that drifts, GPS fixes, an IMU."""

import numpy as np

from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, Camera, CameraMount
from fgsn_ros.geometry.geodesy import geodetic
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.mapping.sfm.feature_graph import FeatureTracks, structure
from fgsn_ros.mapping.sfm.group_poses import Group, Trust, features_of
from fgsn_ros.mapping.sfm.joining import Drives
from fgsn_ros.mapping.sfm.keyframes import KeyFrame, Session
from fgsn_ros.mapping.sfm.session_poses import (
    AdjustmentSettings,
    Neighbours,
    OdometryTrust,
    Solution,
)
from fgsn_ros.mapping.triangulation import TriangulationSettings
from fgsn_ros.recordings.odometry import OdometryNoise, derive_odometry
from fgsn_ros.recordings.sensors import GpsFixes, InertialData

ORIGIN = np.array([48.5, 9.0, 400.0])
START = 1_700_000_000.0
ANTENNA = np.array([-0.5, 0.3, 1.2])
MOUNT = CameraMount(Camera(64, 40, 50.0, 50.0, 31.5, 19.5), T_BASE_OPTICAL, "camera")
TRUST = Trust(OdometryTrust(), AdjustmentSettings())


def loop(length_m=300.0, heading=0.7, at=(0.0, 0.0)):
    """T_enu_base, a metre and a second from each to the next, on a closed level way."""
    count = int(length_m)
    angle = 2.0 * np.pi * np.arange(count) / count
    yaw = heading + angle
    radius = length_m / (2.0 * np.pi)
    x, y = (radius * (np.sin(yaw) - np.sin(heading)), radius * (np.cos(heading) - np.cos(yaw)))
    return Trajectory(START + np.arange(count), poses.from_planar(x + at[0], y + at[1], yaw))


def on_slope(trajectory, slope_deg):
    """The way on a plane that rises to the east."""
    T = poses.from_xyz_rpy([0.0, 0.0, 0.0], [0.0, -np.radians(slope_deg), 0.0])
    return trajectory.with_poses(poses.compose(T, trajectory.poses))


def session_of(truth, name="drive", seed=1, noise=None):
    """A session whose key frames, one at each pose, have a feature that no other shows."""
    rng = np.random.default_rng(seed)
    odometry = derive_odometry(truth, noise or OdometryNoise(), rng)
    one, none = np.zeros((1, 2)), np.zeros((1, 128), np.uint8)
    frames = tuple(
        KeyFrame(float(stamp), "camera", T, one, one, one + 50.0, none)
        for stamp, T in zip(odometry.stamps, odometry.poses, strict=True)
    )
    cameras = {"camera": MOUNT}
    return Session(name, cameras, odometry, frames, truth.stamps, len(frames))


def fixes_of(truth, sigma_m=1.0, seed=3, antenna=ANTENNA, known=True):
    """A fix a second, with independent errors and their covariance."""
    rng = np.random.default_rng(seed)
    local = poses.transform(truth.poses, np.broadcast_to(antenna, (len(truth), 3)))
    local = local + sigma_m * rng.normal(size=local.shape)
    covariance = np.full((len(truth), 3, 3), np.nan)
    if known:
        covariance[:] = max(sigma_m, 1e-3) ** 2 * np.eye(3)
    return GpsFixes(truth.stamps.copy(), geodetic(local, ORIGIN), covariance, antenna)


def imu_of(truth, rate_hz=20.0, R_base_imu=None, oriented=False, noise=0.0, seed=4):
    """An IMU on the way of a level world whose odometry is exact."""
    R_base_imu = np.eye(3) if R_base_imu is None else R_base_imu
    stamps = np.arange(truth.stamps[0], truth.stamps[-1], 1.0 / rate_hz)
    T, step = truth.at(stamps), min(0.5, (truth.stamps[-1] - truth.stamps[0]) / 4.0)
    inside = np.clip(stamps, truth.stamps[0] + step, truth.stamps[-1] - step)
    place = [truth.at(inside + k * step)[:, :3, 3] for k in (-1.0, 0.0, 1.0)]
    force = (place[0] - 2.0 * place[1] + place[2]) / step**2 + [0.0, 0.0, 9.81]
    R = T[:, :3, :3] @ R_base_imu
    in_imu = np.einsum("nji,nj->ni", R, force)
    in_imu += noise * np.random.default_rng(seed).normal(size=in_imu.shape)
    q = poses.to_quaternion(poses.from_rotation_translation(R, np.zeros(3)))[1]
    unknown = np.full(len(stamps), np.nan)
    return InertialData(
        stamps, q if oriented else np.full((len(stamps), 4), np.nan), unknown, in_imu, R_base_imu
    )


def blind_solution(session):
    """What odometry alone says of a session, in its own frame, and no points."""
    table, none = features_of([session]), np.zeros(0, np.int64)
    found = structure(
        table,
        FeatureTracks(none, none),
        session.T_odom_base,
        np.zeros((1, 2)),
        TriangulationSettings(),
        3,
    )
    T = poses.compose(poses.invert(session.T_odom_base[0]), session.T_odom_base)
    return Solution(T, np.zeros((1, 2)), found, np.zeros(0))


def drives_of(sessions):
    return Drives(sessions, [blind_solution(one) for one in sessions], features_of(sessions))


def group_of(drives, priors, members=(0,)):
    nothing = Neighbours(np.zeros((0, 2), np.int64), ())
    everyone = [nothing] * len(drives.sessions)
    return Group(drives, everyone, priors, members, [], TRUST)
