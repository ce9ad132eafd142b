"""A simulated drive: how the vehicle moves, and a Recording whose frames are rendered on demand."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.config import require
from fgsn_ros.errors import RecordingError
from fgsn_ros.geometry import poses
from fgsn_ros.geometry.cameras import T_BASE_OPTICAL, Camera, CameraMount
from fgsn_ros.geometry.trajectory import Trajectory
from fgsn_ros.recordings.recording import RECORDED_ODOMETRY, Frame
from fgsn_ros.simulation.cars import MovingCar, moving_cars, parked_cars
from fgsn_ros.simulation.change import changed
from fgsn_ros.simulation.changed_town import bins, grown, repaint
from fgsn_ros.simulation.materials import SurfaceTable
from fgsn_ros.simulation.meshes import Mesh
from fgsn_ros.simulation.render import RenderedFrame, Renderer, Scene
from fgsn_ros.simulation.seasons import Conditions, Season, conditions
from fgsn_ros.simulation.streets import LANE_WIDTH, Ground, Street
from fgsn_ros.simulation.world import Town

Array = NDArray[np.float64]
CAMERA = "camera"
RATE_HZ = 50.0  # of odometry and ground truth
_BARE = (Season.WINTER,)  # seasons in which deciduous trees have no leaves


@dataclass(frozen=True)
class DriveSettings:
    """One drive through a town."""

    town_seed: int = 1
    """the town; the same seed is the same town in every season"""
    season: Season = Season.SUMMER
    """season or weather"""
    drive_seed: int = 1
    """weather, parked and moving cars, wander, odometry errors and noise of this drive"""
    duration_s: float = 60.0
    """[s], above 0"""
    start_m: float = 0.0
    """start along the main street [m]; it is a loop of 600 to 800 m"""
    min_speed: float = 5.0
    """[m/s], above 0"""
    max_speed: float = 10.0
    """[m/s], at least min_speed"""
    wander_m: float = 0.3
    """lateral wander about the middle of the lane [m], 0 to 1"""
    stops: bool = True
    """stand still for two seconds now and then"""
    rate_hz: float = 10.0
    """camera frames per second, a divisor of 50"""
    width: int = 640
    """image width [px]"""
    height: int = 480
    """image height [px]"""
    threads: int = 0
    """threads for rendering, 0 for all cores"""
    change: float = 0.0
    """how far looks change from drive to drive, 0 to 1: fine texture, paint, leaves, snow on walls,
    bins, motion blur, noise, drops; 0: surfaces keep their texture in every season"""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.town_seed >= 0, "town_seed must not be negative")
        require(self.drive_seed >= 0, "drive_seed must not be negative")
        require(self.duration_s > 0.0, "duration_s must be above 0")
        require(0.0 < self.min_speed <= self.max_speed, "0 < min_speed <= max_speed must hold")
        require(0.0 <= self.wander_m <= 1.0, "wander_m must be within 0 and 1")
        require(self.rate_hz > 0.0, "rate_hz must be above 0")
        require((RATE_HZ / self.rate_hz).is_integer(), "rate_hz must divide 50")
        require(min(self.width, self.height) >= 16, "width and height must be 16 or more")
        require(self.threads >= 0, "threads must not be negative")
        require(0.0 <= self.change <= 1.0, "change must be within 0 and 1")


def default_mount(width: int, height: int) -> CameraMount:
    """The vehicle's camera: 1.5 m above the road, 77 deg wide, mild plumb_bob distortion."""
    focal = 0.625 * width
    camera = Camera(
        width, height, focal, focal, 0.497 * width - 0.5, 0.505 * height - 0.5,
        "plumb_bob", (-0.12, 0.03, 0.0006, -0.0004, 0.0),
    )  # fmt: skip
    tilt = poses.from_xyz_rpy(np.array([0.4, 0.0, 1.5]), np.radians([0.0, 1.5, 0.0]))
    return CameraMount(camera, poses.compose(tilt, T_BASE_OPTICAL), "camera_optical_frame")


