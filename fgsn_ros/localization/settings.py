"""Settings of the localizer."""

from dataclasses import dataclass, field
from typing import Literal

from fgsn_ros.config import require
from fgsn_ros.localization.device import DeviceName
from fgsn_ros.localization.measurement import MeasurementSettings
from fgsn_ros.localization.motion import MotionSettings
from fgsn_ros.localization.particle_filter import FilterSettings


@dataclass(frozen=True)
class LocalizerSettings:
    """Settings of the particle filter."""

    model: Literal["planar", "spatial"] = "planar"
    """planar: height, roll and pitch from the map's ground; spatial: all of SE(3) is estimated."""
    device: DeviceName = "cpu"
    """Where the particles are: cpu, cuda (an NVIDIA GPU), or auto: the GPU if there is one."""
    particles: int = 1000
    """Particles while tracking, >= 2."""
    initial_particles: int = 4000
    """Particles until the estimate has settled after an initial pose, >= particles."""
    settled_std_m: float = 0.5
    """The estimate has settled when x and y are known to this standard deviation [m], > 0."""
    motion: MotionSettings = field(default_factory=MotionSettings)
    """Noise of the odometry."""
    measurement: MeasurementSettings = field(default_factory=MeasurementSettings)
    """Weight of the labels."""
    filter: FilterSettings = field(default_factory=FilterSettings)
    """Resampling and layers."""
    odometry_memory_s: float = 10.0
    """Label maps may arrive this late [s], > 0."""
    max_speed_m_s: float = 70.0
    """Odometry faster than this is a reset [m/s], > 0."""
    random_seed: int = 0
    """Seed of every random number drawn, >= 0."""

    def __post_init__(self) -> None:
        require(self.model in ("planar", "spatial"), "model must be 'planar' or 'spatial'")
        require(self.device in ("cpu", "cuda", "auto"), "device must be 'cpu', 'cuda' or 'auto'")
        require(self.particles >= 2, "particles must be at least 2")
        require(self.initial_particles >= self.particles, "initial_particles must be >= particles")
        require(self.settled_std_m > 0.0, "settled_std_m must be above 0")
        require(self.odometry_memory_s > 0.0, "odometry_memory_s must be above 0")
        require(self.max_speed_m_s > 0.0, "max_speed_m_s must be above 0")
        require(self.random_seed >= 0, "random_seed must be at least 0")
