"""A recording fed to the localizer in the order in which a robot would have seen it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgsn_ros.errors import LocalizationError
from fgsn_ros.localization.localizer import Estimate, Localizer
from fgsn_ros.segmentation.labels import LabelMap
from fgsn_ros.sequences.recording import Frame, Recording, require_odometry


@dataclass(frozen=True)
class Step:
    """One frame of a replay, after the localizer has weighed it."""

    frame: Frame
    label_map: LabelMap
    T_odom_base: NDArray[np.float64]
    """(4, 4), odometry at the frame's stamp."""
    estimate: Estimate


def replay(
    recording: Recording,
    segment: Callable[[NDArray[np.uint8]], LabelMap],
    localizer: Localizer,
    initialize: Callable[[float], None],
) -> Iterator[Step]:
    """Feed odometry and labelled frames to a localizer; yields every frame that it weighs.

    Frames that the odometry does not cover are skipped. `initialize(stamp)` is called once, at the
    first frame. Each frame is weighed once odometry has reached its stamp.

    Raises:
        LocalizationError: no frame could be weighed.
    """
    odometry = require_odometry(recording)
    fed, started, weighed = 0, False, 0
    for frame in recording.frames():
        if not odometry.covers(frame.stamp):
            continue
        if not started:
            initialize(frame.stamp)
            started = True
        reached = int(np.searchsorted(odometry.stamps, frame.stamp)) + 1
        for index in range(fed, reached):
            localizer.add_odometry(float(odometry.stamps[index]), odometry.poses[index])
        fed = max(fed, reached)
        label_map = segment(frame.image)
        estimate = localizer.add_labels(frame.stamp, frame.camera, label_map)
        if estimate is not None:
            weighed += 1
            yield Step(frame, label_map, odometry.at(frame.stamp), estimate)
    if weighed == 0:
        raise LocalizationError(
            f"no frame of {recording.name} was localized: {'' if started else 'its odometry and '}"
            "its frames do not overlap in time, or the map is elsewhere"
        )