class SimulatedDrive:
    """A Recording of a drive that is rendered while it is read.

    The same settings give the same images and odometry to the bit, however often and in whatever
    order frames are asked for.
    """

    def __init__(self, settings: DriveSettings, town: Town | None = None) -> None:
        if town is not None and town.seed != settings.town_seed:
            raise RecordingError(f"the town has seed {town.seed}, not {settings.town_seed}")
        self.settings = settings
        self.town = town or Town.from_seed(settings.town_seed)
        season = list(Season).index(settings.season)
        rngs = [
            np.random.default_rng([settings.town_seed, settings.drive_seed, season, part])
            for part in range(5)
        ]
        drawn = conditions(settings.season, rngs[0])
        self.conditions: Conditions = changed(drawn, settings.season, settings.change, rngs[0])
        speed = (settings.min_speed, settings.max_speed)
        self.route = Route.drawn(
            settings.duration_s, settings.start_m, speed, settings.wander_m, settings.stops, rngs[1]
        )
        self._truth = ground_truth(self.route, self.town.street, self.town.ground, rngs[1])
        self.wheel_errors = WheelErrors.drawn(rngs[2])
        self._odometry = wheel_odometry(self._truth, self.wheel_errors, rngs[2])
        self._scene_seed = [settings.town_seed, settings.drive_seed, season]
        self._mount = default_mount(settings.width, settings.height)
        self._scene: tuple[Renderer, list[MovingCar]] | None = None

    @property
    def name(self) -> str:
        """Short name for reports."""
        s = self.settings
        return f"town{s.town_seed}_{s.season.value}_{s.drive_seed}"

    @property
    def cameras(self) -> Mapping[str, CameraMount]:
        """The one camera and its mounting."""
        return {CAMERA: self._mount}

    @property
    def odometry(self) -> Trajectory:
        """T_odom_base of the wheels, 50 Hz."""
        return self._odometry

    @property
    def odometry_origin(self) -> str:
        """The simulated wheels count as recorded."""
        return RECORDED_ODOMETRY

    @property
    def ground_truth(self) -> Trajectory:
        """T_map_base, 50 Hz, covers all frames."""
        return self._truth

    @property
    def frame_count(self) -> int:
        """Number of frames."""
        return len(self.frame_stamps)

    @property
    def frame_stamps(self) -> NDArray[np.float64]:
        """Stamps (F,) of the frames [s]."""
        return self._truth.stamps[:: round(RATE_HZ / self.settings.rate_hz)]

    def frames(self) -> Iterator[Frame]:
        """Render the frames one by one."""
        for index, stamp in enumerate(self.frame_stamps):
            yield Frame(float(stamp), CAMERA, self.render(index).image)

    def render(self, index: int) -> RenderedFrame:
        """Frame number `index` with its classes, depth and surfaces."""
        renderer, cars = self._renderer()
        stamp = float(self.frame_stamps[index])
        T_map_base = self._truth.at(stamp)
        T_map_camera = poses.compose(T_map_base, self._mount.T_base_camera)
        movers = [car.pose(self.town, stamp) for car in cars]
        noise = self.settings.drive_seed * 1_000_003 + index * 7919
        return renderer.render(T_map_base, T_map_camera, movers, noise, self._moved(stamp))

    def _moved(self, stamp: float) -> Array | None:
        """Camera (4, 4) at the end of the exposure about a stamp in that of its start."""
        half = self.conditions.shutter_s / 2
        if half == 0.0:
            return None
        first, last = self._truth.stamps[[0, -1]]
        ends = [self._truth.at(float(np.clip(stamp + t, first, last))) for t in (-half, half)]
        start, end = (poses.compose(T, self._mount.T_base_camera) for T in ends)
        return poses.compose(poses.invert(start), end)

    def T_map_camera(self, index: int) -> NDArray[np.float64]:
        """Camera pose (4, 4) of a frame."""
        T_map_base = self._truth.at(float(self.frame_stamps[index]))
        return poses.compose(T_map_base, self._mount.T_base_camera)

    def _renderer(self) -> tuple[Renderer, list[MovingCar]]:
        """The renderer, built when the first frame is asked for."""
        if self._scene is None:
            rng = np.random.default_rng([*self._scene_seed, 3])
            table: SurfaceTable = self.town.surfaces.copy()
            parts: list[Mesh] = [self.town.solid]
            if self.settings.season not in _BARE:
                parts.append(self.town.leaves)
            if self.conditions.aged > 0.0:
                parts = self._changed(parts, table)
            parts += parked_cars(self.town, table, rng)
            cars = moving_cars(self.town, table, self.settings.start_m, rng)
            scene = Scene(Mesh.joined(parts), [car.mesh for car in cars], table, self.town.lamps)
            renderer = Renderer(scene, self._mount.camera, self.conditions, self.settings.threads)
            self._scene = renderer, cars
        return self._scene

    def _changed(self, parts: list[Mesh], table: SurfaceTable) -> list[Mesh]:
        """The town as this drive finds it; its surfaces change in place."""
        rng = np.random.default_rng([*self._scene_seed, 5])
        change = self.conditions.aged
        repaint(table, change, rng)
        grew = [grown(part, table, change, rng) for part in parts]
        return grew + bins(self.town, table, change, rng)


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
