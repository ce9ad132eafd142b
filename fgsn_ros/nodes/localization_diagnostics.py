"""What the localization node says on /diagnostics."""

from collections import Counter, defaultdict

from diagnostic_msgs.msg import DiagnosticStatus
from diagnostic_updater import DiagnosticStatusWrapper, Updater
from rclpy.node import Node

from fgsn_ros.localization.estimate import Estimate
from fgsn_ros.localization.online import OnlineLocalizer
from fgsn_ros.nodes.camera_mountings import CameraMountings
from fgsn_ros.nodes.image_statistics import ImageStatistics

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


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

    def attach(self, online: OnlineLocalizer, mountings: CameraMountings) -> None:
        """Tell of these from now on."""
        self.labels = {name: ImageStatistics() for name in self._cameras}
        """Label images of each camera."""
        self.estimate: Estimate | None = None
        """The newest one."""
        self.refusal = ""
        """Why labels are not used at all."""
        self._online = online
        self._mountings = mountings
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
        failures = Counter(self._mountings.failures)
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
