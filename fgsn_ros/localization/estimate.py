"""What the localizer says of the pose after a label map."""

from dataclasses import dataclass

from fgsn_ros.geometry.arrays import Array


@dataclass(frozen=True, eq=False)
class Estimate:
    """Pose after a label map, with what is needed to judge it."""

    stamp: float
    """Time of the pose [s]: the capture time of the newest label map so far."""
    labels_stamp: float
    """Capture time of this label map [s]: before `stamp` if it came late."""
    camera: str
    """Camera that it came from."""
    T_map_base: Array
    """(4, 4) mean of the particles."""
    covariance: Array
    """(6, 6) x y z roll pitch yaw in the map's axes [m, rad]."""
    effective_sample_size: float
    """Of the weights after the update, 1 to the number of particles."""
    layers: int
    """Layers that the likelihood was taken in: 1 while tracking, 0 where nothing was weighed."""
    selected_points: int
    """Map points that were expected in view."""
    visible_points: int
    """Of them, those on labelled cells at the estimate."""
    match_score: float
    """Their mean log-ratio [nat]: above 0 the labels speak for the estimate."""
    match_quality: float
    """The score from 0, as by chance, to 1, as expected of a right pose; see `Match.quality`."""
    unlabelled_share: float
    """Share of the label map's cells without a label."""
