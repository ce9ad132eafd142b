"""What the nodes say of themselves: statuses on /diagnostics, and warnings in their logs."""

from collections import Counter, defaultdict

from diagnostic_msgs.msg import DiagnosticStatus
from diagnostic_updater import DiagnosticStatusWrapper, Updater
from rclpy.clock import Clock, ClockType
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.node import Node

from fgsn_ros.errors import one_line
from fgsn_ros.localization.estimate import Estimate
from fgsn_ros.localization.online import OnlineLocalizer
from fgsn_ros.localization.tracking import TrackingStatus
from fgsn_ros.nodes.image_stream import ImageStatistics
from fgsn_ros.nodes.managed_node import ManagedNode

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
PERIOD_S = 5.0
"""What is of one kind is said once in this time [s]."""
DROPPED = "dropped for a newer one"
FAULTS = {
    "no_camera_info": "no camera_info yet",
    "uncalibrated": "images without a usable camera_info",
    "size_mismatch": "image size differs from camera_info",
    "damaged": "damaged images",
    "failed": "failed inference",
}
"""Reason for skipping an image to the words for it."""
NO_FAULTS = (
    "late labels",
    "time jumps",
    "labels without an initial pose",
    "labels with local features",
)
"""Counts of the localizer that are as they should be, or said elsewhere."""
DISAGREEMENT = 0.05
"""From this probability of another pose on it is told that the robot may be there."""
VERDICTS = {
    TrackingStatus.NO_POSE: (ERROR, "no pose: give an initial pose, and check odometry"),
    TrackingStatus.SEARCHING: (
        ERROR,
        "searching: the robot is looked for on the whole map; drive, or give an initial pose, and "
        "check odometry",
    ),
    TrackingStatus.NO_ODOMETRY: (ERROR, "no odometry: the pose is old"),
    TrackingStatus.LOST: (ERROR, "lost: the labels do not fit the pose; give an initial pose"),
    TrackingStatus.NO_LABELS: (WARN, "no labels: the pose follows odometry alone"),
    TrackingStatus.CONVERGING: (WARN, "converging: labels have not confirmed the pose yet"),
    TrackingStatus.TRACKING: (OK, "tracking"),
}


