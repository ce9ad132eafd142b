"""Warnings and errors that may come with every message, said now and then."""

from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.node import Node

PERIOD_S = 5.0
"""What is of one kind is said once in this time [s]."""


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
