"""NavSatFix and Imu messages."""

import numpy as np

from fgsn_ros.messages.types import BAG_TYPES, make_header

FORCE = (0.1, 0.2, 9.8)


def fix(stamp, frame="gps", status=0, place=(48.5, 9.0, 400.0), covariance=(4.0, 4.0, 9.0), kind=2):
    make = BAG_TYPES.make
    return make(
        "sensor_msgs/msg/NavSatFix",
        header=make_header(BAG_TYPES, stamp, frame),
        status=make("sensor_msgs/msg/NavSatStatus", status=status, service=1),
        latitude=place[0],
        longitude=place[1],
        altitude=place[2],
        position_covariance=np.diag(covariance).ravel(),
        position_covariance_type=kind,
    )


def imu(stamp, frame="imu", q_xyzw=(0.0, 0.0, 0.0, 1.0), known=0.01, force=FORCE):
    make = BAG_TYPES.make
    zero = make("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0)
    x, y, z, w = q_xyzw
    covariance = np.zeros(9)
    covariance[[0, 4, 8]] = known
    return make(
        "sensor_msgs/msg/Imu",
        header=make_header(BAG_TYPES, stamp, frame),
        orientation=make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w),
        orientation_covariance=covariance,
        angular_velocity=zero,
        angular_velocity_covariance=np.zeros(9),
        linear_acceleration=make(
            "geometry_msgs/msg/Vector3", **dict(zip("xyz", force, strict=True))
        ),
        linear_acceleration_covariance=np.zeros(9),
    )
