"""What the segmentation node says on /diagnostics."""

from collections import Counter

from diagnostic_msgs.msg import DiagnosticStatus
from diagnostic_updater import DiagnosticStatusWrapper, Updater
from rclpy.node import Node

from fgsn_ros.nodes.image_statistics import ImageStatistics

DROPPED = "dropped for a newer one"
FAULTS = {
    "no_camera_info": "no camera_info yet",
    "size_mismatch": "image size differs from camera_info",
    "damaged": "damaged images",
    "failed": "failed inference",
}
"""Reason for skipping an image to the words for it."""


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