class ThrottledLog:
    """A node's warnings and errors, throttled by kind.

    rclpy throttles by logger and calling line: so each kind has a logger, a child of the node's.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._loggers: dict[str, RcutilsLogger] = {}

    def warning(self, kind: str, text: str) -> None:
        """Say a warning in one line, unless one of its kind was said a moment ago."""
        self._of(kind).warning(one_line(text), throttle_duration_sec=PERIOD_S)

    def error(self, kind: str, text: str) -> None:
        """Say an error likewise."""
        self._of(kind).error(one_line(text), throttle_duration_sec=PERIOD_S)

    def _of(self, kind: str) -> RcutilsLogger:
        return self._loggers.setdefault(kind, self._node.get_logger().get_child(kind))


class _NodeDiagnostics:
    """What the diagnostics of both nodes have in common: names, clocks, a node that is not active.

    Statuses are named by the node with its namespace, which is also their hardware id: so robots
    and cameras are told apart.
    """

    def __init__(self, node: ManagedNode, stale_after_s: float) -> None:
        self.stale_after_s = stale_after_s
        self._node = node
        self._reported: Counter[str] = Counter()
        self._updater = Updater(node)
        self._updater.node_name = node.get_fully_qualified_name().lstrip("/")
        self._updater.setHardwareID(node.get_namespace())
        self._updater.addedTaskCallback = lambda task: None  # which would say OK, of nobody
        # By the node's own clock, which may be a simulated one that stands still, nothing would
        # be said then.
        node.destroy_timer(self._updater.timer)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        period = self._updater.period
        self._updater.timer = node.create_timer(period, self._updater.update, clock=steady)

    @property
    def _now(self) -> float:
        return self._node.get_clock().now().nanoseconds * 1e-9

    def _clock_problems(self) -> list[str]:
        stands = self._now == 0.0
        return ["use_sim_time is set, and no time comes on /clock"] if stands else []

    def _new(self, counts: Counter[str]) -> Counter[str]:
        """What was counted since the last report."""
        new = counts - self._reported
        self._reported = counts
        return new

    def _age_problems(self, what: str, age: float | None) -> list[str]:
        if age is None:
            return [f"no {what} yet"]
        if age < -self.stale_after_s:
            return [f"{what}: stamped {-age:.1f} s ahead of the clock"]
        return [f"{what}: {age:.1f} s old"] if age > self.stale_after_s else []

    def _is_inactive(self, status: DiagnosticStatusWrapper) -> bool:
        """Whether there is nothing else to say of a node than what it is at."""
        if self._node.phase != "active":
            words = {"unconfigured": "not configured"}
            status.summary(WARN, words.get(self._node.phase, self._node.phase))
        return self._node.phase != "active"


class SegmentationDiagnostics(_NodeDiagnostics):
    """Two statuses: `images` (what comes in) and `labels` (what goes out).

    images warns before the first image, when the newest one is old or of the future, while the
    camera is not calibrated, and when images were skipped for one of `FAULTS` since the last
    report; labels when they stay away or lag behind the images.
    """

    def __init__(
        self, node: ManagedNode, statistics: ImageStatistics, stale_after_s: float
    ) -> None:
        super().__init__(node, stale_after_s)
        self.unlabelled_share = 0.0
        self.uncalibrated = ""
        """Why the newest camera_info is of no use."""
        self._statistics = statistics
        self._updater.add("images", self._images)
        self._updater.add("labels", self._labels)

    def _images(self, status: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
        if self._is_inactive(status):
            return status
        now = self._now
        age, counts = self._statistics.age(now), Counter(self._statistics.counts)
        problems = self._clock_problems() + self._age_problems("images", age)
        problems += [self.uncalibrated] if self.uncalibrated else []
        new = self._new(counts)
        problems += [f"{words}: {new[reason]}" for reason, words in FAULTS.items() if new[reason]]
        _summarize(status, problems, "images arrive")
        status.add("rate [Hz]", f"{self._statistics.rate(now):.2f}")
        status.add("age [s]", "" if age is None else f"{age:.3f}")
        status.add("received", str(counts["received"]))
        status.add(DROPPED, str(counts["dropped"]))
        for reason, words in FAULTS.items():
            status.add(words, str(counts[reason]))
        return status

    def _labels(self, status: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
        if self._is_inactive(status):
            return status
        published, behind = self._statistics.counts["published"], self._statistics.behind()
        problems = [] if published else ["no labels yet"]
        if behind is not None and behind > self.stale_after_s:
            problems = [f"labels are {behind:.1f} s behind the images"]
        _summarize(status, problems, "labels are published")
        status.add("published", str(published))
        status.add("overlays", str(self._statistics.counts["overlays"]))
        for step, seconds in self._statistics.median_times().items():
            status.add(f"{step} time, median [ms]", f"{1e3 * seconds:.2f}")
        status.add("unlabelled share", f"{self.unlabelled_share:.4f}")
        return status


def _summarize(status: DiagnosticStatusWrapper, problems: list[str], well: str) -> None:
    status.summary(WARN if problems else OK, "; ".join(problems) or well)


class LocalizationDiagnostics(_NodeDiagnostics):
    """Two statuses: `localization` (how good the pose is) and `inputs` (what it comes from).

    localization is an error while the pose is lost or there is none; inputs warns of labels and
    odometry that stay away, are old or do not meet in time, and of what was refused or missing
    since the last report.
    """

    def __init__(self, node: ManagedNode, cameras: tuple[str, ...], stale_after_s: float) -> None:
        super().__init__(node, stale_after_s)
        self._cameras = cameras
        self._online: OnlineLocalizer | None = None
        self._updater.add("localization", self._localization)
        self._updater.add("inputs", self._inputs)

    def attach(
        self, online: OnlineLocalizer, failures: Counter[str], uncalibrated: dict[str, str]
    ) -> None:
        """Tell of these from now on.

        Args:
            online: Whose pose.
            failures: Lookups of transforms, by the frames' names.
            uncalibrated: Why a camera has no calibration, by its name.
        """
        self.labels = {name: ImageStatistics() for name in self._cameras}
        """Label images of each camera."""
        self.estimate: Estimate | None = None
        """The newest one."""
        self.refusal = ""
        """Why labels are not used at all."""
        self.refused_pose = ""
        """Why the last initial pose that was given is not used."""
        self.odometry_came_at: float | None = None
        """When the newest odometry came, by the node's clock [s]."""
        self._online = online
        self._failures = failures
        self._uncalibrated = uncalibrated
        self._reported = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._times: dict[str, float] = {}
        self._estimates = self._estimates_reported = 0

    def detach(self) -> None:
        """Nothing is configured."""
        self._online = None

    def add(self, estimate: Estimate) -> None:
        """Note an estimate."""
        self.estimate = estimate
        self._estimates += 1

    def tracking_status(self) -> TrackingStatus:
        """How far the pose can be relied on now, whether messages come or not."""
        online = self._online
        if online is None:
            return TrackingStatus.NO_POSE
        span, came_at = online.odometry_span, self.odometry_came_at
        if span is None or came_at is None:
            return online.status
        return online.status_at(span[1] + max(self._now - came_at, 0.0))

    def _localization(self, status: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
        online = self._online
        if self._is_inactive(status) or online is None:
            return status
        tracking, estimate = online.tracking, self.estimate
        found = self.tracking_status()
        rivalled = 0.0
        if tracking.quality is not None and tracking.match_quality:
            rivalled = 1.0 - tracking.quality / tracking.match_quality
        status.summary(*self._verdict(found, rivalled))
        status.add("status", found.value)
        status.add("lost", str(found == TrackingStatus.LOST))
        status.add("probability of another pose", f"{rivalled:.3f}")
        status.add("quality", "" if tracking.quality is None else f"{tracking.quality:.3f}")
        pose = online.pose_now
        if pose is not None:
            spread = (pose.covariance[0, 0] + pose.covariance[1, 1]) ** 0.5
            status.add("position std [m]", f"{spread:.3f}")
        if estimate is not None:
            status.add("visible points", str(estimate.visible_points))
            status.add("effective sample size", f"{estimate.effective_sample_size:.0f}")
            status.add("unlabelled share", f"{estimate.unlabelled_share:.4f}")
        for step, milliseconds in self._times_ms(online).items():
            status.add(f"{step} time, mean [ms]", f"{milliseconds:.2f}")
        return status

    def _verdict(self, found: TrackingStatus, rivalled: float) -> tuple[bytes, str]:
        """Level and words for how good the pose is; another is right with a probability."""
        if self.refusal:
            return ERROR, self.refusal
        level, words = VERDICTS[found]
        if rivalled >= DISAGREEMENT:
            level, words = max(level, WARN), f"{words}; it may be elsewhere ({rivalled:.0%})"
        if self.refused_pose:
            return max(level, WARN), f"{words}; {self.refused_pose}"
        return level, words

    def _times_ms(self, online: OnlineLocalizer) -> dict[str, float]:
        """Mean time of each step an estimate, since the last report; else as reported then."""
        count = self._estimates - self._estimates_reported
        self._estimates_reported = self._estimates
        seconds = dict(online.seconds)
        if count == 0:
            return self._times
        spent = {step: 1e3 * (seconds[step] - self._seconds[step]) / count for step in seconds}
        self._seconds = defaultdict(float, seconds)
        self._times = {**spent, "update": sum(spent.values())}
        return self._times

    def _inputs(self, status: DiagnosticStatusWrapper) -> DiagnosticStatusWrapper:
        online = self._online
        if self._is_inactive(status) or online is None:
            return status
        now, span = self._now, online.odometry_span
        problems = self._clock_problems()
        for name, statistics in self.labels.items():
            age = statistics.age(now)
            problems += self._age_problems(f"labels of {name}", age)
            status.add(f"{name}: label rate [Hz]", f"{statistics.rate(now):.2f}")
            status.add(f"{name}: label age [s]", "" if age is None else f"{age:.3f}")
            if span is not None and statistics.stamp is not None:
                problems += self._ahead_problems(name, statistics.stamp - span[1], now)
        age = None if span is None else now - span[1]
        problems += self._age_problems("odometry", age)
        status.add("odometry age [s]", "" if age is None else f"{age:.3f}")
        problems += self._uncalibrated.values()
        counts = Counter({"late labels": 0, **online.counts, **self._failures})
        new = self._new(counts)
        problems += [f"{words}: {n}" for words, n in new.items() if words not in NO_FAULTS]
        for words, count in counts.items():
            status.add(words, str(count))
        _summarize(status, problems, "labels and odometry come")
        return status

    def _ahead_problems(self, name: str, ahead_s: float, now: float) -> list[str]:
        """Labels that wait for odometry of their time, though odometry comes."""
        came_at = self.odometry_came_at
        if came_at is None or now - came_at > self.stale_after_s or ahead_s <= self.stale_after_s:
            return []
        return [
            f"labels of {name} are stamped {ahead_s:.1f} s ahead of odometry, and wait for it: "
            "images and odometry need one clock"
        ]
