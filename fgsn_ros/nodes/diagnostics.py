"""What the nodes say of themselves: statuses on /diagnostics, and warnings in their logs."""

from collections import Counter, defaultdict

from diagnostic_msgs.msg import DiagnosticStatus
from diagnostic_updater import DiagnosticStatusWrapper, Updater
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.node import Node

from fgsn_ros.localization.localizer import Estimate
from fgsn_ros.localization.online import OnlineLocalizer
from fgsn_ros.nodes.image_stream import ImageStatistics

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
PERIOD_S = 5.0
"""What is of one kind is said once in this time [s]."""
DROPPED = "dropped for a newer one"
FAULTS = {
    "no_camera_info": "no camera_info yet",
    "size_mismatch": "image size differs from camera_info",
    "damaged": "damaged images",
    "failed": "failed inference",
}
"""Reason for skipping an image to the words for it."""


class ThrottledLog:
    """A node's warnings and errors, throttled by kind.

    rclpy throttles by logger and calling line: so each kind has a logger, a child of the node's.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._loggers: dict[str, RcutilsLogger] = {}

    def warning(self, kind: str, text: str) -> None:
        """Say a warning in one line, unless one of its kind was said a moment ago."""
        self._of(kind).warning(" ".join(text.split()), throttle_duration_sec=PERIOD_S)

    def error(self, kind: str, text: str) -> None:
        """Say an error likewise."""
        self._of(kind).error(" ".join(text.split()), throttle_duration_sec=PERIOD_S)

    def _of(self, kind: str) -> RcutilsLogger:
        return self._loggers.setdefault(kind, self._node.get_logger().get_child(kind))


class SegmentationDiagnostics:
    """Two statuses: `images` (what comes in) and `labels` (what goes out).

    images warns before the first image, when the newest one is old, and when images were skipped
    for one of `FAULTS` since the last report.
    """

    def __init__(self, node: Node, statistics: ImageStatistics, stale_after_s: float) -> None:
        self.stale_after_s = stale_after_s
        self.unlabelled_share = 0.0
        self._clock = node.get_clock()
        self._statistics = statistics
        self._reported: Counter[str] = Counter()
        updater = Updater(node)
        updater.setHardwareID(node.get_namespace())  # tells the cameras apart
        updater.add("images", self._images)
        updater.add("labels", self._labels)

    def _images(self, status: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
        now = self._clock.now().nanoseconds * 1e-9
        age, counts = self._statistics.age(now), Counter(self._statistics.counts)
        problems = [_age_problem(age, self.stale_after_s)]
        new = counts - self._reported
        problems += [f"{words}: {new[reason]}" for reason, words in FAULTS.items() if new[reason]]
        self._reported = counts
        _summarize(status, [problem for problem in problems if problem], "images arrive")
        status.add("rate [Hz]", f"{self._statistics.rate(now):.2f}")
        status.add("age [s]", "" if age is None else f"{age:.3f}")
        status.add("received", str(counts["received"]))
        status.add(DROPPED, str(counts["dropped"]))
        for reason, words in FAULTS.items():
            status.add(words, str(counts[reason]))
        return status

    def _labels(self, status: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
        published = self._statistics.counts["published"]
        _summarize(status, [], "labels are published" if published else "no labels yet")
        status.add("published", str(published))
        status.add("overlays", str(self._statistics.counts["overlays"]))
        for step, seconds in self._statistics.median_times().items():
            status.add(f"{step} time, median [ms]", f"{1e3 * seconds:.2f}")
        status.add("unlabelled share", f"{self.unlabelled_share:.4f}")
        return status


def _age_problem(age: float | None, stale_after_s: float) -> str:
    if age is None:
        return "no image yet"
    return f"the newest image is {age:.1f} s old" if age > stale_after_s else ""


def _summarize(status: DiagnosticStatusWrapper, problems: list[str], well: str) -> None:
    level = DiagnosticStatus.WARN if problems else DiagnosticStatus.OK
    status.summary(level, "; ".join(problems) or well)


class LocalizationDiagnostics:
    """Two statuses: `localization` (how good the pose is) and `inputs` (what it comes from).

    localization is an error while the pose is lost or there is none; inputs warns of old labels or
    odometry and of transforms that were missing since the last report.
    """

    def __init__(self, node: Node, cameras: tuple[str, ...], stale_after_s: float) -> None:
        self.stale_after_s = stale_after_s
        self._cameras = cameras
        self._clock = node.get_clock()
        self._online: OnlineLocalizer | None = None
        self._updater = Updater(node)
        self._updater.setHardwareID("none")
        self._updater.add("localization", self._localization)
        self._updater.add("inputs", self._inputs)

    def attach(self, online: OnlineLocalizer, failures: Counter[str]) -> None:
        """Tell of these from now on; failures are lookups of transforms, by the frames' names."""
        self.labels = {name: ImageStatistics() for name in self._cameras}
        """Label images of each camera."""
        self.estimate: Estimate | None = None
        """The newest one."""
        self.refusal = ""
        """Why labels are not used at all."""
        self._online = online
        self._failures = failures
        self._reported: Counter[str] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._estimates = self._estimates_reported = 0

    def detach(self) -> None:
        """Nothing is configured."""
        self._online = None

    def add(self, estimate: Estimate) -> None:
        """Note an estimate."""
        self.estimate = estimate
        self._estimates += 1

    def _localization(self, status: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
        online = self._online
        if online is None:
            status.summary(WARN, "not configured")
            return status
        tracking, estimate = online.tracking, self.estimate
        status.summary(*self._verdict(online))
        status.add("lost", str(tracking.lost))
        status.add("quality", "" if tracking.quality is None else f"{tracking.quality:.3f}")
        if estimate is not None:
            spread = (estimate.covariance[0, 0] + estimate.covariance[1, 1]) ** 0.5
            status.add("position std [m]", f"{spread:.3f}")
            status.add("visible points", str(estimate.visible_points))
            status.add("effective sample size", f"{estimate.effective_sample_size:.0f}")
            status.add("unlabelled share", f"{estimate.unlabelled_share:.4f}")
        for step, milliseconds in self._times_ms(online).items():
            status.add(f"{step} time, mean [ms]", f"{milliseconds:.2f}")
        return status

    def _verdict(self, online: OnlineLocalizer) -> tuple[bytes, str]:
        """Level and words for how good the pose is."""
        if self.refusal:
            return ERROR, self.refusal
        if online.T_map_odom is None:
            return ERROR, "no pose: give an initial pose, and check odometry"
        if online.tracking.lost:
            return ERROR, "lost: the labels do not fit the pose; give an initial pose"
        if online.tracking.quality is None:
            return WARN, "no labels were weighed yet"
        return OK, "tracking"

    def _times_ms(self, online: OnlineLocalizer) -> dict[str, float]:
        """Mean time of each step an estimate, since the last report."""
        count = self._estimates - self._estimates_reported
        self._estimates_reported = self._estimates
        seconds = dict(online.seconds)
        if count == 0:
            return {}
        spent = {step: 1e3 * (seconds[step] - self._seconds[step]) / count for step in seconds}
        self._seconds = defaultdict(float, seconds)
        return {**spent, "update": sum(spent.values())}

    def _inputs(self, status: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
        online = self._online
        if online is None:
            status.summary(WARN, "not configured")
            return status
        now = self._clock.now().nanoseconds * 1e-9
        problems = []
        for name, statistics in self.labels.items():
            age = statistics.age(now)
            problems += _stale(f"labels of {name}", age, self.stale_after_s)
            status.add(f"{name}: label rate [Hz]", f"{statistics.rate(now):.2f}")
            status.add(f"{name}: label age [s]", "" if age is None else f"{age:.3f}")
        span = online.odometry_span
        age = None if span is None else now - span[1]
        problems += _stale("odometry", age, self.stale_after_s)
        status.add("odometry age [s]", "" if age is None else f"{age:.3f}")
        failures = Counter(self._failures)
        problems += [f"{frames}: {n}" for frames, n in (failures - self._reported).items()]
        self._reported = failures
        for name, count in {"late labels": 0, **online.counts, **failures}.items():
            status.add(name, str(count))
        status.summary(WARN if problems else OK, "; ".join(problems) or "labels and odometry come")
        return status


def _stale(what: str, age: float | None, stale_after_s: float) -> list[str]:
    if age is None:
        return [f"no {what} yet"]
    return [f"{what}: {age:.1f} s old"] if age > stale_after_s else []
