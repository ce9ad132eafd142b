"""The messages of a drive, as they arrive, played to the online localizer."""

import numpy as np
from street import FOUND_LEAD

from fgsn_ros.localization.initial_pose import InitialPose
from fgsn_ros.localization.localizer import LocalizerSettings
from fgsn_ros.localization.measurement import MeasurementSettings
from fgsn_ros.localization.online import OnlineLocalizer
from fgsn_ros.localization.probing import ProbeSettings

FAST = LocalizerSettings(
    min_particles=400,
    max_particles=1200,
    measurement=MeasurementSettings(points=800),
    probe=ProbeSettings(found_lead=FOUND_LEAD),
)
COVARIANCE = np.diag(np.square([1.0, 1.0, 0.1, 0.01, 0.01, np.deg2rad(4.0)]))


def online_localizer(drive, mounting=None, settings=None):
    mounting = mounting or (lambda name, _: drive.mounts[name])
    return OnlineLocalizer(drive.semantic_map, drive.log_ratio, mounting, FAST, settings)


def home(drive, stamp=None):
    return InitialPose(drive.truth.at(drive.stamps[0]), COVARIANCE, stamp)


def messages(drive, seconds, odometry_delay=0.0, labels_delay=0.0, shift=0.0):
    """Odometry and labels in the order in which they arrive; `shift` moves all their stamps."""
    until = drive.stamps[0] + seconds
    queue = [
        (stamp + odometry_delay, 0, stamp + shift, T)
        for stamp, T in zip(drive.odometry.stamps, drive.odometry.poses, strict=True)
        if stamp <= until
    ]
    queue += [
        (stamp + labels_delay, 1, stamp + shift, labels)
        for stamp, labels in zip(drive.stamps, drive.label_maps, strict=True)
        if stamp <= until - 0.1
    ]
    return sorted(queue, key=lambda item: item[:2])


def play(online, queue):
    estimates = []
    for _, is_labels, stamp, content in queue:
        if is_labels:
            estimates += online.add_labels(stamp, "camera", content)
        else:
            estimates += online.add_odometry(stamp, content)
    return estimates


def errors(drive, estimates, shift=0.0):
    truth = drive.truth.at([e.stamp - shift for e in estimates])
    found = np.stack([e.T_map_base for e in estimates])
    return np.linalg.norm(found[:, :2, 3] - truth[:, :2, 3], axis=1)
