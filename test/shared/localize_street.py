"""A few frames of the street localized, as a robot does; prints which of the given modules came."""

import sys

import numpy as np
import street

import fgsn_ros.localization.pipeline  # noqa: F401  # a replay, too, has to do without them
from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.measurement import MeasurementSettings
from fgsn_ros.localization.online import OnlineLocalizer


def main():
    rng = np.random.default_rng(0)
    truth = street.weaving_drive(1.0)
    settings = LocalizerSettings(
        device="cpu",
        min_particles=100,
        max_particles=100,
        measurement=MeasurementSettings(points=200),
    )
    online = OnlineLocalizer(
        street.street_map(rng, 60.0), street.log_ratio_table(), {"camera": street.MOUNT}, settings
    )
    online.initialize(InitialPose.around(truth.poses[0], std_m=0.3, std_yaw=0.02))
    for stamp, T_map_base in zip(truth.stamps, truth.poses, strict=True):
        online.add_odometry(float(stamp), T_map_base)
    for stamp in (0.1, 0.2):
        seen = street.label_map(truth.at(stamp), street.MOUNT, rng)
        (estimate,) = online.add_labels(stamp, "camera", seen)
        assert np.linalg.norm((estimate.T_map_base - truth.at(stamp))[:2, 3]) < 1.0
    print(*(name for name in sys.argv[1:] if name in sys.modules))


if __name__ == "__main__":
    main()
